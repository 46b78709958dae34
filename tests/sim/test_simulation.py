"""Whole runs over a simulated link: what a user relies on, at a thousand ticks in the time of one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segue.core.link.states import LinkState
from segue.core.specs import ActionSpec, Kind, RobotSpec
from segue.core.types import Strategy
from segue.core.watchdog import SafetyLevel
from segue.policies.registry import load_policy
from segue.testing.robots import FakeRobot
from segue.testing.simlink import LinkModel, Partition
from segue.testing.simserver import ServiceTime, SimServer
from segue.testing.simulation import SimClient, Simulation, command_log
from tests.sim.support import client

S = 1_000_000_000
BAD_NETWORK = LinkModel(delay_ms=20, jitter_ms=25, loss=0.03, reorder=True)


def _server(rate: str = "@30", inference_ms: float = 30.0) -> SimServer:
    policy = load_policy(f"builtin:scripted{rate}")
    policy.warm_up()
    return SimServer(policy, ServiceTime(inference_ms))


def _run(link: LinkModel, seed: int, until_s: float = 20.0) -> SimClient:
    made = client(FakeRobot(), Strategy.RTC, link=link, seed=seed, keep_commands=True)
    Simulation(_server(), [made]).run(until_s)
    return made


def test_a_seed_replays_the_whole_run() -> None:
    """The same seed gives the same commands tick for tick on a bad network, another seed gives others."""
    first, again, other = (_run(BAD_NETWORK, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(command_log(first.ticks), command_log(again.ticks))
    delays = [c.stats and c.stats.summary("")["round_trip_ms"] for c in (first, other)]
    assert delays[0] != delays[1]


def _within_speed(made: SimClient) -> bool:
    speed = made.robot.spec.action.array("max_speed")
    moved = np.abs(np.diff(command_log(made.ticks), axis=0))
    return bool((moved <= speed / 100.0 + 1e-9).all())


@pytest.mark.parametrize("rate", ["@10", "@30"])
@pytest.mark.parametrize("strategy", list(Strategy))
def test_every_strategy_runs_at_both_rates(rate: str, strategy: Strategy) -> None:
    """10 to 100 Hz and 30 to 100 Hz run without a starved tick, and no command exceeds the speed limit."""
    made = client(FakeRobot(), strategy, keep_commands=True)
    Simulation(_server(rate), [made]).run(20.0)
    assert made.stats is not None
    counts = made.stats.counts
    whole_chunks = 20 * int(rate[1:]) // 50  # which sync plays
    assert counts.chunks >= (whole_chunks if strategy is Strategy.SYNC else 10)
    assert counts.starved_ticks == 0
    assert _within_speed(made)


def test_a_killed_server_comes_back_and_the_arm_goes_on() -> None:
    """While the server is down the arm holds; when it is back the client opens anew and goes on by itself."""
    made = client(FakeRobot(), Strategy.RTC, keep_commands=True)
    simulation = Simulation(_server(), [made])
    simulation.run(5.0)
    simulation.kill_server()
    simulation.run(9.0)
    assert made.executor is not None
    assert made.executor.watchdog.level is SafetyLevel.HOLD
    held = command_log(made.ticks)[-20:]
    assert (held == held[0]).all()
    simulation.start_server()
    simulation.run(11.0)
    assert made.executor.watchdog.level is SafetyLevel.RUN
    resumed = next(k for k in made.ticks if k.row.t_ns > 9 * S and k.tick.began is not None)
    assert resumed.row.t_ns - 9 * S <= 1 * S + 30_000_000
    assert _within_speed(made)


def test_a_partition_holds_the_arm_and_heals() -> None:
    """Packets swallowed for five seconds lead to HOLD by the deadlines, healing to RUN within a second."""
    cut = Partition(5 * S, 10 * S)
    made = _run(LinkModel(delay_ms=5, partitions=(cut,)), seed=1, until_s=13.0)
    levels = {k.tick.level for k in made.ticks if 8 * S < k.row.t_ns < 10 * S}
    assert levels == {SafetyLevel.HOLD}
    healed = next(k for k in made.ticks if k.row.t_ns > 10 * S and k.tick.began is not None)
    assert healed.row.t_ns <= 11.1 * S
    assert _within_speed(made)


def test_a_bad_network_never_moves_the_arm_wrongly() -> None:
    """Loss, jitter and reordering lead to no stale, repeated, backward or too fast command."""
    made = _run(BAD_NETWORK, seed=11, until_s=60.0)
    began = [(k, k.tick.began) for k in made.ticks if k.tick.began is not None]
    steps = [action.step for _, action in began]
    assert steps == sorted(set(steps))
    assert all(k.row.t_ns - action.captured_ns <= k.row.age_limit_ns for k, action in began)
    assert _within_speed(made)
    assert made.stats is not None
    assert made.stats.counts.missed_requests > 0, "the network was not bad enough to prove anything"


def test_two_robots_on_one_server_do_not_disturb_each_other() -> None:
    """A robot gets the chunks that it gets alone, and neither starves, when another uses the same server."""
    alone = client(FakeRobot(), Strategy.RTC, keep_commands=True, seed=1)
    Simulation(_server(), [alone]).run(10.0)
    pair = [client(FakeRobot(), Strategy.RTC, keep_commands=True, seed=s, robot_id=f"r{s}") for s in (1, 2)]
    server = _server()
    Simulation(server, pair).run(10.0)
    for made in pair:
        assert made.stats is not None
        assert made.stats.counts.starved_ticks == 0
    np.testing.assert_allclose(command_log(pair[0].ticks)[-500:], command_log(alone.ticks)[-500:], atol=1.0)


def _swapped_spec() -> RobotSpec:
    """The fake robot's spec with its first two joints in another order."""
    spec = FakeRobot().spec
    first, second, *rest = spec.action.dimensions
    swapped = (second, first, *rest)
    return replace(spec, action=ActionSpec(swapped), observation=replace(spec.observation, state=swapped))


def test_a_robot_with_other_joint_names_is_refused() -> None:
    """A robot with its joints in another order is refused at the handshake and never moved."""
    made = client(FakeRobot(_swapped_spec()), Strategy.RTC, keep_commands=True)
    Simulation(_server(), [made]).run(2.0)
    assert made.end.state is LinkState.REFUSED
    assert made.executor is None


def test_an_idle_server_is_not_asked_more_than_needed() -> None:
    """The client asks once per ten executed steps, no more: the link carries what is used."""
    made = _run(LinkModel(delay_ms=1), seed=0, until_s=30.0)
    assert made.stats is not None
    began = sum(k.tick.began is not None for k in made.ticks)
    assert made.stats.counts.chunks <= began / 10 + 2


def test_the_speed_checks_above_mean_something() -> None:
    """The fake robot has positions with finite speed limits only."""
    spec = FakeRobot().spec.action
    assert spec.mask(Kind.POSITION).all()
    assert np.isfinite(spec.array("max_speed")).all()
