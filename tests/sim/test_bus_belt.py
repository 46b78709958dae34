"""Driven through the servo bus, the arm lifts as many cubes as without it.

The same belt, policy and strategy, once by the simulated robot itself and once
by the real driver over emulated servos: 4096 counts a turn, wire time, and all.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from segue.core.types import Strategy
from segue.policies.registry import load_policy
from segue.robots.base import Robot
from segue.robots.belt_cubes import BeltConfig
from segue.robots.mujoco import SimSO101, SimSO101Config
from segue.robots.so101_units import ArmUnits
from segue.testing.bus_belt import BusBelt
from segue.testing.goal_checker import check_goals, servo_speeds
from segue.testing.servo_arm import default_calibration
from segue.testing.simlink import LinkModel
from segue.testing.simserver import ServiceTime, SimServer
from segue.testing.simulation import Simulation
from tests.sim.support import CONTROL_HZ, client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

CUBES = 200
LATENCY_MS = 300.0
SEED = 0
CONFIG = SimSO101Config(seed=SEED, belt=BeltConfig(max_cubes=CUBES), cameras=())


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share (E. B. Wilson, 1927)."""
    z = 1.96
    share, more = successes / trials, z * z / trials
    middle = (share + more / 2) / (1 + more)
    half = z * math.sqrt(share * (1 - share) / trials + more / (4 * trials)) / (1 + more)
    return middle - half, middle + half


def drive(robot: Robot) -> dict[str, Any]:
    """Returns the summary of a run with 300 ms of latency, in which no servo was told to leap."""
    policy = load_policy("builtin:belt", "cpu")
    policy.warm_up()
    made = client(robot, Strategy.RTC, link=LinkModel(delay_ms=0.2), seed=SEED)
    server = SimServer(policy, ServiceTime(inference_ms=20.0, latency_ms=LATENCY_MS))
    assert isinstance(robot, SimSO101 | BusBelt)
    Simulation(server, [made]).run(until_s=900.0, done=lambda: made.executor is not None and robot.exhausted)
    if isinstance(robot, BusBelt):
        units = ArmUnits(default_calibration())
        assert len(robot.line.goals) > 50_000
        assert check_goals(robot.line.goals, servo_speeds(units), CONTROL_HZ) == []
    assert made.stats is not None
    return made.stats.summary("done", robot.summary())


@pytest.fixture(scope="module")
def runs() -> dict[str, dict[str, Any]]:
    """Runs both, and prints what came of them."""
    found = {"simulator": drive(SimSO101(CONFIG)), "through the bus": drive(BusBelt(CONFIG))}
    for name, summary in found.items():
        low, high = wilson(summary["successes"], CUBES)
        sys.stdout.write(
            f"\n{name:<16}{summary['successes']} of {CUBES} cubes, 95 % interval {low:.3f} to {high:.3f}"
        )
    return found


def test_the_bus_costs_no_cubes(runs: dict[str, dict[str, Any]]) -> None:
    """The intervals of both success rates overlap, and both are above nine tenths."""
    simulated, through = (wilson(run["successes"], CUBES) for run in runs.values())
    assert through[1] >= simulated[0], runs
    assert simulated[1] >= through[0], runs
    assert runs["through the bus"]["successes"] >= 0.9 * CUBES, runs


def test_no_tick_is_missed_and_no_goal_is_lost(runs: dict[str, dict[str, Any]]) -> None:
    """On a good line every question of the whole run is answered the first time."""
    through = runs["through the bus"]
    assert through["bus_questions"] > 20_000
    assert (through["bus_retries"], through["bus_missed_ticks"], through["bus_lost_goals"]) == (0, 0, 0)


def test_the_plan_never_runs_dry(runs: dict[str, dict[str, Any]]) -> None:
    """The time on the wire starves nobody."""
    assert runs["through the bus"]["starved_ticks"] == 0
