"""Executor, driver and servos together: a line that fails at full speed, and what the plan does meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from segue.client.commands import CommandLogHeader
from segue.clock import NS_PER_MS, NS_PER_S
from segue.core.executor import ChunkExecutor
from segue.core.facts import ExitReason
from segue.core.specs import Dimension
from segue.core.types import FloatArray, Strategy
from segue.core.watchdog import SafetyConfig, SafetyLevel
from segue.policies.scripted import SO101_WAVES, ScriptedConfig, ScriptedPolicy, Wave
from segue.robots import so101_model
from segue.robots.base import RobotState
from segue.robots.so101 import SO101, RestConfig, SO101Config
from segue.robots.so101_units import ArmUnits
from segue.testing.checker import assert_clean
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.goal_checker import check_applied, check_goals, servo_speeds
from segue.testing.goal_log import GoalLog
from segue.testing.servo_arm import default_calibration, so101_servos
from segue.testing.servo_line import ServoLine
from segue.testing.simserver import ServiceTime, SimServer
from segue.testing.simulation import Simulation
from tests.sim.support import CONTROL_HZ, client

UNITS = ArmUnits(default_calibration())
# The base swings at 250 degrees a second where nobody holds it back to 180.
FAST = (Wave(Dimension("shoulder_pan", "deg"), 0.0, 80.0, 2.0), *SO101_WAVES[1:])


@dataclass
class BusArm:
    """The real driver on emulated servos, under the clock of a simulation."""

    line: ServoLine = field(default_factory=lambda: ServoLine(so101_servos()))
    clock: VirtualClock = field(default_factory=VirtualClock)
    ahead_ns: int = 0

    def __post_init__(self) -> None:
        rest = dict(zip(so101_model.NAMES, map(float, so101_model.REST_POSE), strict=True))
        config = SO101Config("an emulated bus", UNITS, rest=RestConfig(park_pose=rest))
        self.driver = SO101(config, self.clock, lambda path: DirectPort(self.line, self.clock))
        self.spec, self.rest_pose = self.driver.spec, so101_model.REST_POSE

    def connect(self) -> None:
        """Connects; the simulation's time begins when that is done."""
        self.driver.connect()
        self.ahead_ns = self.clock.now_ns()

    def read(self, now_ns: int) -> RobotState:
        """Reads, with the stamp on the simulation's clock."""
        self.clock.sleep_until(now_ns + self.ahead_ns)
        seen = self.driver.read(now_ns)
        return RobotState(seen.state, captured_ns=(seen.captured_ns or 0) - self.ahead_ns)

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Writes."""
        return self.driver.write(action, now_ns)

    def disconnect(self) -> None:
        """Disconnects."""
        self.driver.disconnect()

    def goals(self) -> GoalLog:
        """Returns the goals that the servos took, in the arm's units and on the simulation's clock."""
        log = GoalLog()
        for name, (times, counts) in self.line.goals.tracks().items():
            joint = list(UNITS.ids).index(name)
            for at_ns, count in zip(times.tolist(), counts, strict=True):
                units = UNITS.to_units(dict.fromkeys(UNITS.ids.values(), int(count)))
                log.add(at_ns - self.ahead_ns, name, float(units[joint]))
        return log


class Stage:
    """A run of ten seconds, in which something may happen at any time."""

    def __init__(self) -> None:
        self.arm = BusArm()
        self.client = client(self.arm, Strategy.RTC, keep_commands=True)
        policy = ScriptedPolicy(ScriptedConfig(FAST, action_hz=30.0))
        self.simulation = Simulation(SimServer(policy, ServiceTime(20.0, 50.0)), [self.client], CONTROL_HZ)

    @property
    def executor(self) -> ChunkExecutor:
        """The run's, once it has begun."""
        assert self.client.executor is not None
        return self.client.executor

    def at(self, s: float, act: Callable[[], object]) -> None:
        """Lets something happen."""
        self.simulation.at(round(s * NS_PER_S), lambda: (act(), None)[1])

    def silence(self, at_s: float, ms: int) -> None:
        """Lets nobody on the bus hear anything for a while."""

        def fall_silent() -> None:
            self.arm.line.faults.silent_until_ns = self.arm.clock.now_ns() + ms * NS_PER_MS

        self.at(at_s, fall_silent)

    def run(self) -> list[FloatArray]:
        """Runs and judges; returns commands, what was applied, and levels."""
        self.simulation.run(until_s=10.0)
        rows = [kept.row for kept in self.client.ticks]
        header = CommandLogHeader.of(CONTROL_HZ, 30.0, SafetyConfig(), self.arm.spec.action.dimensions)
        assert_clean(rows, header)
        found = check_goals(self.arm.line.goals, servo_speeds(UNITS), CONTROL_HZ)
        # A count is a twelfth of a degree, of the gripper a twentieth of a percent; both are cut off.
        found += check_applied(rows, header, self.arm.goals(), resolution=0.1)
        assert not found, "\n".join(map(str, found[:5]))
        level = np.array([row.level for row in rows])
        applied = [row.command if row.applied is None else row.applied for row in rows]
        return [np.array([row.command for row in rows]), np.array(applied), level]


