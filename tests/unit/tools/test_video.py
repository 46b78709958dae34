"""Pictures become a video, of MP4 where there is ffmpeg and of GIF where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from segue.tools import video as module
from segue.tools.video import jpegs, video
from tests.unit.tools.samples import write_mjpeg

pytest.importorskip("imageio_ffmpeg")


def test_jpegs_are_told_apart(tmp_path: Path) -> None:
    """As many pictures come out as went in, each of them whole."""
    data = write_mjpeg(tmp_path / "a.mjpeg", 7).read_bytes()
    found = list(jpegs(data))
    assert b"".join(found) == data
    assert [simplejpeg.decode_jpeg(each).shape for each in found] == [(48, 64, 3)] * 7


def test_marks_inside_a_table_do_not_end_a_picture() -> None:
    """The two bytes that end a picture may stand in a segment before the scan."""
    plain = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), dtype=np.uint8))
    comment = b"\xff\xfe\x00\x06\xff\xd9\xff\xd8"
    tricky = plain[:2] + comment + plain[2:]
    assert list(jpegs(tricky + plain)) == [tricky, plain]


@pytest.mark.parametrize("cut", [1, 3, 30, 400])
def test_a_torn_last_picture_is_left_out(tmp_path: Path, cut: int) -> None:
    """A run that was killed while it wrote loses one picture, not the video."""
    data = write_mjpeg(tmp_path / "a.mjpeg", 3).read_bytes()
    assert len(list(jpegs(data[:-cut]))) == 2


@pytest.mark.parametrize("data", [b"", b"\x00\x01", b"not a picture", b"\xff\xd8"])
def test_what_is_no_picture_yields_none(data: bytes) -> None:
    """Other bytes end the search at once."""
    assert list(jpegs(data)) == []


def test_one_clip_keeps_its_size_and_rate(tmp_path: Path) -> None:
    """An MP4 of one clip has the clip's size, rate and length, cut to the seconds asked for."""
    clip = write_mjpeg(tmp_path / "rtc.mjpeg", 40, 640, 480)
    size, fps, duration = measured(video({"rtc": clip}, 20.0, tmp_path / "out" / "rtc.mp4", seconds=1.5))
    assert (size, fps) == ((640, 480), 20.0)
    assert duration == pytest.approx(1.5, abs=0.1)


def test_several_clips_stand_side_by_side_until_the_longest_ends(tmp_path: Path) -> None:
    """Two by two at half their size make one picture, and who ended first keeps its last."""
    clips = {str(k): write_mjpeg(tmp_path / f"{k}.mjpeg", 10 * k, 320, 240) for k in (1, 2, 3)}
    size, _, duration = measured(video(clips, 10.0, tmp_path / "all.mp4"))
    assert size == (320, 240)
    assert duration == pytest.approx(3.0, abs=0.2)


def test_without_ffmpeg_the_pictures_become_a_gif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ffmpeg is missing the same call writes a GIF beside, of about the same duration."""
    from PIL import Image

    monkeypatch.setattr(module, "_ffmpeg", lambda: None)
    clip = write_mjpeg(tmp_path / "rtc.mjpeg", 60, 640, 480)
    out = video({"rtc": clip}, 30.0, tmp_path / "rtc.mp4")
    assert out == tmp_path / "rtc.gif"
    with Image.open(out) as gif:
        frames = gif.n_frames  # type: ignore[attr-defined]
        assert frames * gif.info["duration"] == pytest.approx(2000, rel=0.1)


def test_the_caption_stands_in_the_picture(tmp_path: Path) -> None:
    """A clip with a caption has bright letters where one without has none."""
    clip = write_mjpeg(tmp_path / "dark.mjpeg", 1, 320, 240)
    (named,) = module._captioned(clip, "weighted_average", half=False)
    corner = named[:24, 20:200].min(axis=2)
    assert (corner > 200).sum() > 100


def test_no_picture_at_all_is_said(tmp_path: Path) -> None:
    """An empty clip is an error that names it."""
    (tmp_path / "none.mjpeg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no picture in .*none\.mjpeg"):
        video({"rtc": tmp_path / "none.mjpeg"}, 30.0, tmp_path / "out.mp4")


def measured(path: Path) -> tuple[tuple[int, int], float, float]:
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    reader.close()
    return about["size"], about["fps"], about["duration"]
