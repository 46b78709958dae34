"""Runs of JPEG pictures, side by side with captions, as one short video.

An ``.mjpeg`` file is one JPEG after the other, as a camera's pictures were
taken. MP4 needs the ffmpeg that imageio-ffmpeg brings; where there is none the
same pictures become a GIF, at a smaller rate and size, by Pillow alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segue.core.types import ImageArray

_START, _END, _SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
CAPTION_PX = 18
GIF_FPS = 10.0
GIF_WIDTH = 480


def video(clips: Mapping[str, Path], fps: float, out: Path, seconds: float = 15.0) -> Path:
    """Writes the first `seconds` of all clips as one video and returns where it lies.

    Args:
        clips: caption to .mjpeg file; two or more are shown in a grid, at half their size.
        fps: pictures per second of the clips.
        out: where to write, ending in ``.mp4``; the result ends in ``.gif`` where ffmpeg is missing.
        seconds: how much of the clips is used, at most.

    Raises:
        ValueError: no clip has a picture.
    """
    half = len(clips) > 1
    tracks = [
        itertools.islice(_captioned(path, caption, half), max(1, round(fps * seconds)))
        for caption, path in clips.items()
    ]
    frames = _grids(tracks)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"no picture in {', '.join(str(path) for path in clips.values())}")
    out.parent.mkdir(parents=True, exist_ok=True)
    every = itertools.chain([first], frames)
    ffmpeg = _ffmpeg()
    if ffmpeg is None:
        return _gif(every, fps, out.with_suffix(".gif"))
    return _mp4(ffmpeg, every, first.shape, fps, out)


def jpegs(data: bytes) -> Iterator[bytes]:
    """Yields the JPEGs in `data` one by one; a torn last one is left out.

    Segments are walked by their lengths up to the scan, since tables may hold
    any bytes; within a scan the end mark cannot occur but as itself.
    """
    at = 0
    while data.startswith(_START, at):
        begin, at = at, at + 2
        scan = False
        while not scan and at + 4 <= len(data):
            scan = data[at + 1] == _SCAN
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        end = data.find(_END, at) if scan else -1
        if end < 0:
            return
        at = end + 2
        yield data[begin:at]


def _captioned(path: Path, caption: str, half: bool) -> Iterator[ImageArray]:
    import simplejpeg
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(CAPTION_PX)
    for data in jpegs(path.read_bytes()):
        # JPEG can be decoded at half its size for a quarter of the work.
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        least = {"min_height": height // 2, "min_width": width // 2, "min_factor": 2} if half else {}
        picture = Image.fromarray(simplejpeg.decode_jpeg(data, **least))
        draw = ImageDraw.Draw(picture)
        box = draw.textbbox((8, 6), caption, font=font)
        draw.rectangle((0, 0, box[2] + 8, box[3] + 6), fill=(0, 0, 0))
        draw.text((8, 6), caption, font=font, fill=(255, 255, 255))
        yield np.asarray(picture)


def _grids(tracks: Sequence[Iterator[ImageArray]]) -> Iterator[ImageArray]:
    """Yields all tracks in a grid; one that ended earlier keeps its last picture."""
    last: list[ImageArray | None] = [None] * len(tracks)
    while True:
        new = [next(track, None) for track in tracks]
        if all(picture is None for picture in new):
            return
        last = [now if now is not None else before for now, before in zip(new, last, strict=True)]
        yield _grid([picture for picture in last if picture is not None])


def _grid(pictures: Sequence[ImageArray]) -> ImageArray:
    columns = math.ceil(math.sqrt(len(pictures)))
    height = max(picture.shape[0] for picture in pictures)
    width = max(picture.shape[1] for picture in pictures)
    rows = math.ceil(len(pictures) / columns)
    # Even sides, which the codec wants.
    canvas = np.zeros(((rows * height + 1) // 2 * 2, (columns * width + 1) // 2 * 2, 3), dtype=np.uint8)
    for k, picture in enumerate(pictures):
        top, left = k // columns * height, k % columns * width
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas


def _ffmpeg() -> Any | None:
    """Returns the module `imageio_ffmpeg`, or None where it or its program is missing."""
    try:
        import imageio_ffmpeg  # type: ignore[import-untyped]

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return None
    return imageio_ffmpeg


def _mp4(ffmpeg: Any, frames: Iterator[ImageArray], shape: tuple[int, ...], fps: float, out: Path) -> Path:
    size = (shape[1], shape[0])
    writer = ffmpeg.write_frames(
        str(out), size, fps=fps, codec="libx264", quality=7, macro_block_size=2, ffmpeg_log_level="error"
    )
    writer.send(None)
    try:
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()
    return out


def _gif(frames: Iterator[ImageArray], fps: float, out: Path) -> Path:
    from PIL import Image

    step = max(1, round(fps / GIF_FPS))
    pictures = []
    for frame in itertools.islice(frames, 0, None, step):
        picture = Image.fromarray(frame)
        picture.thumbnail((GIF_WIDTH, GIF_WIDTH))
        pictures.append(picture.quantize(128))
    pictures[0].save(
        out, save_all=True, append_images=pictures[1:], duration=round(1000 * step / fps), loop=0
    )
    return out
