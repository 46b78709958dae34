"""What every robot looks like to the control loop: read, write, and a spec that says the units.

A robot is owned by one thread. `read` and `write` are called once per tick and
must not block longer than a small part of it; anything slow belongs in
`connect`. Time comes in as an argument, so that a simulated robot runs under a
virtual clock and in real time with the same code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from segue.core.specs import RobotSpec
from segue.core.types import NO_ENVIRONMENT, FloatArray


@dataclass(frozen=True, slots=True)
class RobotState:
    """What a robot says of itself at one tick.

    Attributes:
        state: joint values in the spec's order and units, shape (S,).
        environment: extra numbers named by the spec, shape (E,), may be empty.
        captured_ns: when it was taken, by `segue.clock.now_ns`, where that was an earlier tick: a bus
            that misses one answers with what it knew last. None means just now.
    """

    state: FloatArray
    environment: FloatArray = field(default_factory=lambda: NO_ENVIRONMENT)
    captured_ns: int | None = None


class Robot(Protocol):
    """A robot with a fixed set of joints.

    A robot may have more than this, and is asked for it by name: `summary()` adds numbers to the
    run's summary, `notes()` returns sentences for the person at the terminal (each once),
    `exhausted` says that there is nothing left to do, and `slept()` is told that the computer slept,
    so that it is no silence of the robot's.
    """

    @property
    def spec(self) -> RobotSpec:
        """Joints, actions and cameras, known before `connect`."""
        ...

    @property
    def rest_pose(self) -> FloatArray | None:
        """Where PARK moves to, shape (A,), robot units; None parks where the robot is."""
        ...

    def connect(self) -> None:
        """Opens the robot; it must not move.

        Raises:
            RobotFault: the robot does not answer.
        """
        ...

    def read(self, now_ns: int) -> RobotState:
        """Returns the present state.

        Raises:
            RobotFault: the robot does not answer.
            SafetyLatch: it answers that it is in danger, such as an overloaded servo.
        """
        ...

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Sends a target, shape (A,), and returns the target really applied.

        What holding goes back to, and what the log says: where the motors were told nothing now it
        is what they were told last. `segue.robots.goals.GoalLimit` keeps count of that.

        Raises:
            RobotFault: the robot does not answer.
            SafetyLatch: as for `read`.
        """
        ...

    def disconnect(self) -> None:
        """Closes the robot; may be called more than once and after a fault."""
        ...
