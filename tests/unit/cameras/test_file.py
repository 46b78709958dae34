"""Files shown as cameras: which there are, what passes untouched, and at which rate."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from segue.cameras.file import FileCamera, needs_opencv
from segue.core.specs import CameraSpec
from segue.errors import RobotFault
from segue.testing.cameras import natural_frames
from segue.testing.conformance import check_camera
from segue.wire.image import pixels
from tests.unit.cameras.samples import grabbed, jpegs

SPEC = CameraSpec("front", 48, 64, fps=200.0)
KINDS = ["folder", "mjpeg", "png", "video"]


def made(kind: str, folder: Path, count: int = 3) -> Path:
    """Writes `count` pictures of 64x48 as a file or folder of that kind."""
    frames = natural_frames(48, 64, count, 0)
    if kind == "mjpeg":
        path = folder / "run.mjpeg"
        path.write_bytes(b"".join(jpegs(count)))
        return path
    if kind == "video":
        path = folder / "film.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (64, 48))
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
        writer.release()
        return path
    for index, (frame, jpeg) in enumerate(zip(frames, jpegs(count), strict=True)):
        if kind == "folder":
            (folder / f"{index}.jpg").write_bytes(jpeg)
        else:
            cv2.imwrite(str(folder / f"{index}.png"), np.ascontiguousarray(frame[:, :, ::-1]))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_conforms(kind: str, tmp_path: Path) -> None:
    """Folders of JPEG or PNG, streams of JPEGs and videos keep the promises of a camera."""
    camera = FileCamera(SPEC, made(kind, tmp_path))
    check_camera(camera, frames=8)
    assert "number=16" in repr(camera)


@pytest.mark.parametrize("kind", ["folder", "mjpeg"])
def test_jpegs_pass_untouched_and_go_round(kind: str, tmp_path: Path) -> None:
    """The bytes are those of the disk, in order of their names, and begin again after the last."""
    camera = FileCamera(SPEC, made(kind, tmp_path))
    camera.open()
    shown = [camera.grab().jpeg for _ in range(7)]
    camera.close()
    assert shown == [*jpegs(3), *jpegs(3), jpegs(3)[0]]


def test_a_png_comes_in_its_colours(tmp_path: Path) -> None:
    """What is not JPEG is decoded exactly, red first."""
    camera = FileCamera(SPEC, made("png", tmp_path))
    camera.open()
    assert np.array_equal(pixels(camera.grab()), natural_frames(48, 64, 3, 0)[0])
    camera.close()


def test_pictures_come_at_the_asked_rate(tmp_path: Path) -> None:
    """Thirty pictures at 100 Hz take 0.3 s, and time that was lost is not caught up in a burst."""
    camera = FileCamera(CameraSpec("front", 48, 64, fps=100.0), made("folder", tmp_path))
    camera.open()
    begun = time.monotonic()
    frames = [camera.grab() for _ in range(30)]
    took = time.monotonic() - begun
    assert took >= 0.27
    assert [frame.number for frame in frames] == list(range(1, 31))
    time.sleep(0.2)
    begun = time.monotonic()
    for _ in range(10):
        camera.grab()
    assert time.monotonic() - begun >= 0.07
    camera.close()


@pytest.mark.parametrize("kind", KINDS)
def test_another_size_is_refused_with_the_file_s_own(kind: str, tmp_path: Path) -> None:
    """A file whose pictures have another size than configured is refused with both."""
    camera = FileCamera(CameraSpec("front", 480, 640), made(kind, tmp_path))
    with pytest.raises(RobotFault, match="delivers 64x48, asked for were 640x480"):
        camera.open()
    camera.close()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.mjpeg", b"", "holds no picture"),
        ("noise.mjpeg", b"no picture at all" * 100, "holds no picture"),
        ("film.mp4", b"this is no video", "no video that OpenCV can read"),
        ("folder/a.jpg", jpegs(1)[0][:-100], "no whole JPEG"),
        ("folder/a.png", b"this is no picture", "is no picture"),
        ("folder/notes.txt", b"", "holds no picture"),
    ],
)
def test_a_file_that_holds_no_picture_is_a_fault(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    """What cannot be shown raises `RobotFault` with the file's name, and nothing else."""
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    camera = FileCamera(SPEC, file.parent if name.startswith("folder") else file)
    with pytest.raises(RobotFault, match=said):
        camera.open()
    camera.close()


def test_a_file_that_vanishes_is_a_fault(tmp_path: Path) -> None:
    """A folder taken away in mid-run raises `RobotFault`, not what the system raised."""
    camera = FileCamera(SPEC, made("folder", tmp_path))
    camera.open()
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(RobotFault, match="No such file"):
        grabbed(camera, 5)
    camera.close()


@pytest.mark.parametrize(
    ("kind", "needed"), [("folder", False), ("mjpeg", False), ("png", True), ("video", True)]
)
def test_opencv_is_needed_only_for_what_is_not_jpeg(kind: str, needed: bool, tmp_path: Path) -> None:
    """A robot that rehearses with JPEGs can do without OpenCV."""
    assert needs_opencv(made(kind, tmp_path)) is needed
