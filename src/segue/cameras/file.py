"""A camera that shows a file: a folder of pictures, a `.mjpeg`, or a video, again and again.

For rehearsals, tests and bug reports: a run's own `<camera>.mjpeg` can be shown
to it again. JPEGs pass as they lie on the disk; for everything else OpenCV is
needed. Pictures come at the spec's rate, by absolute deadlines, whatever rate
the video has; one that is late is shown late and not made up for. Every
picture is new: here the same bytes twice do not mean that anything is frozen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np

from segue.cameras.base import check_size, driver_faults
from segue.cameras.cv import load_cv2
from segue.cameras.jpegstream import JpegStream
from segue.clock import now_ns
from segue.core.jpeg import MAX_JPEG_BYTES, jpeg_header, whole_jpeg
from segue.core.specs import CameraSpec
from segue.core.types import Frame, ImageArray
from segue.errors import RobotFault

JPEGS = frozenset({".jpg", ".jpeg"})
PICTURES = JPEGS | {".png", ".bmp", ".webp"}
STREAMS = frozenset({".mjpeg", ".mjpg"})

Picture = tuple[ImageArray | None, bytes | None]
Pictures = Generator[Picture, None, None]


class FileCamera:
    """A file behind the `Camera` interface."""

    def __init__(self, spec: CameraSpec, path: Path) -> None:
        """Opens nothing yet.

        Args:
            spec: name, rate, and the size that the pictures have.
            path: a folder of pictures (shown by name), a ``.mjpeg``, or a video that OpenCV reads.
        """
        self.spec = spec
        self._path = path
        self._pictures: Pictures | None = None
        self._first: Picture | None = None
        self._due_s = 0.0
        self._number = 0

    def __repr__(self) -> str:
        return f"<FileCamera {self.spec.name} {self._path} number={self._number}>"

    def open(self) -> None:
        """Opens the file and looks at its first picture.

        Raises:
            RobotFault: it cannot be read, holds no picture, or pictures of another size.
        """
        self.close()
        with driver_faults(str(self._path)):
            self._pictures = looped(self._path)
            self._first = next(self._pictures)
            check_size(str(self._path), *_size(self._first), self.spec)
        self._due_s = time.monotonic()

    def grab(self) -> Frame:
        """Waits for the next picture's time and returns it.

        Raises:
            RobotFault: the file can no longer be read.
        """
        pictures = self._pictures
        if pictures is None:
            raise RobotFault(f"{self._path} is not open")
        with driver_faults(str(self._path)):
            image, jpeg = self._first or next(pictures)
        self._first = None
        period_s = 1.0 / self.spec.fps
        self._due_s = max(self._due_s + period_s, time.monotonic() - period_s)
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        self._number += 1
        return Frame(image, now_ns(), self._number, jpeg)

    def close(self) -> None:
        """Closes the file; may be called more than once and after a fault."""
        pictures, self._pictures = self._pictures, None
        if pictures is not None:
            with driver_faults(str(self._path)):
                pictures.close()


def looped(path: Path) -> Pictures:
    """Yields the pictures of `path` without end.

    Raises:
        RobotFault: there is none, or a JPEG is cut off.
    """
    passes = _kind(path)
    while True:
        count = 0
        for picture in passes(path):
            count += 1
            yield picture
        if count == 0:
            raise RobotFault(f"{path} holds no picture")


def needs_opencv(path: Path) -> bool:
    """Returns whether OpenCV is needed to show `path`."""
    if path.is_dir():
        return any(each.suffix.lower() not in JPEGS for each in _listed(path))
    return path.suffix.lower() not in STREAMS


def _kind(path: Path) -> Callable[[Path], Pictures]:
    if path.is_dir():
        return _folder
    return _stream if path.suffix.lower() in STREAMS else _video


def _listed(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.suffix.lower() in PICTURES)


def _folder(folder: Path) -> Pictures:
    for path in _listed(folder):
        yield _jpeg(path) if path.suffix.lower() in JPEGS else _decoded(path)


def _jpeg(path: Path) -> Picture:
    with path.open("rb") as file:
        data = file.read(MAX_JPEG_BYTES + 1)
    jpeg = whole_jpeg(data) if len(data) <= MAX_JPEG_BYTES else None
    if jpeg is None:
        raise RobotFault(f"{path} is no whole JPEG of at most {MAX_JPEG_BYTES} bytes")
    return None, jpeg


def _decoded(path: Path) -> Picture:
    bgr = load_cv2(str(path)).imread(str(path))
    if bgr is None:
        raise RobotFault(f"{path} is no picture")
    return _rgb(bgr), None


def _stream(path: Path) -> Pictures:
    with path.open("rb") as file:
        stream = JpegStream(file.read)
        while (jpeg := stream.next()) is not None:
            yield None, jpeg


def _video(path: Path) -> Pictures:
    capture = load_cv2(str(path)).VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise RobotFault(f"{path} is no video that OpenCV can read")
        while True:
            arrived, bgr = capture.read()
            if not arrived:
                return
            yield _rgb(bgr), None
    finally:
        capture.release()


def _rgb(bgr: ImageArray) -> ImageArray:
    image = np.ascontiguousarray(bgr[:, :, ::-1])
    image.setflags(write=False)
    return image


def _size(picture: Picture) -> tuple[int, int]:
    image, jpeg = picture
    if image is not None:
        return image.shape[0], image.shape[1]
    header = jpeg_header(jpeg or b"")
    return (header.height, header.width) if header else (0, 0)
