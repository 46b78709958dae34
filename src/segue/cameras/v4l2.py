"""What a video device of this host says of itself: its name, and the formats, sizes and rates it offers.

Asked by the kernel's own calls (video4linux), without opening the stream, so a
camera that another program uses answers too. Each USB camera has a second
device file that delivers no pictures; the answer tells the two apart. Linux
only: elsewhere there are no such files.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Names and numbers are those of linux/videodev2.h.
_QUERYCAP, _ENUM_FMT = 0x80685600, 0xC0405602
_ENUM_FRAMESIZES, _ENUM_FRAMEINTERVALS = 0xC02C564A, 0xC034564B
_CAPABILITY, _FORMAT = struct.Struct("=16s32s32sIII12x"), struct.Struct("=III32s4sI12x")
_SIZE, _INTERVAL = struct.Struct("=I4sI6I8x"), struct.Struct("=I4sIII6I8x")
_CAN_CAPTURE, _HAS_DEVICE_CAPS = 0x00000001, 0x80000000
_CAPTURE_STREAM = 1
_DISCRETE = 1
# A driver that never says "no more" is not to be asked for ever.
_MOST = 64

Ioctl = Callable[[int, int, bytearray], int]


@dataclass(frozen=True, slots=True)
class Mode:
    """One size of one format, with the rates at which it comes, pictures per second, quickest first."""

    format: str
    width: int
    height: int
    rates_hz: tuple[float, ...]

    def __str__(self) -> str:
        rates = ", ".join(f"{rate:g}" for rate in self.rates_hz) or "?"
        return f"{self.format} {self.width}x{self.height} at {rates} Hz"


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """A device file.

    Attributes:
        name: as the driver calls the camera.
        delivers: whether pictures can be had from it.
        modes: what it offers, in the driver's order.
        trouble: why it could not be asked, in words; empty when it could.
    """

    path: Path
    name: str
    delivers: bool
    modes: tuple[Mode, ...] = ()
    trouble: str = ""

    @property
    def index(self) -> int:
        """The device's number."""
        return int(self.path.name.removeprefix("video"))

    def sizes(self) -> dict[tuple[int, int], float]:
        """Returns the best rate of each (width, height), Hz, 0 where it is not said."""
        best: dict[tuple[int, int], float] = {}
        for mode in self.modes:
            size = (mode.width, mode.height)
            best[size] = max(best.get(size, 0.0), *mode.rates_hz, 0.0)
        return best


def video_devices(
    folder: Path = Path("/dev"), sysfs: Path = Path("/sys/class/video4linux")
) -> list[VideoDevice]:
    """Returns the video devices of this host by their number, those that deliver nothing included."""
    paths = [path for path in folder.glob("video*") if path.name.removeprefix("video").isdecimal()]
    return [_device(path, sysfs) for path in sorted(paths, key=lambda path: int(path.name[5:]))]


def _device(path: Path, sysfs: Path) -> VideoDevice:
    try:
        name = (sysfs / path.name / "name").read_text(errors="replace").strip()
    except OSError:
        name = "unnamed"
    try:
        return ask(path, name)
    except PermissionError:
        why = "no permission: add yourself to its group (`sudo usermod -aG video $USER`, then log in again)"
        return VideoDevice(path, name, False, trouble=why)
    except OSError as error:
        return VideoDevice(path, name, False, trouble=error.strerror or str(error))


def ask(path: Path, name: str, ioctl: Ioctl | None = None) -> VideoDevice:
    """Asks one device what it offers.

    Args:
        path: the device's file.
        name: as the system calls it.
        ioctl: asks the kernel: takes file number, request and a buffer that is changed in place.

    Raises:
        OSError: it cannot be opened, or is no video device.
    """
    call = ioctl or _ioctl
    file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        buffer = bytearray(_CAPABILITY.size)
        call(file, _QUERYCAP, buffer)
        *_, everything, own = _CAPABILITY.unpack(buffer)
        delivers = bool((own if everything & _HAS_DEVICE_CAPS else everything) & _CAN_CAPTURE)
        return VideoDevice(path, name, delivers, tuple(_modes(file, call)) if delivers else ())
    finally:
        os.close(file)


def _ioctl(file: int, request: int, buffer: bytearray) -> int:
    return int(fcntl.ioctl(file, request, buffer, True))


def _answers(file: int, call: Ioctl, request: int, make: Callable[[int], bytes]) -> Iterator[bytearray]:
    """Yields what the device answers for index 0, 1, 2 … until it has no more."""
    for index in range(_MOST):
        buffer = bytearray(make(index))
        try:
            call(file, request, buffer)
        except OSError:
            return
        yield buffer


def _modes(file: int, call: Ioctl) -> Iterator[Mode]:
    formats = _answers(file, call, _ENUM_FMT, lambda k: _FORMAT.pack(k, _CAPTURE_STREAM, 0, b"", b"", 0))
    for answer in formats:
        code = _FORMAT.unpack(answer)[4]
        for width, height in _sizes(file, call, code):
            rates = tuple(_rates(file, call, (code, width, height)))
            yield Mode(code.decode("ascii", "replace").strip(), width, height, rates)


def _sizes(file: int, call: Ioctl, code: bytes) -> Iterator[tuple[int, int]]:
    for answer in _answers(file, call, _ENUM_FRAMESIZES, lambda k: _SIZE.pack(k, code, *[0] * 7)):
        _, _, kind, *numbers = _SIZE.unpack(answer)
        if kind != _DISCRETE:  # a range: its largest size stands for it
            yield numbers[1], numbers[4]
            return
        yield numbers[0], numbers[1]


def _rates(file: int, call: Ioctl, mode: tuple[bytes, int, int]) -> Iterator[float]:
    for answer in _answers(file, call, _ENUM_FRAMEINTERVALS, lambda k: _INTERVAL.pack(k, *mode, *[0] * 7)):
        *_, kind, above, below = _INTERVAL.unpack(answer)[:7]
        if above and below:
            yield round(below / above, 2)
        if kind != _DISCRETE:  # a range: its shortest interval stands for it
            return
