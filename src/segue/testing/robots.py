"""A robot that goes where it is told, at once, for tests and rehearsals without an arm.

By default it is an SO-101 in name, units and limits, so that every policy for
that arm may drive it. It can be told to fail, counts what it was asked, and
writes its commands to a file when a test in another process wants to read
them. It has no physics and no time of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import numpy as np

from segue.core.specs import ActionSpec, Dimension, Kind, ObservationSpec, RobotSpec
from segue.core.types import FloatArray
from segue.errors import RobotFault
from segue.robots import so101_model
from segue.robots.base import RobotState


def so101_spec() -> RobotSpec:
    """Returns the spec of an SO-101 without cameras."""
    joints = so101_model.dimensions()
    return RobotSpec("fake_so101", ObservationSpec(joints), ActionSpec(joints))


class FakeRobot:
    """A robot whose state is the last command."""

    def __init__(self, spec: RobotSpec | None = None, log: Path | None = None) -> None:
        """Makes a robot that is not connected.

        Args:
            spec: an SO-101's by default; its state and action must have the same dimensions.
            log: a file that gets a line ``now_ns value value …`` for each command.
        """
        self.spec = spec or so101_spec()
        size = len(self.spec.action)
        rest = so101_model.REST_POSE
        self.rest_pose: FloatArray = rest if spec is None else np.zeros(size)
        self.commands: list[FloatArray] = []
        self.fails: str | None = None
        self.connected = False
        self._position = self.rest_pose.copy()
        self._log_path = log
        self._log: TextIO | None = None

    def __repr__(self) -> str:
        return f"<FakeRobot connected={self.connected} at={np.round(self._position, 2)}>"

    def connect(self) -> None:
        """Begins to answer.

        Raises:
            RobotFault: it was told to fail.
        """
        self._check()
        self.connected = True
        if self._log_path is not None:
            self._log = self._log_path.open("w", encoding="utf-8", buffering=1)

    def read(self, now_ns: int) -> RobotState:
        """Returns where it is.

        Raises:
            RobotFault: it was told to fail.
        """
        self._check()
        return RobotState(self._position.copy(), np.zeros(len(self.spec.observation.environment)))

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Goes to `action`, shape (A,), and returns it.

        Raises:
            RobotFault: it was told to fail.
        """
        self._check()
        self._position = action.copy()
        if self._log is None:
            self.commands.append(self._position)
        else:
            self._log.write(" ".join([str(now_ns), *(f"{value:.6g}" for value in action)]) + "\n")
        return self._position

    def disconnect(self) -> None:
        """Stops answering; where it is stays."""
        self.connected = False
        if self._log is not None:
            self._log.close()
            self._log = None

    def _check(self) -> None:
        if self.fails is not None:
            raise RobotFault(self.fails)


def make_fake_robot(log: str | None = None) -> FakeRobot:
    """Makes the default robot from plain settings; a factory for `segue.client.plan.RobotPart`."""
    return FakeRobot(log=None if log is None else Path(log))


def make_other_robot(log: str | None = None) -> FakeRobot:
    """Makes a robot on two wheels, which no policy for an arm may drive."""
    wheels = tuple(Dimension(f"{side}_wheel", "rad/s", Kind.VELOCITY) for side in ("left", "right"))
    spec = RobotSpec("fake_rover", ObservationSpec(wheels), ActionSpec(wheels))
    return FakeRobot(spec, None if log is None else Path(log))


def make_broken_robot(log: str | None = None) -> FakeRobot:
    """Makes a robot that cannot be connected."""
    robot = make_fake_robot(log)
    robot.fails = "no answer from the bus"
    return robot