def test_a_plan_that_ran_ahead_is_caught_up_with() -> None:
    """The command runs 27 degrees ahead of silent servos, they follow at their speed and are there again."""
    stage = Stage()
    stage.silence(2.0, 150)
    stage.silence(4.5, 150)
    command, applied, level = stage.run()
    behind = np.abs(command - applied)[:, 0]
    assert behind[210:216].max() > 20.0
    assert behind[290:440].max() == pytest.approx(0.0, abs=0.01)
    assert behind[-100:].max() == pytest.approx(0.0, abs=0.01)
    assert set(level) == {SafetyLevel.RUN}


@pytest.mark.parametrize("stopped_after_ms", [0, 60, 120, 160, 200])
def test_a_hold_in_the_middle_of_it_is_where_the_servos_are(stopped_after_ms: int) -> None:
    """A hold that begins during or after a silence ends where the driver was last, without a leap."""
    stage = Stage()
    stage.silence(3.25, 150)
    stage.at(3.25 + stopped_after_ms / 1000, lambda: stage.executor.stop(ExitReason.SIGNALLED))
    command, applied, level = stage.run()
    holds = np.flatnonzero(level == SafetyLevel.HOLD)
    assert len(holds) > 10
    before = holds[0] - 1
    assert applied[holds[-1]] == pytest.approx(applied[before], abs=0.01)
    between = np.sort([applied[before, 0], command[before, 0]])
    assert (applied[holds, 0] >= between[0] - 0.01).all()
    assert (applied[holds, 0] <= between[1] + 0.01).all()


def test_goals_that_are_lost_and_held_back_cost_nothing_but_time() -> None:
    """Lost goals, an adapter that stands still and mute servos, again and again, move nothing wrongly."""
    stage = Stage()
    faults, waits = stage.arm.line.faults, stage.arm.line.adapter.waits
    for number in range(8):
        at_s = 1.0 + number
        stage.at(at_s, lambda n=number: setattr(faults, "lose_goals", n))
        stage.at(at_s + 0.3, lambda: setattr(faults, "mute", frozenset({1, 4})))
        stage.at(at_s + 0.4, lambda: setattr(faults, "mute", frozenset()))
        held_ms = 20 * number
        stage.at(
            at_s + 0.6,
            lambda ms=held_ms: setattr(waits, "held_until_ns", stage.arm.clock.now_ns() + ms * NS_PER_MS),
        )
    command, applied, level = stage.run()
    assert np.abs(command - applied)[-20:].max() == pytest.approx(0.0, abs=0.01)
    assert set(level) == {SafetyLevel.RUN}
