"""How far a motor's next goal may be from the one that it has, whatever was lost on the way.

A speed limit on commands counts from command to command. A motor counts from the
last goal that reached it: after 150 ms in which none did, the next command at
180 degrees a second is 27 degrees away, and the joint goes there at all its
speed. So a driver whose goals are confirmed by nobody keeps, joint by joint,
which goals the motor may have, and sends none that is further than one tick's
way from any of them. Time without an answer adds nothing to that way: an arm
that fell behind catches up within its speed limit.

Pure: it knows no bus, no clock and no servo, and any driver may use it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segue.core.types import FloatArray

BoolArray = npt.NDArray[np.bool_]

# Of a tick's way: a command that goes just as far, by another rounding, is passed on as it is.
_ROUNDING = 1e-6


class GoalLimit:
    """The goals of one robot's motors.

    Attributes:
        told: the newest goal that each was sent, shape (A,): what a driver says that it applied.
    """

    def __init__(self, reach: FloatArray, goals: FloatArray) -> None:
        """Begins with `goals`, shape (A,), which are known to have arrived.

        Args:
            reach: how far each may go within a tick, shape (A,), at least 0; infinite for no limit.
            goals: in the robot's units.
        """
        self.told = goals
        self._reach = reach * (1.0 + _ROUNDING)
        self._low, self._high = goals, goals

    def __repr__(self) -> str:
        return f"<GoalLimit told={np.round(self.told, 2)} unsure={np.flatnonzero(self._low < self._high)}>"

    @property
    def unsure(self) -> FloatArray:
        """How far apart the goals are that each motor may have, shape (A,); 0 where that is known."""
        return self._high - self._low

    def within(self, wanted: FloatArray) -> FloatArray:
        """Returns what of `wanted`, shape (A,), may be sent now.

        It is within a tick's way of every goal that the motor may have, and of the one that was
        last said to be applied.
        """
        least = np.maximum(self._high, self.told) - self._reach
        most = np.minimum(self._low, self.told) + self._reach
        return np.minimum(np.maximum(wanted, least), most)

    def tell(self, goals: FloatArray, to: BoolArray) -> None:
        """Notes that `goals`, shape (A,), were sent to those in `to`, shape (A,); they may be lost."""
        if to.all():
            self.told = goals
            self._low, self._high = np.minimum(self._low, goals), np.maximum(self._high, goals)
            return
        self.told = np.where(to, goals, self.told)
        self._low = np.where(to, np.minimum(self._low, goals), self._low)
        self._high = np.where(to, np.maximum(self._high, goals), self._high)

    def arrived(self, of: BoolArray) -> None:
        """Notes that the newest goal of those in `of`, shape (A,), has arrived."""
        if of.all():
            self._low = self._high = self.told
        else:
            self._low = np.where(of, self.told, self._low)
            self._high = np.where(of, self.told, self._high)

    def found(self, goals: FloatArray, of: BoolArray) -> None:
        """Notes that the motors in `of`, shape (A,), were asked, and have `goals`, shape (A,)."""
        self._low = np.where(of, goals, self._low)
        self._high = np.where(of, goals, self._high)
        # So far away it was never sent what it was said to be: what counts is what it has.
        wrong = of & (np.abs(goals - self.told) > 2 * self._reach)
        self.told = np.where(wrong, goals, self.told)
