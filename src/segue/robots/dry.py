"""A robot that no command reaches: everything else of it is real.

A dry run shows what would be sent, with the robot's own readings, cameras,
limits and records, and moves nothing. What would have been sent is answered as
the robot would answer it, within its limits, so that whoever commands it goes
on as if it had moved; what is read shows that it did not. A driver that moves
or stiffens an arm already when it connects must know of a dry run itself; this
wrapper only keeps commands away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from segue.core.specs import RobotSpec
from segue.core.types import FloatArray
from segue.robots.base import Robot, RobotState


class DryRobot:
    """Stands before a robot and lets everything through but commands."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        action = robot.spec.action
        self._low, self._high = action.array("low"), action.array("high")

    def __repr__(self) -> str:
        return f"<DryRobot of {self._robot!r}>"

    @property
    def spec(self) -> RobotSpec:
        """The robot's own."""
        return self._robot.spec

    @property
    def rest_pose(self) -> FloatArray | None:
        """Where the robot would be parked."""
        return self._robot.rest_pose

    def connect(self) -> None:
        """Opens the robot.

        Raises:
            RobotFault: it does not answer.
        """
        self._robot.connect()

    def read(self, now_ns: int) -> RobotState:
        """Returns the robot's state.

        Raises:
            RobotFault: it does not answer.
            SafetyLatch: it says that it is in danger.
        """
        return self._robot.read(now_ns)

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Returns `action`, shape (A,), within the limits, and sends nothing."""
        within: FloatArray = np.clip(action, self._low, self._high)
        return within

    def disconnect(self) -> None:
        """Closes the robot."""
        self._robot.disconnect()

    def summary(self) -> Mapping[str, int]:
        """Returns what the robot counted, if it counts."""
        count: Callable[[], Mapping[str, int]] | None = getattr(self._robot, "summary", None)
        return count() if count is not None else {}

    def notes(self) -> Sequence[str]:
        """Returns what the robot has to say, if it says anything."""
        say: Callable[[], Sequence[str]] | None = getattr(self._robot, "notes", None)
        return say() if say is not None else ()

    def slept(self) -> None:
        """Tells the robot that the computer slept, if it wants to know."""
        heed: Callable[[], None] | None = getattr(self._robot, "slept", None)
        if heed is not None:
            heed()

    @property
    def exhausted(self) -> bool:
        """Whether the robot says that there is nothing left to do."""
        return bool(getattr(self._robot, "exhausted", False))
