"""The promise of the whole project: with 300 ms of latency the arm works as if there were none.

One seeded belt of 200 cubes, one policy, one chunk length, one trigger (ask ten
steps after the last question) for every strategy but the synchronous, which plays
whole chunks, under the virtual clock. The ruler is the scripted expert that sees
the world without any delay.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from segue.core.types import Strategy
from segue.policies.registry import load_policy
from segue.robots.belt_cubes import BeltConfig
from segue.robots.belt_rollout import run_expert
from segue.robots.mujoco import SimSO101, SimSO101Config
from segue.testing.simlink import LinkModel
from segue.testing.simserver import ServiceTime, SimServer
from segue.testing.simulation import Simulation
from tests.sim.support import client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

CUBES = 200
LATENCY_MS = 300.0
SEED = 0
BELT = BeltConfig(max_cubes=CUBES)


@dataclass(frozen=True)
class Outcome:
    """What one strategy came to."""

    lifted: int
    starved_ticks: int
    waiting_ticks: int
    seam_jerk: float


def _drive(strategy: Strategy, aggregate: str) -> Outcome:
    policy = load_policy("builtin:belt", "cpu")
    policy.warm_up()
    robot = SimSO101(SimSO101Config(seed=SEED, belt=BELT))
    made = client(robot, strategy, aggregate, link=LinkModel(delay_ms=0.2), seed=SEED)
    server = SimServer(policy, ServiceTime(inference_ms=20.0, latency_ms=LATENCY_MS))
    simulation = Simulation(server, [made])
    simulation.run(until_s=900.0, done=lambda: made.executor is not None and robot.exhausted)
    assert made.stats is not None
    summary: dict[str, Any] = made.stats.summary("done", robot.summary())
    return Outcome(
        lifted=summary["successes"],
        starved_ticks=summary["starved_ticks"],
        waiting_ticks=summary["waiting_ticks"],
        seam_jerk=summary["seam_jerk"],
    )


@pytest.fixture(scope="module", autouse=True)
def said(outcomes: dict[str, Outcome], expert_lifts: int) -> None:
    """Prints the figures, so that a log of the tests tells how near it was."""
    sys.stdout.write(f"\nof {CUBES} cubes the expert lifts {expert_lifts}\n")
    sys.stdout.writelines(f"{name:<24}{outcome}\n" for name, outcome in outcomes.items())


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Runs every strategy once."""
    return {
        "sync": _drive(Strategy.SYNC, "latest_only"),
        "async latest_only": _drive(Strategy.ASYNC, "latest_only"),
        "async weighted_average": _drive(Strategy.ASYNC, "weighted_average"),
        "rtc": _drive(Strategy.RTC, "latest_only"),
    }


@pytest.fixture(scope="module")
def expert_lifts() -> int:
    """Cubes that the expert lifts on the same belt without delay."""
    return run_expert(SimSO101Config(seed=SEED, belt=BELT), time_limit_s=900.0).summary["successes"]


def test_rtc_lifts_nine_tenths_of_what_the_expert_lifts(
    outcomes: dict[str, Outcome], expert_lifts: int
) -> None:
    """With 300 ms of latency RTC lifts at least 90 % of the cubes that the undelayed expert lifts."""
    assert expert_lifts >= 0.95 * CUBES
    assert outcomes["rtc"].lifted >= math.ceil(0.9 * expert_lifts), outcomes


def test_rtc_never_starves(outcomes: dict[str, Outcome]) -> None:
    """After the first chunk no tick of RTC finds the plan empty."""
    assert outcomes["rtc"].starved_ticks == 0, outcomes


def test_rtc_lifts_at_least_as_many_as_the_others(outcomes: dict[str, Outcome]) -> None:
    """No other strategy lifts more cubes than RTC on the same belt."""
    assert all(o.lifted <= outcomes["rtc"].lifted for o in outcomes.values()), outcomes


def test_rtc_has_smoother_seams_than_async_and_waits_less_than_sync(outcomes: dict[str, Outcome]) -> None:
    """RTC has less seam jerk than both asynchronous strategies, and waits less than the synchronous one."""
    rtc = outcomes["rtc"]
    assert rtc.seam_jerk < outcomes["async latest_only"].seam_jerk, outcomes
    assert rtc.seam_jerk < outcomes["async weighted_average"].seam_jerk, outcomes
    assert rtc.waiting_ticks < outcomes["sync"].waiting_ticks, outcomes
