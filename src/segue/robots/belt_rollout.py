"""The teacher at work: decisions at 30 Hz, executed at 100 Hz exactly as Segue executes a chunk.

Each decision's target goes through the same step grid, interpolation and speed
limit as a policy's action, so what the teacher shows is what a policy will be
able to do. A `Meddler` may take the arm over for a while. Steps under its hand
are executed but not recorded; where it lets go a new episode begins, which
shows how to get out of the trouble it made and never contains the trouble
itself. Virtual time only: no clock, no file, no thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from segue.clock import NS_PER_S
from segue.core.interpolate import Interpolator, StepGrid
from segue.core.limits import Limits
from segue.core.types import FloatArray
from segue.robots.base import RobotState
from segue.robots.belt_expert import ACTION_HZ, BeltExpert
from segue.robots.mujoco import SimSO101, SimSO101Config

CONTROL_HZ = 100.0


class Meddler(Protocol):
    """Somebody who may take the arm over."""

    def target(self, seen: RobotState, wanted: FloatArray, last: FloatArray) -> FloatArray | None:
        """Returns the target to execute in place of `wanted`, or None to leave the teacher alone.

        Args:
            seen: present observation.
            wanted: the teacher's target, shape (6,), robot units.
            last: the last command that was applied, shape (6,).
        """
        ...


@dataclass(frozen=True, slots=True)
class Recording:
    """What the teacher saw and wanted, step by step at 30 Hz, robot units.

    Attributes:
        state: shape (T, 6).
        environment: shape (T, E).
        action: shape (T, 6).
        episode_start: shape (T,), bool; the step does not follow on the one before it.
        summary: the robot's own count of cubes.
        world_s: how long the belt ran.
    """

    state: FloatArray
    environment: FloatArray
    action: FloatArray
    episode_start: np.ndarray[tuple[int], np.dtype[np.bool_]]
    summary: dict[str, int]
    world_s: float


@dataclass(slots=True)
class _Rows:
    seen: list[RobotState] = field(default_factory=list)
    wanted: list[FloatArray] = field(default_factory=list)
    start: list[bool] = field(default_factory=list)


class _Hand:
    """Executes one target after the other, tick by tick."""

    def __init__(self, robot: SimSO101) -> None:
        self.robot = robot
        self.ticks = 0
        self._grid = StepGrid.of(ACTION_HZ, CONTROL_HZ)
        self._interpolator = Interpolator(robot.spec.action)
        self._limits = Limits(robot.spec.action)
        self._steps = 0
        self.last = robot.read(0).state

    def now_ns(self) -> int:
        return round(self.ticks * NS_PER_S / CONTROL_HZ)

    def execute(self, target: FloatArray) -> None:
        target = self._limits.clip(target)
        for ticks_left in range(self._grid.length(self._steps), 0, -1):
            straight = self._interpolator.command(self.last, target, ticks_left)
            command = self._limits.slew(self.last, straight, 1.0 / CONTROL_HZ)
            self.last = self.robot.write(command, self.now_ns())
            self.ticks += 1
        self._steps += 1


def run_expert(
    config: SimSO101Config, meddler: Meddler | None = None, time_limit_s: float = 600.0
) -> Recording:
    """Lets the teacher work until the belt is exhausted or `time_limit_s` of world time have passed.

    Args:
        config: belt and seed; `config.belt.max_cubes` ends the run.
        meddler: may disturb it; None for a run of its own.
        time_limit_s: world time.
    """
    robot, expert, rows = SimSO101(config), BeltExpert(), _Rows()
    robot.connect()
    hand = _Hand(robot)
    follows = False
    while not robot.exhausted and hand.ticks < time_limit_s * CONTROL_HZ:
        seen = robot.read(hand.now_ns())
        wanted = expert.act(seen.state, seen.environment)
        forced = meddler.target(seen, wanted, hand.last) if meddler is not None else None
        if forced is None:
            rows.seen.append(seen)
            rows.wanted.append(wanted)
            rows.start.append(not follows)
        follows = forced is None
        hand.execute(wanted if forced is None else forced)
    return Recording(
        state=np.array([seen.state for seen in rows.seen]),
        environment=np.array([seen.environment for seen in rows.seen]),
        action=np.array(rows.wanted),
        episode_start=np.array(rows.start, dtype=np.bool_),
        summary=robot.summary(),
        world_s=hand.ticks / CONTROL_HZ,
    )
