"""How slow a policy may be: the law of starving, and policies slower than they say; virtual clock."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from segue.client.commands import CommandLogHeader
from segue.core.facts import ChunkDropped, ChunkTaken, ExitReason
from segue.core.outlook import OutlookChanged, Standing
from segue.core.schedule import DropReason, RequestRule, RuleWishes
from segue.core.types import Guidance, Strategy
from segue.core.watchdog import SafetyConfig, SafetyLevel
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy
from segue.testing.checker import assert_clean
from segue.testing.robots import FakeRobot
from segue.testing.simlink import LinkModel
from segue.testing.simserver import ServiceTime, SimServer
from segue.testing.simulation import KeptTick, SimClient, SimSetup, Simulation
from tests.sim.support import CONTROL_HZ, configure

S = 1_000_000_000
ONE_WAY_MS = 0.2


@dataclass(frozen=True)
class Run:
    """What a run was like."""

    words: str
    ceiling_ns: int
    ticks: list[KeptTick]

    def events(self, kind: type) -> list[object]:
        return [event for kept in self.ticks for event in kept.tick.events if isinstance(event, kind)]

    def share(self, level: SafetyLevel, since_s: float) -> float:
        judged = [kept.tick.level for kept in self.ticks if kept.row.t_ns >= since_s * S]
        return sum(each is level for each in judged) / len(judged)

    def begins(self, since_s: float, until_s: float) -> bool:
        """Whether a step begins between the two."""
        return any(k.row.step is not None and since_s <= k.row.t_ns / S < until_s for k in self.ticks)

    def moves(self, since_s: float) -> bool:
        """Whether steps begin in every quarter of what follows `since_s`."""
        begun = [kept.row.t_ns / S for kept in self.ticks if kept.row.step is not None]
        last = self.ticks[-1].row.t_ns / S
        quarter = (last - since_s) / 4
        return all(any(0 <= t - since_s - k * quarter < quarter for t in begun) for k in range(4))


def run(
    rule: RequestRule,
    action_hz: float,
    answer_s: float | Callable[[int], float],
    seconds: float,
    safety: SafetyConfig | None = None,
    declared_s: float = 0.0,
) -> Run:
    """Runs a robot whose answers take so long, by the time at which they are asked for."""
    policy = ScriptedPolicy(ScriptedConfig(action_hz=action_hz, horizon=100))
    policy.spec = replace(policy.spec, warm_inference_ns=int(declared_s * S))
    policy.warm_up()
    stretch = answer_s if callable(answer_s) else lambda now_ns: answer_s
    service = ServiceTime(inference_ms=1000.0, stretch=stretch)
    robot = FakeRobot()
    make = configure(robot, rule)
    setup = SimSetup(
        lambda spec: replace(make(spec), safety=safety or SafetyConfig()),
        Guidance(strategy=rule.strategy),
        link=LinkModel(delay_ms=ONE_WAY_MS),
        keep_commands=True,
    )
    client = SimClient(robot, setup)
    Simulation(SimServer(policy, service), [client], CONTROL_HZ).run(seconds)
    assert client.executor is not None
    config = client.executor.config
    header = CommandLogHeader.of(CONTROL_HZ, action_hz, config.safety, config.action.dimensions)
    assert_clean(
        [kept.row for kept in client.ticks], replace(header, age_ceiling_ns=client.executor.pace.ceiling_ns)
    )
    return Run(client.executor.words(), client.executor.pace.ceiling_ns or 0, client.ticks)


def ticks_s(ticks: int) -> float:
    """Returns what an inference may take for its chunk to be merged so many ticks after it was asked for."""
    return ticks / CONTROL_HZ - 0.005


def defaults(strategy: Strategy, action_hz: float, horizon: int | None = None) -> RequestRule:
    return RuleWishes(strategy, horizon).settled(100, action_hz)


@pytest.mark.parametrize("strategy", [Strategy.RTC, Strategy.ASYNC])
def test_as_many_ticks_starve_as_the_law_says(strategy: Strategy) -> None:
    """At 100 Hz with H = 50 none starves up to d = 25, and from there on 1 - H / 2d of them do."""
    rule = defaults(strategy, 100.0)
    for d in range(10, 46):
        judged = 8 * 2 * d  # whole periods: in each two chunks are asked for
        made = run(rule, 100.0, ticks_s(d), seconds=2.0 + judged / CONTROL_HZ, declared_s=ticks_s(d))
        delays = {e.delay_steps for e in made.events(ChunkTaken) if isinstance(e, ChunkTaken)}
        assert delays == {None, d}
        lawful = 0.0 if d <= 25 else 1 - 50 / (2 * d)
        starved = sum(kept.tick.level is SafetyLevel.STARVED for kept in made.ticks[-judged:])
        assert starved / judged == pytest.approx(lawful, abs=0.01 if lawful else 0.0), d
        assert made.share(SafetyLevel.HOLD, since_s=0.0) == 0.0


@pytest.mark.parametrize("strategy", [Strategy.RTC, Strategy.ASYNC])
def test_short_chunks_do_not_starve(strategy: Strategy) -> None:
    """A policy of horizon 8 at 50 Hz with 30 ms starves no tick by default, and is asked every four steps."""
    made = run(defaults(strategy, 50.0, 8), 50.0, 0.0275, seconds=12.0)
    assert made.share(SafetyLevel.STARVED, since_s=0.0) == 0.0
    asked = [kept.tick.request.start_step for kept in made.ticks if kept.tick.request]
    assert {b - a for a, b in pairwise(asked[2:])} == {4}


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize(("actions", "answer_s"), [(16, 0.65), (50, 2.5), (100, 2.5)])
@pytest.mark.parametrize("from_s", [0.0, 6.0])
def test_a_policy_slower_than_it_says_is_met(
    strategy: Strategy, actions: int, answer_s: float, from_s: float
) -> None:
    """From the start or in mid-run: its answers teach, the arm moves again soon, and goes on moving."""
    rule = defaults(strategy, 30.0, actions)
    made = run(rule, 30.0, lambda now_ns: answer_s if now_ns >= from_s * S else 0.05, from_s + 60.0)
    assert made.ticks[-1].tick.exit is None
    assert made.begins(from_s + 0.5 + 2 * answer_s, from_s + 20.0)
    assert made.moves(since_s=from_s + 25.0)
    assert made.share(SafetyLevel.HOLD, since_s=from_s + 25.0) == 0.0
    assert made.share(SafetyLevel.PARK, since_s=from_s + 25.0) == 0.0


def test_only_what_nobody_can_wait_for_is_missed_for_ever() -> None:
    """Above the ceiling the answer's time, the limit and the flag are said, in the level and at the end."""
    limit = SafetyConfig(max_action_age_ns=2 * S)
    made = run(defaults(Strategy.RTC, 30.0), 30.0, 2.5, 100.0, limit)
    assert not made.events(ChunkTaken)
    assert made.ticks[-1].tick.exit is ExitReason.LINK_LOST
    assert re.match(r"an answer takes [23]\.\d\d s, with which actions get", made.words)
    assert "none may be older than 2.00 s (--safety.max_action_age_s)" in made.words
    (said,) = [e for e in made.events(OutlookChanged) if isinstance(e, OutlookChanged)]
    assert (said.after, said.delay_steps) == (Standing.TOO_OLD, 76)


