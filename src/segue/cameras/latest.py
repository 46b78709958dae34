"""The newest frame of a camera, and whether the camera is still alive.

One thread per camera does nothing but grab; everybody else looks at what it
grabbed last and never waits for the device. A camera fails in three ways: it
says so, it blocks, or it hands out the same frame again and again. All three
look alike from here: no frame with a new number for too long. Equal pixels are
no sign, a still scene has them too. A camera that fell out is opened anew, and
so is one that is frozen or whose picture is not what its spec says: nobody
behind has to look. One that blocks holds its thread until the driver gives up.

While the computer sleeps pictures grow old, and no camera is to blame: how old
one is counts the sleep, how long a camera has delivered none does not.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segue.cameras.base import Camera
from segue.clock import NS_PER_MS, NS_PER_S, Clock, SleepWatch, SystemClock
from segue.core.jpeg import END as JPEG_END
from segue.core.jpeg import MAX_JPEG_BYTES, MAX_JPEG_PIXELS, jpeg_header
from segue.core.specs import CameraSpec
from segue.core.types import Frame
from segue.errors import RobotFault

# Before its first picture a camera may be about to appear (a simulation starts), so look often.
_FIRST_RETRY_NS = 100 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """When a camera counts as failed, and how often it is opened anew.

    Attributes:
        stale_ns: without a new frame for that long it has failed.
        reopen_ns: from one attempt to open it to the next, at least.
    """

    stale_ns: int = NS_PER_S
    reopen_ns: int = NS_PER_S


class _Since(NamedTuple):
    """A moment: time without sleep, and how long the computer had slept by then."""

    awake_ns: int
    slept_ns: int


class LatestFrame:
    """One camera and the thread that owns it."""

    def __init__(self, camera: Camera, plan: WatchPlan | None = None, clock: Clock | None = None) -> None:
        """Opens nothing yet; `start` does."""
        self.spec = camera.spec
        self._camera = camera
        self._plan = plan or WatchPlan()
        self._clock = clock or SystemClock()
        self._frames: deque[Frame] = deque(maxlen=1)
        self._error: str | None = None
        self._since = self._now()
        self._stopping = threading.Event()
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"camera-{self.spec.name}", daemon=True)

    def __repr__(self) -> str:
        number = self._frames[-1].number if self._frames else None
        return f"<LatestFrame {self.spec.name} number={number} fault={self.fault()!r}>"

    def start(self) -> None:
        """Begins to grab."""
        self._since = self._now()
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Stops grabbing; a camera that blocks is left behind after `timeout_s`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def keep(self, frames: int) -> None:
        """Keeps that many frames from now on, at least 1, for `at`."""
        self._frames = deque(self._frames, maxlen=frames)

    def latest(self, max_age_ns: int | None = None) -> Frame | None:
        """Returns the newest frame, or None when it is too old or there is none.

        Args:
            max_age_ns: None takes the age at which this camera counts as failed.
        """
        frames = self._frames
        max_age_ns = self._plan.stale_ns if max_age_ns is None else max_age_ns
        if not frames or self._clock.now_ns() - frames[-1].captured_ns > max_age_ns:
            return None
        return frames[-1]

    def at(self, stamp_ns: int) -> Frame | None:
        """Returns the frame that was the newest at `stamp_ns`, or the oldest one kept; None without any."""
        kept = list(self._frames)
        earlier = [frame for frame in kept if frame.captured_ns <= stamp_ns]
        return earlier[-1] if earlier else next(iter(kept), None)

    def wait_first(self, timeout_s: float) -> bool:
        """Waits for the first frame; returns whether there is one."""
        return self.wait_since(0, timeout_s)

    def wait_since(self, stamp_ns: int, timeout_s: float) -> bool:
        """Waits for a frame captured at `stamp_ns` or later; returns whether there is one."""
        with self._arrived:
            return self._arrived.wait_for(lambda: self._has_since(stamp_ns), timeout_s)

    def _has_since(self, stamp_ns: int) -> bool:
        return bool(self._frames) and self._frames[-1].captured_ns >= stamp_ns

    def fault(self) -> str | None:
        """Returns what is wrong, in words with the camera's name; None while frames keep coming."""
        if self._error is not None:
            return f"camera {self.spec.name}: {self._error}"
        now, since, frames = self._now(), self._since, self._frames
        silent_ns = now.awake_ns - since.awake_ns
        if silent_ns > self._plan.stale_ns:
            return f"camera {self.spec.name}: no new picture for {silent_ns / NS_PER_S:.1f} s"
        # Pictures may keep coming and be old: from a buffer, or with a stamp that stands still.
        slept_ns = now.slept_ns - since.slept_ns
        age_ns = self._clock.now_ns() - frames[-1].captured_ns - slept_ns if frames else 0
        if age_ns > self._plan.stale_ns:
            return f"camera {self.spec.name}: its newest picture is {age_ns / NS_PER_S:.1f} s old"
        return None

    def _run(self) -> None:
        while not self._stopping.is_set():
            opened_ns = self._now().awake_ns
            try:
                self._grab_until_it_fails()
            # Whatever a driver raises, the robot must learn of it and not lose the thread.
            except Exception as error:
                self._error = str(error) or type(error).__name__
            retry_ns = self._plan.reopen_ns if self._frames else _FIRST_RETRY_NS
            # A frozen camera was given its time before it was closed, and must not wait once more.
            self._stopping.wait(max(0, opened_ns + retry_ns - self._now().awake_ns) / NS_PER_S)

    def _grab_until_it_fails(self) -> None:
        try:
            self._camera.open()
            opened_ns = self._now().awake_ns
            sleep = SleepWatch(self._clock)
            while not self._stopping.is_set():
                frame = self._camera.grab()
                if not sleep.slept_ns():  # else it may show what was there before, whatever its stamp says
                    self._put(frame, opened_ns)
        finally:
            self._camera.close()

    def _put(self, frame: Frame, opened_ns: int) -> None:
        if self._frames and frame.number == self._frames[-1].number:
            self._check_thawed(opened_ns)
            return
        _check_frame(frame, self.spec)
        with self._arrived:
            self._frames.append(frame)
            self._since = self._now()
            self._error = None
            self._arrived.notify_all()

    def _now(self) -> _Since:
        slept_ns = self._clock.slept_ns()
        return _Since(self._clock.now_ns() - slept_ns, slept_ns)

    def _check_thawed(self, opened_ns: int) -> None:
        """Refuses a device that shows what it showed before for too long, after an opening too.

        Raises:
            RobotFault: it does; in answer it is closed and opened anew.
        """
        now_ns, since_ns = self._now().awake_ns, self._since.awake_ns
        if now_ns - max(since_ns, opened_ns) > self._plan.stale_ns:
            silent_s = (now_ns - since_ns) / NS_PER_S
            raise RobotFault(f"no new picture for {silent_s:.1f} s: it shows the same one again and again")


