"""From the policy's rate to the robot's: when a step begins, and what is sent within it.

Step k begins at the first tick at or after its time, counted from the tick at
which the timeline last started (TIMELINE rule 1); with 30 Hz on 100 Hz that
is tick 0, 4, 7, 10, 14 … . The arithmetic is exact (fractions), so nothing
drifts in an hour. Within a step positions go in a straight line *from the
last command sent* to the step's action and reach it on the step's last tick;
an action is therefore never taken early. Velocities and efforts are constant
over the step, discrete dimensions jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from segue.core.specs import ActionSpec, Kind
from segue.core.types import FloatArray


@dataclass(frozen=True, slots=True)
class StepGrid:
    """Which ticks begin a step, relative to the tick at which the timeline started.

    Attributes:
        ticks_per_step: control_hz / action_hz, exact, >= 1.
    """

    ticks_per_step: Fraction

    @classmethod
    def of(cls, action_hz: float, control_hz: float) -> StepGrid:
        """Makes the grid of two rates in Hz.

        Raises:
            ValueError: a rate is not positive, or `control_hz` < `action_hz`.
        """
        if not (action_hz > 0 and control_hz >= action_hz):
            raise ValueError(f"need 0 < action_hz <= control_hz, got {action_hz} and {control_hz}")
        return cls(Fraction(control_hz) / Fraction(action_hz))

    def begin(self, index: int) -> int:
        """Returns the tick at which the `index`-th step since the start begins."""
        return -(-index * self.ticks_per_step.numerator // self.ticks_per_step.denominator)

    def length(self, index: int) -> int:
        """Returns how many ticks the `index`-th step since the start lasts."""
        return self.begin(index + 1) - self.begin(index)


class Interpolator:
    """Turns a step's target into one command per tick.

    Source: TIMELINE.md rules 1 and 10.
    """

    def __init__(self, spec: ActionSpec) -> None:
        self._straight = spec.mask(Kind.POSITION)
        self._zero_on_hold = spec.mask(Kind.VELOCITY, Kind.EFFORT)

    def command(self, last: FloatArray, target: FloatArray, ticks_left: int) -> FloatArray:
        """Returns the command for this tick.

        Args:
            last: the last command sent, shape (A,).
            target: the step's action, shape (A,).
            ticks_left: ticks of this step that remain, this one included, >= 1.
        """
        if ticks_left == 1:
            return target  # exactly: a rounding error could lie beyond a limit
        # Dividing what is left of the way by the ticks that are left is the same straight
        # line, and it still arrives if a speed limit held an earlier tick back.
        return np.where(self._straight, last + (target - last) / ticks_left, target)

    def ease(self, origin: FloatArray, path: FloatArray, share: float) -> FloatArray:
        """Returns a command between the pose `origin` and `path`: positions at `share`, others at once."""
        if share >= 1.0:
            return path
        return np.where(self._straight, origin + (path - origin) * share, path)

    def rest(self, pose: FloatArray, last: FloatArray) -> FloatArray:
        """Returns what parking at `pose` means: positions go there, discrete keep `last`, others are zero."""
        return self.hold(np.where(self._straight, pose, last))

    def hold(self, target: FloatArray) -> FloatArray:
        """Returns what holding at `target` means: positions and discrete keep, the others are zero."""
        return np.where(self._zero_on_hold, 0.0, target)
