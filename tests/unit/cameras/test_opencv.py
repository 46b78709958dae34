"""Cameras of this host, by a device that stands in for OpenCV's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from segue.cameras.latest import LatestFrame, WatchPlan
from segue.cameras.opencv import OpenCVCamera, OpenCVOptions
from segue.clock import NS_PER_S
from segue.core.specs import CameraSpec
from segue.errors import RobotFault
from segue.testing.cameras import natural_frames
from segue.testing.conformance import check_camera
from segue.wire.image import pixels
from tests.unit.cameras.samples import FakeCapture, grabbed, jpeg_of, jpegs

SPEC = CameraSpec("front", 48, 64, fps=1000.0)
MJPG = cv2.VideoWriter.fourcc(*"MJPG")
BGR = [np.ascontiguousarray(image[:, :, ::-1]) for image in natural_frames(48, 64, 3, 1)]


def camera_of(
    capture: FakeCapture, spec: CameraSpec = SPEC, rotation: int = 0, warmup_s: float = 0.0
) -> OpenCVCamera:
    return OpenCVCamera(spec, OpenCVOptions("2", rotation, warmup_s), lambda path: capture)


def opened(shown: Sequence[object], **wish: int) -> OpenCVCamera:
    camera = camera_of(FakeCapture(shown), **wish)  # type: ignore[arg-type]
    camera.open()
    return camera


@pytest.mark.parametrize("shown", [jpegs(3), BGR], ids=["jpeg", "pixels"])
def test_a_camera_of_either_kind_conforms(shown: list[bytes]) -> None:
    """A device that delivers JPEG, and one that delivers pixels, keep the promises of a camera."""
    capture = FakeCapture(shown)
    capture.refused = {cv2.CAP_PROP_FOURCC} if shown is BGR else set()
    capture.period_s = 1 / SPEC.fps
    camera = camera_of(capture)
    check_camera(camera)
    assert capture.released == 2


def test_the_device_is_asked_for_format_size_rate_and_one_buffer() -> None:
    """MJPG is asked for before the size; what was asked for is the spec's."""
    capture = FakeCapture(jpegs())
    camera_of(capture).open()
    keys = list(capture.settings)
    assert keys.index(cv2.CAP_PROP_FOURCC) < keys.index(cv2.CAP_PROP_FRAME_WIDTH)
    assert capture.settings[cv2.CAP_PROP_FOURCC] == MJPG
    assert capture.settings[cv2.CAP_PROP_FRAME_WIDTH] == 64
    assert capture.settings[cv2.CAP_PROP_FRAME_HEIGHT] == 48
    assert capture.settings[cv2.CAP_PROP_FPS] == 1000.0
    assert capture.settings[cv2.CAP_PROP_BUFFERSIZE] == 1


def test_jpegs_come_as_the_device_made_them() -> None:
    """The bytes of a picture are handed on untouched, without what the driver left behind them."""
    made = jpegs(3)
    camera = opened([*[each + b"\0" * 40 for each in made]])
    frames = [camera.grab() for _ in range(3)]
    assert {frame.jpeg for frame in frames} == set(made)
    assert all(frame.image is None for frame in frames)


def test_pixels_come_as_rgb() -> None:
    """What OpenCV hands out blue first comes red first."""
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 2] = 200
    capture = FakeCapture([red])
    capture.refused = {cv2.CAP_PROP_FOURCC}
    camera = camera_of(capture)
    camera.open()
    assert pixels(camera.grab())[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    ("rotation", "corner"), [(0, (0, 0)), (90, (0, -1)), (180, (-1, -1)), (270, (-1, 0)), (-90, (-1, 0))]
)
def test_pictures_are_turned_to_the_right(rotation: int, corner: tuple[int, int]) -> None:
    """A mark at the top left goes to where that many degrees to the right bring it."""
    marked = np.zeros((48, 64, 3), np.uint8)
    marked[0, 0] = 255
    size = (64, 48) if rotation % 180 else (48, 64)
    capture = FakeCapture([marked])
    capture.refused = {cv2.CAP_PROP_FOURCC} if rotation == 0 else set()
    camera = camera_of(capture, CameraSpec("front", *size), rotation)
    camera.open()
    image = pixels(camera.grab())
    assert image.shape[:2] == size
    assert image[corner].tolist() == [255, 255, 255]
    assert capture.settings[cv2.CAP_PROP_FRAME_WIDTH] == 64


@pytest.mark.parametrize("shown", [jpegs(2, 96, 128), [np.zeros((96, 128, 3), np.uint8)]])
def test_another_size_is_refused_with_what_is_delivered(shown: list[bytes]) -> None:
    """A device that delivers another size than asked for is not used; both sizes are said."""
    capture = FakeCapture(shown)
    capture.refused = set() if isinstance(shown[0], bytes) else {cv2.CAP_PROP_FOURCC}
    with pytest.raises(RobotFault, match=r"/dev/video2 delivers 128x96, asked for were 64x48"):
        camera_of(capture).open()


