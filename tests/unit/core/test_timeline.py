"""TIMELINE.md, table by table: a real executor is driven tick by tick and compared cell by cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segue.core.facts import ChunkTaken, RequestMissed
from segue.core.schedule import DropReason, RequestRule
from segue.core.types import Strategy
from segue.core.watchdog import SafetyConfig

from .chaos import Chaos
from .driver import MS, SECOND, Driver, config_of, names, symbol, symbols, values_of


def test_table_a_the_seeds_case() -> None:
    """Asked at step 4 and answered before tick 7, b0 b1 b2 are never sent, although the forecast said 4."""
    d = Driver.with_plan(config_of(), 11, forecast_s=0.35)
    d.run(6)
    d.reply("b", 10)
    d.run(8)
    left, asked = names("a", 4, 10), d.requests[1]
    assert d.table(3, 8, "tick", "step", "asked", "leftover", "skip", "begun", "cmd", "after") == [
        (3, 3, None, [], None, "a3", "a3", 4),
        (4, 4, 4, left, None, "a4", "a4", 5),
        (5, 5, None, [], None, "a5", "a5", 6),
        (6, 6, None, [], None, "a6", "a6", 7),
        (7, 7, None, [], 3, "b3", "b3", 8),
        (8, 8, 8, names("b", 4, 9), None, "b4", "b4", 9),
    ]
    assert {r.state for r in d.rows} == {"RUN"}
    taken = d.events(ChunkTaken)[-1]
    assert isinstance(taken, ChunkTaken)
    assert (asked.delay_steps, taken.forecast_steps, taken.delay_steps) == (4, 4, 3)
    assert d.executor.forecast.steps == 3
    assert symbols(asked.leftover.model_actions * 10) == left
    assert asked.observation.step == 4
    assert not {"b0", "b1", "b2"} & {r.cmd for r in d.rows}


@pytest.mark.parametrize(("reply_s", "merged_at", "skip"), [(0.663, 70, 3), (0.763, 80, 4)])
def test_table_b_the_same_from_10_to_100_hz(reply_s: float, merged_at: int, skip: int) -> None:
    """A reply in mid-step is merged when the step is over, and no sample of a skipped action is sent."""
    d = Driver.with_plan(config_of(control_hz=100.0), 11, forecast_s=0.35)
    arrives = int(reply_s * 100)
    d.run(arrives)
    d.reply("b", 10)
    d.run(merged_at + 19)
    assert [r.tick for r in d.rows if r.asked is not None] == [-1, 40, 80]  # s = 4 since step 4
    assert d.requests[1].start_step == 4
    assert symbols(d.requests[1].leftover.robot_actions) == names("a", 4, 10)
    last, first = 100 + skip + 3, 200 + skip
    assert d.table(merged_at - 1, merged_at, "skip", "begun", "cmd")[0] == (None, None, symbol(last))
    assert d.table(merged_at, merged_at, "step", "skip", "begun", "after") == [
        (skip + 4, skip, symbol(first), skip + 5)
    ]
    line = [r.cmd for r in d.rows if merged_at <= r.tick < merged_at + 10]
    np.testing.assert_allclose(line[:-1], last + (first - last) * np.arange(1, 10) / 10)
    assert line[-1] == symbol(first)
    following = [t.action[0] for t in d.ticks[merged_at + 11 : merged_at + 21]]
    np.testing.assert_allclose(following, first + np.arange(1, 11) / 10)
    gripper = {symbol(t.action[1]) for t in d.ticks}
    assert not {f"b{k}" for k in range(skip)} & gripper
    assert gripper == {0.0, *names("a", 0, skip + 3), *names("b", skip, skip + 1)}
    assert d.executor.forecast.steps == skip


C_RULE = RequestRule(horizon=11, threshold=0.2, min_execution_steps=1)
PATIENT = SafetyConfig(min_deadline_ns=SECOND)


@pytest.mark.parametrize("steps_between", [0, 1, 11])
def test_table_c_dry_while_waiting(steps_between: int) -> None:
    """A robot that ran dry is starved, skips only what it executed, and remembers the real round trip."""
    rule = replace(C_RULE, min_execution_steps=steps_between)
    d = Driver.with_plan(config_of(rule=rule, safety=PATIENT), 11, forecast_s=0.1)
    d.run(14)
    d.reply("b", 9)  # 5.4 ticks after tick 9
    d.run(16)
    dry = [(t, 11, None, None, None, "a10", 11, "STARVED", False) for t in range(11, 15)]
    columns = ("tick", "step", "asked", "skip", "begun", "cmd", "after", "state", "waiting")
    assert d.table(9, 16, *columns) == [
        (9, 9, 9, None, "a9", "a9", 10, "RUN", False),
        (10, 10, None, None, "a10", "a10", 11, "RUN", False),
        *dry,
        (15, 11, 11, 2, "b2", "b2", 12, "RUN", False),  # b2 … b8 are 7 = forecast + 1, so whatever s
        (16, 12, None, None, "b3", "b3", 13, "RUN", False),
    ]
    assert symbols(d.requests[1].leftover.robot_actions) == ["a9", "a10"]
    assert symbols(d.requests[2].leftover.robot_actions) == names("b", 2, 8)
    assert d.executor.forecast.steps == 6


def test_table_c_at_100_hz_the_chunk_is_taken_on_the_very_next_tick() -> None:
    """A dry robot takes the chunk on the next tick, which need not be a multiple of ten."""
    d = Driver.with_plan(config_of(control_hz=100.0, rule=C_RULE, safety=PATIENT), 11, forecast_s=0.1)
    d.run(143)
    d.reply("b", 10)
    d.run(160)
    assert d.table(109, 110, "cmd", "state") == [("a10", "RUN"), ("a10", "STARVED")]
    assert d.table(143, 144, "skip", "begun", "state") == [(None, None, "STARVED"), (2, "b2", "RUN")]
    assert [r.tick for r in d.rows if r.begun in ("b2", "b3")] == [144, 154]
    assert d.table(153, 153, "cmd") == [("b2",)]
    assert d.executor.forecast.steps == 6


def test_table_d_first_chunk() -> None:
    """Before the first chunk the robot waits and is not starved, and of that chunk nothing is skipped."""
    d = Driver(config_of(rule=RequestRule(horizon=50)))
    d.open(forecast_s=1.0)
    d.run(19)
    d.reply("b", 50)
    d.run(20)
    assert d.table(0, 0, "asked", "leftover", "begun", "after") == [(0, [], None, 0)]
    assert d.requests[0].leftover is None
    assert d.requests[0].delay_steps == 0
    assert d.table(0, 19, "step", "begun", "cmd", "state", "waiting") == [(0, None, 0.0, "RUN", True)] * 20
    assert d.table(20, 20, "skip", "begun", "cmd", "waiting") == [(0, "b0", "b0", False)]
    assert len(d.requests) == 1


@pytest.mark.parametrize("control_hz", [10.0, 100.0])
def test_table_e_sync(control_hz: float) -> None:
    """Sync executes H actions, then asks without a leftover and waits where it is; nothing is skipped."""
    each = int(control_hz / 10)
    rule = RequestRule(Strategy.SYNC, horizon=4, threshold=1.0, min_execution_steps=1)  # which mean nothing
    d = Driver.with_plan(config_of(control_hz=control_hz, rule=rule), 9)
    d.run(4 * each + 2)
    d.reply("b", 9)
    d.run(4 * each + 3 + 5 * each)
    assert [r.begun for r in d.rows if r.begun] == names("a", 0, 3) + names("b", 0, 3)
    assert [(r.tick, r.asked, r.leftover) for r in d.rows if r.asked is not None] == [
        (-1, 0, []),
        (4 * each, 4, []),
        (8 * each + 3, 8, []),
    ]
    assert all(r.delay_steps == 0 and r.leftover is None for r in d.requests)
    pause = d.table(4 * each, 4 * each + 2, "step", "cmd", "after", "state", "waiting")
    assert pause == [(4, "a3", 4, "RUN", True)] * 3
    assert d.table(4 * each + 3, 4 * each + 3, "skip", "begun", "waiting") == [(0, "b0", False)]
    assert not any(r.waiting for r in d.rows if 0 <= r.tick < 4 * each)


def test_table_f_deadline() -> None:
    """A request is cancelled at its deadline and a fresh one asked, whatever s; the late reply is dropped."""
    d = Driver(
        config_of(rule=RequestRule(horizon=36, threshold=16 / 36, min_execution_steps=10)), first_tick=-6
    )
    d.open(forecast_s=0.3)
    for _ in range(5):  # use up numbers 1 to 5
        d.tick()
        d.executor.reset()
    d.tick()
    d.reply("a", 36)
    d.run(26)
    seven, eight = d.requests[-2:]
    assert (seven.number, seven.start_step, seven.deadline_ns - seven.requested_ns) == (7, 20, 600 * MS)
    assert d.table(20, 20, "asked", "leftover") == [(20, names("a", 20, 35))]
    assert [r.asked for r in d.rows if 20 < r.tick < 26] == [None] * 5
    assert d.table(26, 26, "step", "asked", "leftover", "begun", "state") == [
        (26, 26, names("a", 26, 35), "a26", "DEGRADED")
    ]
    assert (eight.number, eight.start_step, eight.observation.captured_ns) == (8, 26, eight.requested_ns)
    assert d.last.events[0] == RequestMissed(7, "deadline")
    d.reply("b", 36, seven)
    d.tick()
    d.reply("c", 36, eight)
    d.tick()
    assert d.table(27, 28, "dropped", "skip", "begun", "state") == [
        ([DropReason.NOT_ASKED], None, "a27", "DEGRADED"),
        ([], 2, "c2", "RUN"),
    ]


def test_table_g_aggregation() -> None:
    """Overlapping steps are blended, later ones are the chunk's own, and blended rows have no model units."""
    rule = RequestRule(Strategy.ASYNC, horizon=11, threshold=0.65, min_execution_steps=4)
    d = Driver.with_plan(config_of(rule=rule, aggregate="weighted_average"), 11)
    d.run(6)
    assert d.executor.queue.leftover().model_actions is not None
    d.reply("b", 10)
    d.run(7)
    a, b = values_of("a", 11)[:, 0], values_of("b", 10)[:, 0]
    blended = 0.3 * a[7:] + 0.7 * b[3:7]
    left = d.executor.queue.leftover()
    np.testing.assert_allclose(d.last.began.target[0], blended[0])
    np.testing.assert_allclose(left.robot_actions[:, 0], [*blended[1:], *b[7:]])
    assert [symbol(v) for v in left.robot_actions[:, 1]] == names("b", 4, 9)
    assert left.model_actions is None
    d.run(9)
    assert d.executor.queue.leftover().model_actions is None
    d.run(10)
    whole = d.executor.queue.leftover()
    assert symbols(whole.robot_actions) == symbols(whole.model_actions * 10) == ["b7", "b8", "b9"]


