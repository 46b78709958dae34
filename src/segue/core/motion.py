"""What is sent each tick: towards a step's action, held, or slowly to rest.

One object remembers the last command sent and continues from there whatever
happens: steps follow the grid of `interpolate`, holding ramps to the target
that the driver last applied, resuming blends from the held pose into the plan,
parking goes in a straight line. The speed limit has the last word on every
command, so no seam is faster than allowed. It decides none of this: it is told.
"""

from __future__ import annotations

import math

import numpy as np

from segue.core.interpolate import Interpolator, StepGrid
from segue.core.limits import Limits, finite
from segue.core.specs import ActionSpec
from segue.core.types import FloatArray

# Parking uses this share of the speed limit, where there is one: slow enough to step aside.
PARK_SPEED_SHARE = 0.25
MIN_PARK_S = 1.0


class Motion:
    """The command stream of one robot."""

    def __init__(self, spec: ActionSpec, grid: StepGrid, control_hz: float, pose: FloatArray) -> None:
        self.sent = pose
        self.under_way = False
        self.limited_ticks = 0
        self._interpolator = Interpolator(spec)
        self._limits = Limits(spec)
        self._grid = grid
        self._control_hz = control_hz
        self._line = _Line(pose, 0)
        self._ramp = _Ramp(pose, 0, 0)
        self._clock = _StepClock()

    def __repr__(self) -> str:
        return f"<Motion under_way={self.under_way} sent={np.round(self.sent, 2)}>"

    def at_boundary(self, tick: int) -> bool:
        """Returns whether this tick may begin a step: none is under way, or the present one is finished."""
        return not self.under_way or tick >= self._clock.ends_at

    def begin(self, target: FloatArray, tick: int) -> None:
        """Begins a step towards `target`, shape (A,); after a pause the timeline starts anew at this tick."""
        if not self.under_way:
            self._clock.start(tick)
        self.under_way = True
        self._clock.next_step(self._grid)
        self._line = _Line(target, self._clock.ends_at)

    def pause(self, tick: int, ramp_s: float) -> None:
        """Notes that no step follows the last one.

        Where the speed limit kept the command back it may still go towards that step's target for
        `ramp_s`, and then stays wherever it is: an arm with nothing planned must not go on for long.
        """
        if self.under_way:
            self._line.settles_at = tick + max(1, round(ramp_s * self._control_hz))
        self.under_way = False

    def hold_at(self, target: FloatArray, tick: int, ramp_s: float) -> None:
        """Stops the step and goes to what holding at `target` means, within `ramp_s`."""
        self.under_way = False
        # An arm that was found outside its limits is held there: only a plan or PARK may move it back.
        low, high = np.minimum(self._limits.low, self.sent), np.maximum(self._limits.high, self.sent)
        held = self._interpolator.hold(np.clip(target, low, high))
        self._line = _Line(held, tick + max(1, round(ramp_s * self._control_hz)))
        self._ramp = _Ramp(self.sent, 0, 0)

    def park_at(self, rest: FloatArray, tick: int, longest_s: float) -> None:
        """Begins the slow straight line to `rest`, shape (A,)."""
        self.under_way = False
        target = self._interpolator.rest(self._limits.clip(rest), self.sent)
        slow = PARK_SPEED_SHARE * self._limits.max_speed
        duration_s = max(float(np.max(np.abs(target - self.sent) / slow, initial=0.0)), MIN_PARK_S)
        self._line = _Line(target, tick + math.ceil(min(duration_s, longest_s) * self._control_hz))

    def resume(self, tick: int, ramp_s: float) -> None:
        """Lets the coming commands blend from where the arm is held into the plan over `ramp_s`."""
        self._ramp = _Ramp(self.sent, tick, max(1, round(ramp_s * self._control_hz)))

    def arrived(self, tick: int) -> bool:
        """Returns whether the line to a hold or to rest has ended."""
        return not self.under_way and tick >= self._line.ends_at

    def command(self, tick: int) -> FloatArray:
        """Returns the command of this tick, shape (A,); call once per tick."""
        if self.under_way or tick < self._line.ends_at:
            ticks_left = max(1, self._line.ends_at - tick)
            path = self._interpolator.command(self._ramp.path(self.sent, tick), self._line.target, ticks_left)
        else:
            if tick >= self._line.settles_at:
                self._line = _Line(self.sent, tick)
            path = self._interpolator.hold(self._line.target)
        wanted = self._interpolator.ease(self._ramp.origin, path, self._ramp.advance(path, tick))
        command = self._limits.slew(self.sent, wanted, 1.0 / self._control_hz)
        if not finite(command):  # whatever went wrong before: never to an arm
            command = self.sent
        self.limited_ticks += bool((command != wanted).any())
        self.sent = command
        return command


class _StepClock:
    """Counts steps since the timeline last started, and says when the present one ends."""

    def __init__(self) -> None:
        self._anchor = 0
        self._index = 0
        self.ends_at = 0

    def start(self, tick: int) -> None:
        self._anchor, self._index = tick, 0

    def next_step(self, grid: StepGrid) -> None:
        self._index += 1
        self.ends_at = self._anchor + grid.begin(self._index)


class _Line:
    """A straight line to `target`, reached on the tick before `ends_at`; given up at `settles_at`."""

    def __init__(self, target: FloatArray, ends_at: int) -> None:
        self.target = target
        self.ends_at = ends_at
        self.settles_at: float = math.inf


class _Ramp:
    """A blend from the held pose `origin` into a path, linear over `ticks`; zero ticks is no ramp."""

    def __init__(self, origin: FloatArray, start: int, ticks: int) -> None:
        self.origin = origin
        self._start = start
        self._ticks = ticks
        self._path = origin

    def path(self, sent: FloatArray, tick: int) -> FloatArray:
        """Returns where the line continues from: the unblended path while ramping, else what was sent."""
        return self._path if tick - self._start < self._ticks else sent

    def advance(self, path: FloatArray, tick: int) -> float:
        """Notes the unblended path of this tick and returns the share of it that is sent."""
        self._path = path
        done = tick - self._start + 1
        return done / self._ticks if done < self._ticks else 1.0