def test_a_device_that_does_not_open_is_named() -> None:
    """A device that is not there, or in use, is one sentence with its path."""
    capture = FakeCapture(jpegs())
    capture.there = False
    with pytest.raises(RobotFault, match="/dev/video2 cannot be opened"):
        camera_of(capture).open()


@pytest.mark.parametrize("last", [None, RuntimeError("ioctl failed"), cv2.error("select() timeout")])
def test_whatever_the_driver_does_is_a_fault_of_the_camera(last: object) -> None:
    """A device that stops delivering, and a driver that raises anything, raise `RobotFault`."""
    camera = opened([*jpegs(3), last])
    with pytest.raises(RobotFault, match="/dev/video2"):
        grabbed(camera, 5)
    camera.close()


def test_equal_pictures_do_not_count_on() -> None:
    """A frozen device's picture keeps its number and stamp; the next new one counts on by one."""
    first, second = jpegs(2)
    camera = opened([first, first, first, first, first, second])
    frames = [camera.grab() for _ in range(5)]
    assert [frame.number for frame in frames] == [1, 1, 1, 2, 3]
    assert frames[0].captured_ns == frames[2].captured_ns


def test_a_device_that_is_frozen_stays_so_over_a_reopening() -> None:
    """Opened anew, the same picture has the number that it had before."""
    camera = opened(jpegs(1))
    before = camera.grab()
    camera.close()
    camera.open()
    assert camera.grab().number == before.number


def test_a_damaged_picture_is_left_out() -> None:
    """A picture that broke off on the bus is skipped; a device that delivers nothing else has failed."""
    good = jpegs(2)
    camera = opened([good[0], good[1], good[0][:-200], good[0]])
    jpeg_bytes = {camera.grab().jpeg for _ in range(8)}
    assert jpeg_bytes == set(good)
    broken = opened([good[0], good[1], *[good[0][:-200]] * 100])
    with pytest.raises(RobotFault, match="damaged pictures only"):
        grabbed(broken, 3)


def test_a_jpeg_without_colour_is_left_to_opencv() -> None:
    """A grey camera's JPEGs are not passed on undecoded: OpenCV is told to make pixels of them."""
    grey = jpeg_of(np.zeros((48, 64, 1), np.uint8), colorspace="GRAY", colorsubsampling="Gray")
    capture = FakeCapture([grey] * 30 + BGR)
    camera = camera_of(capture)
    camera.open()
    assert capture.settings[cv2.CAP_PROP_CONVERT_RGB] == 1
    assert camera.grab().jpeg is None


def test_pictures_of_the_warm_up_are_thrown_away() -> None:
    """Opening takes as long as the exposure needs, and nothing of that time is shown."""
    capture = FakeCapture([np.full((48, 64, 3), k, np.uint8) for k in range(250)])
    capture.refused = {cv2.CAP_PROP_FOURCC}
    capture.period_s = 0.002
    camera = camera_of(capture, warmup_s=0.1)
    camera.open()
    assert pixels(camera.grab())[0, 0, 0] >= 10


@pytest.mark.parametrize(("device", "path"), [("0", "/dev/video0"), ("/dev/v4l/by-id/x", "/dev/v4l/by-id/x")])
def test_a_number_means_a_device_file(device: str, path: str) -> None:
    """A number names /dev/videoN, a path itself."""
    assert OpenCVOptions(device).path == Path(path)


def test_the_real_opencv_names_a_device_that_is_none() -> None:
    """Through OpenCV itself, a file that is no camera cannot be opened, and that is said."""
    camera = OpenCVCamera(SPEC, OpenCVOptions("/dev/null"))
    with pytest.raises(RobotFault, match="/dev/null"):
        camera.open()
    camera.close()


@pytest.mark.parametrize("then", [[jpegs(1)[0]] * 10_000, [None]], ids=["frozen", "unplugged"])
def test_a_device_that_freezes_or_goes_is_noticed(then: list[bytes | None]) -> None:
    """Whoever watches the camera learns within its limit that no new picture comes, and of nothing before."""
    capture = FakeCapture([*jpegs(40, seed=3), *then])
    capture.period_s = 0.005
    watched = LatestFrame(camera_of(capture), WatchPlan(stale_ns=NS_PER_S // 5, reopen_ns=NS_PER_S))
    watched.start()
    assert watched.wait_first(20.0)
    assert watched.fault() is None
    deadline = time.monotonic() + 20.0
    while watched.fault() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    fault = watched.fault() or ""
    assert "no new picture for" in fault if then[0] else "unplugged?" in fault
    watched.stop()