def _check_frame(frame: Frame, spec: CameraSpec) -> None:
    """Refuses a frame that does not hold a picture of the camera's size.

    Raises:
        RobotFault: it does not; the text has both sizes.
    """
    if frame.jpeg is not None:
        _check_jpeg(frame.jpeg, spec)
    if frame.jpeg is None or frame.image is not None:
        _check_picture(frame.image, spec)


def _check_jpeg(jpeg: bytes, spec: CameraSpec) -> None:
    header = jpeg_header(jpeg)
    if header is None or len(jpeg) > MAX_JPEG_BYTES or not jpeg.endswith(JPEG_END):
        raise RobotFault(f"its picture of {len(jpeg)} bytes is no JPEG, or not a whole one")
    height, width = header.height, header.width
    right = 0 < height == (spec.height or height) and 0 < width == (spec.width or width)
    if not right or height * width > MAX_JPEG_PIXELS:
        raise RobotFault(f"its picture is {width}x{height}, the camera's is {spec.width}x{spec.height}")


def _check_picture(image: object, spec: CameraSpec) -> None:
    """Refuses what is no picture of the camera's size.

    Raises:
        RobotFault: it is not; the text has both sizes.
    """
    shape = image.shape if isinstance(image, np.ndarray) else ()
    kind = image.dtype.name if isinstance(image, np.ndarray) else type(image).__name__
    sides = (spec.height or None, spec.width or None, 3)
    right = len(shape) == 3 and all(
        side > 0 and wanted in (None, side) for side, wanted in zip(shape, sides, strict=True)
    )
    if not right or kind != "uint8":
        wanted = ", ".join("any" if side is None else str(side) for side in sides)
        raise RobotFault(f"its picture is {kind} {shape}, the camera's is uint8 ({wanted})")
