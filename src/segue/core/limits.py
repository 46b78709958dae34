"""The last word before the motor: finite, within range, not faster than allowed.

Position limits act on the plan when a chunk is merged, so that what the policy
is told of its leftover is what will be executed. The speed limit acts on each
command, is stated per second (so it means the same at every control rate), and
bounds every seam whatever the policy says. Nothing here remembers anything but
the limits.
"""

from __future__ import annotations

import numpy as np

from segue.core.specs import ActionSpec, Kind
from segue.core.types import FloatArray


class Limits:
    """The limits of one robot."""

    def __init__(self, spec: ActionSpec) -> None:
        self.low = spec.array("low")
        self.high = spec.array("high")
        # A discrete dimension jumps by definition; a speed would turn it into a ramp.
        self.max_speed = np.where(spec.mask(Kind.DISCRETE), np.inf, spec.array("max_speed"))

    def clip(self, actions: FloatArray) -> FloatArray:
        """Returns `actions`, shape (..., A), within the position limits."""
        return np.clip(actions, self.low, self.high)

    def slew(self, last: FloatArray, wanted: FloatArray, period_s: float) -> FloatArray:
        """Returns the command nearest to `wanted` that respects the speed limit.

        Args:
            last: the last command sent, shape (A,).
            wanted: the command wished for, shape (A,).
            period_s: duration of one tick.
        """
        reach = self.max_speed * period_s
        return np.clip(wanted, last - reach, last + reach)


def finite(actions: FloatArray) -> bool:
    """Returns whether every number is finite."""
    return bool(np.isfinite(actions).all())
