from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from segue.cameras.latest import LatestFrame, WatchPlan
from segue.clock import NS_PER_MS, NS_PER_S, SystemClock, now_ns
from segue.core.specs import CameraSpec
from segue.core.types import Frame
from segue.errors import RobotFault
from segue.testing.cameras import FakeCamera
from tests.unit.cameras.samples import jpegs

WAIT_S = 20.0
SPEC = CameraSpec("front", 48, 64, fps=100.0)
QUICK = WatchPlan(stale_ns=NS_PER_S // 5, reopen_ns=NS_PER_S // 20)


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


class HandCamera:
    """A camera whose frames are handed to it one by one."""

    def __init__(self, *frames: Frame | Exception) -> None:
        self.spec = SPEC
        self.opened = 0
        self.closed = 0
        self._frames = list(frames)
        self._empty = threading.Event()

    def open(self) -> None:
        self.opened += 1

    def grab(self) -> Frame:
        if not self._frames:
            self._empty.wait(WAIT_S)
            raise RobotFault("no more frames")
        frame = self._frames.pop(0)
        if isinstance(frame, Exception):
            raise frame
        return frame

    def close(self) -> None:
        self.closed += 1

    def release(self) -> None:
        self._empty.set()


def frame(number: int, captured_ns: int) -> Frame:
    return Frame(np.zeros((48, 64, 3), np.uint8), captured_ns, number)


def test_the_newest_frame_is_handed_out_without_waiting() -> None:
    """Whoever asks gets the newest frame at once, and a newer one later."""
    watched = LatestFrame(FakeCamera(SPEC))
    assert watched.latest(NS_PER_S) is None
    watched.start()
    assert watched.wait_first(WAIT_S)
    first = watched.latest(WAIT_S * NS_PER_S)  # type: ignore[arg-type]
    assert first is not None
    assert wait_until(lambda: (watched.latest(NS_PER_S) or first).number > first.number)
    assert watched.fault() is None
    watched.stop()


@pytest.mark.parametrize("fault", ["fail", "block", "freeze"])
def test_a_camera_that_raises_blocks_or_repeats_has_failed_until_it_delivers(fault: str) -> None:
    """Each way to fail is noticed and named, and forgotten when new frames come."""
    camera = FakeCamera(SPEC)
    watched = LatestFrame(camera, QUICK)
    watched.start()
    assert watched.wait_first(WAIT_S)
    getattr(camera, fault)()
    assert wait_until(lambda: watched.fault() is not None)
    assert "front" in (watched.fault() or "")
    camera.heal()
    assert wait_until(lambda: watched.fault() is None)
    watched.stop()


def test_an_old_frame_is_not_handed_out() -> None:
    """A frame older than asked for is none."""
    camera = HandCamera(frame(1, now_ns() - NS_PER_S))
    watched = LatestFrame(camera)
    watched.start()
    assert watched.wait_first(WAIT_S)
    assert watched.latest(NS_PER_S // 2) is None
    assert watched.latest(3600 * NS_PER_S) is not None
    camera.release()
    watched.stop()


def test_a_failed_camera_is_closed_and_opened_anew() -> None:
    """After every failure the device is closed and opened again."""
    camera = HandCamera(
        frame(1, 1), RobotFault("unplugged"), frame(2, 2), RuntimeError("driver"), frame(3, 3)
    )
    watched = LatestFrame(camera, QUICK)
    watched.start()
    assert wait_until(lambda: camera.opened == 3)
    assert wait_until(lambda: getattr(watched.latest(10**19), "number", 0) == 3)
    assert camera.closed == 2
    camera.release()
    watched.stop()


class Counted(FakeCamera):
    """A camera that remembers when it was opened, and may thaw when it is."""

    def __init__(self, thaws_at: int | None = None) -> None:
        """Takes at which opening it heals itself."""
        super().__init__(SPEC)
        self.opened_ns: list[int] = []
        self.closed = 0
        self._thaws_at = thaws_at

    def open(self) -> None:
        self.opened_ns.append(now_ns())
        if len(self.opened_ns) == self._thaws_at:
            self.heal()
        super().open()

    def close(self) -> None:
        self.closed += 1


def test_a_frozen_camera_is_closed_and_opened_until_it_moves() -> None:
    """A camera that repeats one picture is opened anew again and again, until an opening has helped."""
    camera = Counted(thaws_at=4)
    watched = LatestFrame(camera, QUICK)
    watched.start()
    assert watched.wait_first(WAIT_S)
    camera.freeze()
    assert wait_until(lambda: len(camera.opened_ns) == 3)
    assert "no new picture" in (watched.fault() or "")
    assert wait_until(lambda: watched.fault() is None)
    assert (len(camera.opened_ns), camera.closed) == (4, 3)
    watched.stop()


def test_a_camera_that_repeats_a_picture_for_a_moment_is_left_alone() -> None:
    """The same picture for less than the limit, even as the first after an opening, closes nothing."""
    camera = Counted()
    watched = LatestFrame(camera, WatchPlan(stale_ns=NS_PER_S, reopen_ns=NS_PER_S // 20))
    watched.start()
    assert watched.wait_first(WAIT_S)
    camera.freeze()
    assert wait_until(lambda: len(camera.opened_ns) == 2)
    time.sleep(0.3)  # longer than the pause, shorter than the limit
    assert len(camera.opened_ns) == 2
    camera.heal()
    assert wait_until(lambda: watched.fault() is None)
    assert len(camera.opened_ns) == 2
    watched.stop()


@pytest.mark.parametrize("fault", ["fail", "freeze"])
def test_a_camera_that_fell_out_is_opened_anew_each_second(fault: str) -> None:
    """Without another plan one second lies between two attempts, unplugged or frozen."""
    camera = Counted()
    watched = LatestFrame(camera)
    watched.start()
    assert watched.wait_first(WAIT_S)
    getattr(camera, fault)()
    assert wait_until(lambda: len(camera.opened_ns) == 4)
    watched.stop()
    gaps_s = np.diff(camera.opened_ns[1:]) / NS_PER_S
    assert (gaps_s > 0.95).all(), gaps_s
    assert (gaps_s < 2.0).all(), gaps_s


def test_frames_are_kept_for_looking_back() -> None:
    """The frame of a time is the newest one not younger than it, else the oldest kept."""
    stamps = [k * 100 * NS_PER_MS for k in range(1, 6)]
    camera = HandCamera(*(frame(k, stamp) for k, stamp in enumerate(stamps, 1)))
    watched = LatestFrame(camera)
    watched.keep(3)
    watched.start()
    assert wait_until(lambda: getattr(watched.latest(10**19), "number", 0) == 5)
    assert [
        getattr(watched.at(stamp), "number", None) for stamp in (0, stamps[3], stamps[3] + 1, 10**19)
    ] == [
        3,
        4,
        4,
        5,
    ]
    camera.release()
    watched.stop()


def test_without_a_frame_there_is_none_of_any_time() -> None:
    """A camera that never delivered has no frame of any time, and no thread to stop."""
    watched = LatestFrame(FakeCamera(SPEC))
    assert watched.at(0) is None
    watched.stop()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((48, 64, 3)), "float64"),
        (np.zeros((48, 64), np.uint8), r"\(48, 64\)"),
        (np.zeros((48, 64, 4), np.uint8), r"\(48, 64, 4\)"),
        (np.zeros((64, 48, 3), np.uint8), r"\(64, 48, 3\)"),
        (np.zeros((48, 0, 3), np.uint8), r"\(48, 0, 3\)"),
    ],
)
def test_a_picture_that_is_not_as_announced_is_a_fault(image: npt.NDArray[np.generic], said: str) -> None:
    """A picture of another kind or size is never handed out; the fault names the camera and both sizes."""
    camera = HandCamera(Frame(image, now_ns(), 1))  # type: ignore[arg-type]
    watched = LatestFrame(camera, WatchPlan(stale_ns=3600 * NS_PER_S))
    watched.start()
    assert wait_until(lambda: watched.fault() is not None)
    fault = watched.fault() or ""
    assert re.search(rf"camera front: .*{said}.* uint8 \(48, 64, 3\)", fault), fault
    assert watched.latest() is None
    camera.release()
    watched.stop()


def test_a_camera_of_any_size_may_show_any() -> None:
    """Where the spec leaves the size open, any picture with three colours is taken."""
    camera = HandCamera(frame(1, now_ns()))
    camera.spec = CameraSpec("front")
    watched = LatestFrame(camera)
    watched.start()
    assert watched.wait_first(WAIT_S)
    camera.release()
    watched.stop()


def test_a_camera_whose_pictures_are_old_has_failed() -> None:
    """Frames with new numbers and a stamp that stands still are no living camera, however many come."""
    stamp_ns = now_ns() - NS_PER_S
    camera = HandCamera(*(frame(number, stamp_ns) for number in range(5)))
    watched = LatestFrame(camera, QUICK)
    watched.start()
    assert wait_until(lambda: "its newest picture is" in (watched.fault() or ""))
    assert watched.latest() is None
    camera.release()
    watched.stop()


def jpeg_frame(jpeg: bytes) -> Frame:
    return Frame(None, now_ns(), 1, jpeg)


def test_a_jpeg_is_handed_out_undecoded() -> None:
    """A frame that is a JPEG of the right size is handed out as it is."""
    camera = HandCamera(jpeg_frame(jpegs(1)[0]))
    watched = LatestFrame(camera)
    watched.start()
    assert watched.wait_first(WAIT_S)
    shown = watched.latest()
    assert shown is not None
    assert (shown.image, shown.jpeg) == (None, jpegs(1)[0])
    camera.release()
    watched.stop()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (jpeg_frame(jpegs(1, 64, 48)[0]), "its picture is 48x64, the camera's is 64x48"),
        (jpeg_frame(jpegs(1)[0][:-1]), "not a whole one"),
        (jpeg_frame(b"\xff\xd8 no picture \xff\xd9"), "is no JPEG"),
        (jpeg_frame(b"\xff\xd8" + bytes(5 * 2**20) + b"\xff\xd9"), "is no JPEG"),
        (Frame(None, 1, 1), "NoneType"),
    ],
)
def test_a_jpeg_that_is_not_as_announced_is_a_fault(bad: Frame, said: str) -> None:
    """A JPEG of another size, cut off, too large or none at all is never handed out."""
    camera = HandCamera(bad)
    watched = LatestFrame(camera, WatchPlan(stale_ns=3600 * NS_PER_S))
    watched.start()
    assert wait_until(lambda: watched.fault() is not None)
    assert said in (watched.fault() or "")
    assert watched.latest() is None
    camera.release()
    watched.stop()


