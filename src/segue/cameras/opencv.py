"""A camera of this host by OpenCV: a USB camera by its number or its path.

MJPG is asked for first: most USB cameras deliver 640x480 at 30 Hz only so, and
their bytes can travel as they are. Where the device gives MJPG, OpenCV is told
not to decode it; where it does not, or the picture is to be turned, pixels come.
Another size than asked for is refused, since a policy has learned from that
one; another rate is not, for cameras round it and slow down in the dark.

A sensor has noise, so the same bytes twice are the same picture: the number
does not count on, and whoever watches the numbers sees that the device is
frozen. This file waits for the device; `latest.LatestFrame` gives it a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segue.cameras.base import check_size, driver_faults
from segue.cameras.cv import load_cv2
from segue.clock import now_ns
from segue.core.jpeg import jpeg_header, whole_jpeg
from segue.core.specs import CameraSpec
from segue.core.types import Frame, ImageArray
from segue.errors import RobotFault

# A glitch on the bus spoils one picture; a camera that spoils a second's worth is ill.
_MOST_DAMAGED = 30
# A driver that hands out one picture again and again may do so without waiting.
_REPEATED_WAIT_S = 0.005

# Quarter turns to the left, as `np.rot90` counts them; degrees turn to the right, as in LeRobot.
_QUARTERS = {0: 0, 90: 3, 180: 2, 270: 1, -90: 1}


@dataclass(frozen=True, slots=True)
class OpenCVOptions:
    """Which device, and how it is used.

    Attributes:
        device: number of the device, or its path such as ``/dev/video2``.
        rotation: degrees by which pictures are turned to the right: 0, 90, 180, 270 or -90.
        warmup_s: pictures of that long after opening are thrown away: the exposure settles.
    """

    device: str
    rotation: int = 0
    warmup_s: float = 1.0

    @property
    def path(self) -> Path:
        """The device's file."""
        return Path(f"/dev/video{self.device}" if self.device.isdecimal() else self.device)


class OpenCVCamera:
    """A device behind the `Camera` interface; the spec's size is that of the turned picture."""

    def __init__(
        self, spec: CameraSpec, options: OpenCVOptions, connect: Callable[[Path], Any] | None = None
    ) -> None:
        """Opens nothing yet.

        Args:
            spec: name, size and rate that are asked for.
            options: see there.
            connect: returns a `cv2.VideoCapture`, or what behaves like one, of a device's file.
        """
        self.spec = spec
        self._options = options
        self._connect = connect or _connect
        self._capture: Any = None
        self._undecoded = False
        self._last: Frame | None = None

    def __repr__(self) -> str:
        number = self._last.number if self._last else 0
        return f"<OpenCVCamera {self.spec.name} {self._options.path} number={number}>"

    def open(self) -> None:
        """Opens the device, sets it up and waits until its exposure has settled.

        Raises:
            RobotFault: it cannot be opened, or delivers another size.
        """
        self.close()
        with driver_faults(self._what):
            capture = self._capture = self._connect(self._options.path)
            if not capture.isOpened():
                raise RobotFault(
                    f"{self._what} cannot be opened: is it plugged in, and used by no other program?"
                )
            self._set_up(capture)
            until_s = time.monotonic() + self._options.warmup_s
            self._check_first(self._next()[0])
            while time.monotonic() < until_s:
                self._next()

    def grab(self) -> Frame:
        """Waits for the next picture; one that is equal to the last has the last one's number.

        Raises:
            RobotFault: the device failed.
        """
        with driver_faults(self._what):
            (image, jpeg), stamp_ns = self._next()
            last = self._last
            if last is not None and _equal(last, image, jpeg):
                time.sleep(_REPEATED_WAIT_S)
                return last
            self._last = Frame(image, stamp_ns, last.number + 1 if last else 1, jpeg)
            return self._last

    def close(self) -> None:
        """Closes the device; may be called more than once and after a fault."""
        capture, self._capture = self._capture, None
        if capture is not None:
            with driver_faults(self._what):
                capture.release()

    @property
    def _what(self) -> str:
        return str(self._options.path)

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width as the device is asked for them, before the picture is turned."""
        height, width = self.spec.height, self.spec.width
        return (width, height) if _QUARTERS[self._options.rotation] % 2 else (height, width)

    def _set_up(self, capture: Any) -> None:
        cv2 = load_cv2(self._what)
        height, width = self._size
        # The format first: a device offers its sizes and rates per format.
        mjpg = cv2.VideoWriter.fourcc(*"MJPG")
        capture.set(cv2.CAP_PROP_FOURCC, mjpg)
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        capture.set(cv2.CAP_PROP_FPS, self.spec.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # an old picture is worth nothing
        can_pass = self._options.rotation == 0 and int(capture.get(cv2.CAP_PROP_FOURCC)) == mjpg
        self._undecoded = can_pass and bool(capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))
        if self._undecoded and not self._delivers_jpeg(cv2, capture):
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)
            self._undecoded = False

    def _delivers_jpeg(self, cv2: Any, capture: Any) -> bool:
        """Returns whether what comes undecoded is a JPEG in colour that can be decoded."""
        for _ in range(_MOST_DAMAGED):
            arrived, raw = capture.read()
            if not arrived:
                raise RobotFault(f"{self._what} delivers no picture")
            jpeg = _as_jpeg(raw)
            header = jpeg_header(jpeg) if jpeg else None
            if jpeg and header is not None and header.components == 3:
                return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) is not None
        return False

    def _next(self) -> tuple[tuple[ImageArray | None, bytes | None], int]:
        """Waits for the next picture that is whole; returns it, and when it was there."""
        capture = self._capture
        if capture is None:
            raise RobotFault(f"{self._what} is not open")
        for _ in range(_MOST_DAMAGED):
            arrived = capture.grab()
            stamp_ns = now_ns()
            if not arrived:
                raise RobotFault(f"{self._what} delivers no more pictures: was it unplugged?")
            retrieved, raw = capture.retrieve()
            if not retrieved:
                continue
            if not self._undecoded:
                return (self._turned(raw), None), stamp_ns
            jpeg = _as_jpeg(raw)
            if jpeg is not None:
                return (None, jpeg), stamp_ns
        raise RobotFault(f"{self._what} delivers damaged pictures only")

    def _turned(self, bgr: Any) -> ImageArray:
        image: ImageArray = np.asarray(bgr)[:, :, ::-1]
        turned = np.ascontiguousarray(np.rot90(image, _QUARTERS[self._options.rotation]))
        turned.setflags(write=False)
        return turned

    def _check_first(self, picture: tuple[ImageArray | None, bytes | None]) -> None:
        image, jpeg = picture
        header = jpeg_header(jpeg) if jpeg is not None else None
        if header is not None:
            check_size(self._what, header.height, header.width, self.spec)
        elif image is not None:
            check_size(self._what, image.shape[0], image.shape[1], self.spec)


def _connect(path: Path) -> Any:
    cv2 = load_cv2(str(path))
    return cv2.VideoCapture(str(path), cv2.CAP_V4L2)


def _as_jpeg(raw: Any) -> bytes | None:
    """Returns the bytes that the device delivered if they are a whole JPEG."""
    data = np.asarray(raw)
    if data.dtype != np.uint8 or data.size != max(data.shape, default=0):
        return None
    return whole_jpeg(data.tobytes())


def _equal(last: Frame, image: ImageArray | None, jpeg: bytes | None) -> bool:
    if jpeg is not None or image is None:
        return last.jpeg == jpeg
    return last.image is not None and bool(np.array_equal(last.image, image))