def test_table_h_shorter_new_chunk() -> None:
    """What the old plan has beyond the new chunk's end stays."""
    rule = RequestRule(horizon=21, threshold=17 / 21, min_execution_steps=4)
    d = Driver.with_plan(config_of(rule=rule), 21)
    d.run(6)
    d.reply("b", 6)
    d.run(7)
    assert d.requests[-1].start_step == 4
    assert [d.rows[-1].begun, *d.planned()] == names("b", 3, 5) + names("a", 10, 20)
    d.run(13)
    assert [r.begun for r in d.rows if r.tick >= 7] == names("b", 3, 5) + names("a", 10, 13)


def test_table_i_all_past() -> None:
    """A chunk whose last step has begun is dropped and counted, and the old plan stays."""
    d = Driver.with_plan(config_of(), 11)
    d.run(6)
    d.reply("b", 3)
    d.run(7)
    assert d.table(7, 7, "dropped", "skip", "begun", "after") == [([DropReason.ALL_PAST], None, "a7", 8)]
    assert d.planned() == names("a", 8, 10)
    assert d.executor.queue.counts.merged == 11


def test_table_j_from_30_to_100_hz() -> None:
    """Steps begin at ticks 0, 4, 7, 10, 14, 17, 20 and so on, whatever is merged between."""
    rule = RequestRule(horizon=20, threshold=0.5, min_execution_steps=5)
    d = Driver.with_plan(config_of(action_hz=30.0, control_hz=100.0, rule=rule), 20)
    for tick in range(100):
        d.run(tick)
        if d.executor.scheduler.outstanding and tick % 17 == 0:
            d.reply("b", 20)
    begun = [r.tick for r in d.rows if r.begun]
    assert begun[:11] == [0, 4, 7, 10, 14, 17, 20, 24, 27, 30, 34]
    assert begun == [-(-10 * k // 3) for k in range(len(begun))]
    assert len(d.events(ChunkTaken)) > 2


@pytest.mark.slow
def test_table_j_every_step_is_begun_exactly_once_over_an_hour() -> None:
    """In an hour of 30 -> 100 Hz every one of 108 000 steps begins once, on its own tick."""
    rule = RequestRule(horizon=90, threshold=0.5, min_execution_steps=5)
    d = Driver.with_plan(config_of(action_hz=30.0, control_hz=100.0, rule=rule), 90)
    begun = []
    for tick in range(360_000):
        done = d.bare_tick()
        if done.request is not None:
            d.reply("b", 90)
        if done.began is not None:
            begun.append((done.began.step, tick))
    assert begun == [(k, -(-10 * k // 3)) for k in range(108_000)]


def test_table_k_stall() -> None:
    """After a stall of 35 ms the command goes on where it was, and what is skipped is counted, not timed."""
    smooth, stalled = (Driver.with_plan(config_of(control_hz=100.0), 11) for _ in range(2))
    for d, dropped in ((smooth, 0), (stalled, 3)):
        d.run(44)
        d.stall(dropped)  # tick 45 was due 35 ms ago: 45, 46 and 47 are gone
        d.run(63 + dropped)
        d.reply("b", 10)
        d.run(90 + dropped)
    np.testing.assert_array_equal([t.action for t in stalled.ticks], [t.action for t in smooth.ticks])
    assert [r.tick for r in stalled.rows if r.skip == 3] == [73]
    assert stalled.table(44, 48, "tick", "cmd") == [(44, 103.5), (48, 103.6)]
    for column in ("step", "begun", "cmd", "after"):
        assert [getattr(r, column) for r in stalled.rows] == [getattr(r, column) for r in smooth.rows]
    assert (smooth.executor.forecast.steps, stalled.executor.forecast.steps) == (3, 4)


def test_table_l_reset_in_flight() -> None:
    """The reply to a request of before the reset is dropped, even when it comes before the awaited one."""
    d = Driver.with_plan(config_of(), 11)
    d.run(5)
    old = d.requests[-1]
    d.executor.reset()
    d.run(6)
    new = d.requests[-1]
    assert (old.epoch, new.epoch, new.number) == (1, 2, old.number + 1)
    assert (new.start_step, new.leftover) == (6, None)
    d.reply("b", 10, old)
    d.run(7)
    d.reply("c", 10, new)
    d.run(8)
    assert d.table(6, 8, "dropped", "skip", "begun", "cmd", "waiting") == [
        ([], None, None, "a5", True),
        ([DropReason.OLD_EPOCH], None, None, "a5", True),
        ([], 0, "c0", "c0", False),
    ]


@pytest.mark.parametrize("seeds", [range(1_000), pytest.param(range(1_000, 10_000), marks=pytest.mark.slow)])
def test_table_l_random_interleavings(seeds: range) -> None:
    """In 10 000 random lives steps only go forward, none is of an older epoch, and none gets lost."""
    levels: set[str] = set()
    for seed in seeds:
        life = Chaos(seed)
        life.live(events=25)
        levels |= life.seen
    assert levels >= {"RUN", "DEGRADED", "STARVED", "HOLD"}