def test_a_jpeg_that_claims_a_huge_size_is_a_fault_of_a_camera_of_any_size() -> None:
    """Where the spec leaves the size open, a header still cannot claim 65535 x 65535."""
    honest = bytearray(jpegs(1)[0])
    at = honest.index(b"\xff\xc0") + 5
    honest[at : at + 4] = b"\xff\xff\xff\xff"
    camera = HandCamera(jpeg_frame(bytes(honest)))
    camera.spec = CameraSpec("front")
    watched = LatestFrame(camera, WatchPlan(stale_ns=3600 * NS_PER_S))
    watched.start()
    assert wait_until(lambda: "65535x65535" in (watched.fault() or ""))
    camera.release()
    watched.stop()


class Laptop(SystemClock):
    """A host that sleeps when it is told to."""

    def __init__(self) -> None:
        self.away_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.away_ns

    def slept_ns(self) -> int:
        return super().slept_ns() + self.away_ns


def test_a_sleep_of_the_computer_is_no_fault_of_a_camera() -> None:
    """After fifteen seconds of sleep the old picture is too old to go, and the camera has its time anew."""
    clock = Laptop()
    camera = HandCamera(frame(1, clock.now_ns()))
    watched = LatestFrame(camera, QUICK, clock)
    watched.start()
    assert watched.wait_first(WAIT_S)
    clock.away_ns += 15 * NS_PER_S
    assert watched.fault() is None
    assert watched.latest() is None
    assert wait_until(lambda: "no new picture for 0." in (watched.fault() or ""))
    camera.release()
    watched.stop()