@pytest.mark.parametrize("growth", [1.2, 1.5, 1.85])
def test_answers_that_come_later_and_later_are_not_all_taken(growth: float) -> None:
    """However gently the delay grows, no action begins that is older than the ceiling, and the arm holds."""
    waits = [0.1]

    def slower(now_ns: int) -> float:
        waits.append(min(waits[-1] * growth, 60.0))
        return waits[-1]

    made = run(defaults(Strategy.RTC, 30.0), 30.0, slower, 120.0)
    ceiling_ns = made.ceiling_ns
    assert ceiling_ns == int(50 * S / 30) + 3 * S
    ages = [k.row.t_ns - k.row.captured_ns for k in made.ticks if k.row.captured_ns is not None]
    assert max(ages) <= ceiling_ns
    assert max(k.row.age_limit_ns for k in made.ticks) == ceiling_ns
    assert made.ticks[-1].tick.level is SafetyLevel.PARK
    slow = {e.reason for e in made.events(ChunkDropped) if isinstance(e, ChunkDropped)}
    assert slow <= {DropReason.TOO_OLD, DropReason.NOT_ASKED, DropReason.OLD_EPOCH}


def test_what_changes_in_mid_run_is_said_once() -> None:
    """A plan that begins to run dry, no longer does, and swings, is told of as often as it is news."""
    rule = defaults(Strategy.RTC, 100.0)

    def answer_s(now_ns: int) -> float:
        t = now_ns / S
        if t < 10 or 20 <= t < 60:
            return ticks_s(20)
        if t < 20:
            return ticks_s(39)
        return ticks_s(24 + int(t * 7) % 4)  # about the bound

    made = run(rule, 100.0, answer_s, 120.0)
    said = [e for e in made.events(OutlookChanged) if isinstance(e, OutlookChanged)]
    assert [(e.before, e.after) for e in said] == [
        (Standing.LASTS, Standing.RUNS_DRY),
        (Standing.RUNS_DRY, Standing.LASTS),
        (Standing.LASTS, Standing.RUNS_DRY),
    ]
    assert said[0].delay_steps == 39
    assert said[0].starved_share == pytest.approx(0.359, abs=0.001)


@pytest.mark.parametrize("action_hz", [10.0, 30.0])
def test_aligned_sync_is_where_the_time_is(action_hz: float) -> None:
    """At each merge the step goes on by the steps whose time has passed; the plain one waits where it is."""
    plain = defaults(Strategy.SYNC, action_hz, 20)
    for rule in (plain, replace(plain, aligned=True)):
        made = run(rule, action_hz, ticks_s(40), 30.0, declared_s=ticks_s(40))
        taken = [e for e in made.events(ChunkTaken) if isinstance(e, ChunkTaken)]
        skipped = {e.merged.skipped for e in taken[1:]}
        assert taken[0].merged.skipped == 0
        assert skipped == ({int(0.4 * action_hz)} if rule.aligned else {0})
        steps = [kept.row.step for kept in made.ticks if kept.row.step is not None]
        assert all(b > a for a, b in pairwise(steps))
        total = steps[-1] / (30.0 - 0.4)
        assert (total == pytest.approx(action_hz, rel=0.02)) is rule.aligned


def test_an_aligned_sync_that_would_jump_past_a_chunk_plays_it() -> None:
    """Where an answer outlasts a chunk nothing is jumped over, and that is said."""
    rule = replace(defaults(Strategy.SYNC, 30.0, 10), aligned=True)
    made = run(rule, 30.0, lambda now_ns: 0.1 if now_ns < 5 * S else 0.45, 25.0)
    taken = [e for e in made.events(ChunkTaken) if isinstance(e, ChunkTaken)]
    assert {e.merged.skipped for e in taken if e.round_trip_ns > 0.4 * S} == {0}
    assert {e.merged.kept for e in taken if e.round_trip_ns > 0.4 * S} == {10}
    (said,) = [e for e in made.events(OutlookChanged) if isinstance(e, OutlookChanged)]
    assert (said.after, said.starved_share) == (Standing.OUTLASTED, 0.0)
