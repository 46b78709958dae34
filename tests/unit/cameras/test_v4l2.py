"""What a video device says of itself, from a kernel that is played."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from segue.cameras.v4l2 import Mode, VideoDevice, ask, video_devices

SIZES = {b"MJPG": [(1280, 720), (640, 480)], b"YUYV": [(640, 480)]}
RATES = {(1280, 720): [(1, 30)], (640, 480): [(1, 60), (1001, 30000)]}


class Kernel:
    """Answers as the kernel does for one camera, by the layout of linux/videodev2.h."""

    def __init__(self, capabilities: int = 0x84A00001, own: int = 0x04200001, stepwise: bool = False) -> None:
        self.capabilities = capabilities
        self.own = own
        self.stepwise = stepwise
        self.endless = False

    def __call__(self, file: int, request: int, buffer: bytearray) -> int:
        answer = {
            0x80685600: self._capability,
            0xC0405602: self._format,
            0xC02C564A: self._size,
            0xC034564B: self._interval,
        }[request]
        assert len(buffer) == (request >> 16) & 0x3FFF  # the size stands in the request's number
        answer(buffer)
        return 0

    def _capability(self, buffer: bytearray) -> None:
        struct.pack_into("=III", buffer, 80, 0x060000, self.capabilities, self.own)

    def _format(self, buffer: bytearray) -> None:
        index, stream = struct.unpack_from("=II", buffer)
        assert stream == 1
        buffer[44:48] = self._pick(list(SIZES), index)

    def _size(self, buffer: bytearray) -> None:
        index, code = struct.unpack_from("=I4s", buffer)
        width, height = self._pick(SIZES[code], index)
        if self.stepwise:
            struct.pack_into("=I6I", buffer, 8, 3, 16, width, 8, 16, height, 8)
        else:
            struct.pack_into("=III", buffer, 8, 1, width, height)

    def _interval(self, buffer: bytearray) -> None:
        index, _, width, height = struct.unpack_from("=I4sII", buffer)
        struct.pack_into("=III", buffer, 16, 1, *self._pick(RATES[(width, height)], index))

    def _pick(self, choices: list, index: int):  # type: ignore[no-untyped-def]
        if self.endless:
            return choices[index % len(choices)]
        if index >= len(choices):
            raise OSError(errno.EINVAL, "no more")
        return choices[index]


def test_formats_sizes_and_rates_are_those_that_the_device_names() -> None:
    """Every mode comes in the driver's order, each with its rates."""
    device = ask(Path("/dev/null"), "HD Webcam", Kernel())
    assert device.delivers
    assert device.modes == (
        Mode("MJPG", 1280, 720, (30.0,)),
        Mode("MJPG", 640, 480, (60.0, 29.97)),
        Mode("YUYV", 640, 480, (60.0, 29.97)),
    )
    assert str(device.modes[1]) == "MJPG 640x480 at 60, 29.97 Hz"
    assert device.sizes() == {(1280, 720): 30.0, (640, 480): 60.0}


def test_of_a_range_of_sizes_the_largest_is_named() -> None:
    """A device that takes any size up to a limit is described by the limit."""
    assert ask(Path("/dev/null"), "any", Kernel(stepwise=True)).sizes() == {
        (1280, 720): 30.0,
        (640, 480): 60.0,
    }


@pytest.mark.parametrize(
    ("capabilities", "own", "delivers"),
    [(0x84A00001, 0x04A00000, False), (0x84A00001, 0x04200001, True), (0x04000001, 0, True), (0, 1, False)],
)
def test_a_camera_s_second_device_delivers_nothing(capabilities: int, own: int, delivers: bool) -> None:
    """Of what the driver can do, only what this very device can do counts, where it says so."""
    device = ask(Path("/dev/null"), "webcam", Kernel(capabilities, own))
    assert device.delivers is delivers
    assert bool(device.modes) is delivers


def test_a_driver_that_never_ends_is_not_asked_for_ever() -> None:
    """Each list is cut at 64 entries."""
    kernel = Kernel()
    kernel.endless = True
    device = ask(Path("/dev/null"), "webcam", kernel)
    assert len(device.modes) == 64 * 64
    assert max(len(mode.rates_hz) for mode in device.modes) == 64


def test_devices_come_by_number_with_their_names_and_troubles(tmp_path: Path) -> None:
    """A video file that is no device is listed with the reason; files of other names are not looked at."""
    for name in ("video10", "video2", "videodisk", "null"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "sys" / "video2").mkdir(parents=True)
    (tmp_path / "sys" / "video2" / "name").write_text("HD Webcam\n")
    found = video_devices(tmp_path, tmp_path / "sys")
    assert [(device.index, device.name, device.delivers) for device in found] == [
        (2, "HD Webcam", False),
        (10, "unnamed", False),
    ]
    assert all(device.trouble for device in found)


def test_a_device_without_modes_has_no_sizes() -> None:
    """A driver that lists nothing leaves the sizes open."""
    assert VideoDevice(Path("/dev/video0"), "odd", True).sizes() == {}