def test_a_camera_that_had_failed_before_the_sleep_has_failed_after_it() -> None:
    """A camera that raises stays at fault, however long the computer slept."""
    clock = Laptop()
    camera = FakeCamera(SPEC)
    watched = LatestFrame(camera, QUICK, clock)
    watched.start()
    assert watched.wait_first(WAIT_S)
    camera.fail()
    assert wait_until(lambda: watched.fault() is not None)
    clock.away_ns += 15 * NS_PER_S
    assert watched.fault() is not None
    watched.stop()


class Napping(FakeCamera):
    """A camera in the middle of whose third picture the computer sleeps."""

    def __init__(self, clock: Laptop) -> None:
        super().__init__(SPEC)
        self.clock = clock

    def grab(self) -> Frame:
        made = super().grab()
        if made.number == 3:
            self.clock.away_ns += 15 * NS_PER_S
        return Frame(made.image, self.clock.now_ns(), made.number)


def test_a_picture_that_was_taken_around_the_sleep_is_not_shown() -> None:
    """A picture that the driver had before the sleep and handed out after it is of the world of before."""
    clock = Laptop()
    watched = LatestFrame(Napping(clock), QUICK, clock)
    watched.keep(64)
    watched.start()
    assert wait_until(lambda: getattr(watched.latest(), "number", 0) > 4)
    watched.stop()
    numbers = [getattr(watched.at(kept.captured_ns), "number", 0) for kept in watched._frames]
    assert 3 not in numbers
    assert {2, 4} <= set(numbers)


def test_a_frozen_camera_is_not_opened_anew_for_a_sleep() -> None:
    """The same picture just before and just after the sleep closes nothing."""
    clock = Laptop()
    camera = Counted()
    watched = LatestFrame(camera, WatchPlan(stale_ns=NS_PER_S, reopen_ns=NS_PER_S // 20), clock)
    watched.start()
    assert watched.wait_first(WAIT_S)
    camera.freeze()
    clock.away_ns += 15 * NS_PER_S
    time.sleep(0.3)
    assert (len(camera.opened_ns), watched.fault()) == (1, None)
    camera.heal()
    watched.stop()
