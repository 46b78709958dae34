"""TIMELINE.md, rule by rule; the tables that follow from them are in test_timeline.py."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from segue.core.facts import ChunkTaken, RequestMissed
from segue.core.schedule import DropReason, RequestRule
from segue.core.specs import ActionSpec, Dimension, Kind
from segue.core.types import Strategy
from segue.core.watchdog import OnLinkLoss, SafetyConfig, SafetyLevel

from .driver import MS, SECOND, Driver, config_of, names, stepped, symbols

STOP_NOW = SafetyConfig(on_link_loss=OnLinkLoss.STOP_NOW)
KINDS = ActionSpec(
    (
        Dimension("joint", "deg"),
        Dimension("gripper", "", Kind.DISCRETE),
        Dimension("wheel", "m/s", Kind.VELOCITY),
        Dimension("torque", "Nm", Kind.EFFORT),
    )
)


def cut(d: Driver) -> None:
    """Fails two requests in a row, which loses the link."""
    for _ in range(2):
        d.executor.request_failed(d.now_ns, 0, "cut")


@pytest.mark.parametrize(
    ("action_hz", "control_hz", "begins"),
    [
        (10, 10, [0, 1, 2, 3, 4, 5]),
        (10, 100, [0, 10, 20, 30, 40, 50]),
        (30, 100, [0, 4, 7, 10, 14, 17, 20]),
        (30, 50, [0, 2, 4, 5, 7, 9, 10]),
        (29.97, 60, [0, 3, 5, 7, 9, 11]),
    ],
)
def test_rule_1_a_step_begins_at_the_first_tick_at_or_after_its_time(
    action_hz: float, control_hz: float, begins: list[int]
) -> None:
    """Step k begins at the first tick at or after k / action_hz, whatever the ratio of the rates."""
    d = Driver.with_plan(config_of(action_hz, control_hz), 20)
    d.run(begins[-1])
    assert [r.tick for r in d.rows if r.begun] == begins


def test_rule_1_time_is_counted_from_where_the_timeline_last_started() -> None:
    """After a hold the steps lie on a grid that starts at the resuming tick, and a dropped tick shifts it."""
    d = Driver.with_plan(config_of(30.0, 100.0, safety=STOP_NOW), 11)
    d.run(11)
    cut(d)
    d.run(24)
    d.reply("b", 11)
    d.run(30)
    d.stall(5)
    d.run(42)
    begun = [r.tick for r in d.rows if r.begun]
    assert begun == [0, 4, 7, 10, 25, 29, 25 + 7 + 5, 25 + 10 + 5]
    assert d.executor.step == 8


def test_rule_1_each_kind_of_dimension_moves_in_its_own_way_within_a_step() -> None:
    """Positions go in a straight line from the last command and arrive on the last tick, the others jump."""
    d = Driver.with_plan(config_of(control_hz=40.0, spec=KINDS), 11)
    d.run(7)
    moved = np.array([t.action for t in d.ticks[1:]])
    np.testing.assert_allclose(moved[:, 0], [25, 50, 75, 100, 100.25, 100.5, 100.75, 101])
    for other in (1, 2, 3):
        assert moved[:, other].tolist() == [100.0] * 4 + [101.0] * 4


def test_rule_2_a_request_is_one_snapshot_taken_before_the_step_begins() -> None:
    """Observation, step and leftover are of the asking tick, and the leftover includes what begins on it."""
    d = Driver.with_plan(config_of(), 11)
    d.run(4)
    asked = d.last.request
    assert d.last.began.step == asked.start_step == asked.observation.step == 4
    assert asked.observation.captured_ns == asked.requested_ns == d.now_ns - 100 * MS
    np.testing.assert_array_equal(asked.leftover.robot_actions[0], d.last.began.target)
    before = asked.leftover.robot_actions.copy()
    d.reply("b", 10)
    d.run(8)
    np.testing.assert_array_equal(asked.leftover.robot_actions, before)


def test_rule_2_a_chunk_is_merged_before_the_same_tick_asks() -> None:
    """On one tick the chunk comes first, then the question, so that its leftover is the new plan."""
    rule = RequestRule(horizon=11, threshold=1.0, min_execution_steps=0)
    d = Driver.with_plan(config_of(rule=rule), 11)
    d.run(0)
    d.reply("b", 11)
    d.run(1)
    assert d.table(1, 1, "skip", "asked", "leftover", "begun") == [(1, 1, names("b", 1, 10), "b1")]


@pytest.mark.parametrize("arrives", [41, 45, 49])
def test_rule_2_a_reply_in_mid_step_waits_until_the_action_is_finished(arrives: int) -> None:
    """Whenever in a step the reply comes, it is merged on the tick that begins the next one."""
    d = Driver.with_plan(config_of(control_hz=100.0), 11)
    d.run(arrives - 1)
    d.reply("b", 11)
    d.run(60)
    assert [r.tick for r in d.rows if r.skip is not None] == [0, 50]
    assert d.table(arrives, 49, "cmd")[-1] == ("a4",)
    assert d.table(50, 50, "skip", "begun") == [(1, "b1")]


def test_rule_2_a_deadline_in_mid_step_asks_again_only_when_the_action_is_finished() -> None:
    """In mid-step a request is given up at its deadline, and the next is asked with the next step."""
    d = Driver.with_plan(config_of(control_hz=100.0, safety=SafetyConfig(min_deadline_ns=255 * MS)), 11, 0.1)
    d.run(70)
    misses = [
        r.tick for r, t in zip(d.rows, d.ticks, strict=True) if RequestMissed(2, "deadline") in t.events
    ]
    assert misses == [40 + 26]
    assert [(r.tick, r.asked) for r in d.rows if r.asked is not None] == [(-1, 0), (40, 4), (70, 7)]
    assert d.requests[-1].observation.captured_ns == d.requests[-1].requested_ns == d.now_ns - 10 * MS


def test_rule_2_a_reply_that_waits_in_the_inbox_is_in_time() -> None:
    """A reply of before the deadline is taken with the next step, although the deadline passes meanwhile."""
    d = Driver.with_plan(config_of(control_hz=100.0, safety=SafetyConfig(min_deadline_ns=255 * MS)), 11, 0.1)
    d.run(64)
    d.reply("b", 11)  # the deadline is between ticks 65 and 66, the step ends at 70
    d.run(70)
    assert d.table(70, 70, "skip", "begun", "state") == [(3, "b3", "RUN")]
    assert d.events(RequestMissed) == []


def test_rule_2_while_nothing_is_under_way_every_tick_may_begin_a_step() -> None:
    """At the start, starved and held the next tick takes the chunk, wherever the grid of before was."""
    for wait in (1, 7, 12):
        d = Driver(config_of(control_hz=100.0))
        d.open()
        d.tick(wait)
        d.reply("a", 3)
        assert d.tick().began is not None
        d.tick(30 + wait)
        assert d.level is SafetyLevel.STARVED
        d.reply("b", 11)
        assert d.tick().began is not None


def test_rule_3_leftover_and_skip_are_indexed_by_step() -> None:
    """plan[t] = chunk[t - t0] from the next step on, and what lies beyond the chunk's end stays."""
    d = Driver.with_plan(config_of(), 11)
    d.run(5)
    d.reply("b", 4)
    d.run(6)
    asked = d.requests[-1]
    assert asked.start_step == 4
    assert len(asked.leftover) == 7
    assert [d.rows[-1].begun, *d.planned()] == ["b2", "b3", "a8", "a9", "a10"]
    merged = d.events(ChunkTaken)[-1].merged
    assert (merged.skipped, merged.kept, merged.replaced) == (2, 2, 2)


def test_rule_4_step_stands_still_whenever_no_action_begins() -> None:
    """At the start, starved and held the step does not move, and of the next chunk nothing is skipped."""
    only_when_empty = RequestRule(horizon=1)
    d = Driver(config_of(control_hz=50.0, safety=STOP_NOW, rule=only_when_empty))
    d.open()
    d.tick(9)
    d.reply("a", 3)
    d.tick(15 + 4)  # executed, then starved
    d.reply("b", 3)
    d.tick(7)
    cut(d)
    d.tick(9)
    d.reply("c", 3)
    d.tick(3)
    for row in d.rows:
        assert row.after - row.step == (row.begun is not None)
    assert [r.start_step for r in d.requests] == [0, 1, 2, 2]
    assert [e.merged.skipped for e in d.events(ChunkTaken)] == [0, 0, 0]
    assert {"RUN", "STARVED", "HOLD"} <= {r.state for r in d.rows}


def test_rule_5_at_most_one_request_is_outstanding() -> None:
    """While a request is under way no other is asked, although the plan runs dry."""
    d = Driver.with_plan(config_of(safety=SafetyConfig(min_deadline_ns=SECOND)), 11)
    d.run(13)
    assert [r.asked for r in d.rows if r.asked is not None] == [0, 4]
    assert d.level is SafetyLevel.STARVED


@pytest.mark.parametrize(
    "changes", [{"request_number": 1}, {"request_number": 3}, {"epoch": 0}, {"epoch": 2}]
)
def test_rule_5_only_the_answer_to_the_outstanding_request_is_taken(changes: dict[str, int]) -> None:
    """Another number or epoch is dropped and counted, and the awaited answer is still welcome."""
    d = Driver.with_plan(config_of(), 11)
    d.run(5)
    d.reply("b", 10, **changes)
    d.run(6)
    assert len(d.rows[-1].dropped) == 1
    assert d.rows[-1].begun == "a6"
    d.reply("c", 10)
    d.reply("c", 10)  # a duplicate
    d.run(7)
    assert d.table(7, 7, "skip", "begun", "dropped") == [(3, "c3", [DropReason.NOT_ASKED])]


@pytest.mark.parametrize("how", ["hold", "reset"])
def test_rule_5_a_hold_or_reset_begins_a_new_epoch(how: str) -> None:
    """The plan is cleared, what is under way is void, and the next request has no leftover."""
    d = Driver.with_plan(config_of(safety=STOP_NOW), 11)
    d.run(5)
    old = d.requests[-1]
    if how == "hold":
        cut(d)
    else:
        d.executor.reset()
    d.run(6)
    new = d.last.request
    assert (new.epoch, new.number, new.leftover, new.start_step) == (2, old.number + 1, None, 6)
    assert len(d.executor.queue) == 0
    d.reply("b", 10, old)
    d.run(7)
    assert d.rows[-1].dropped == [DropReason.OLD_EPOCH]
    d.reply("c", 10)
    d.run(8)
    assert d.rows[-1].begun == "c0"


@pytest.mark.parametrize(
    ("threshold", "min_steps", "forecast_s", "asks_at"),
    [
        (0.65, 4, 0.35, 4),  # 7 <= 7.15
        (0.65, 5, 0.35, 5),  # s holds it back
        (0.65, 11, 0.35, 6),  # but not beyond 5 <= forecast + 1
        (0.5, 1, 0.35, 6),  # 5 <= 5.5
        (0.0, 1, 0.35, 6),  # 5 <= forecast + 1
        (0.0, 1, 0.1, 9),  # 2 <= forecast + 1
        (0.0, 11, 0.1, 9),
        (1.0, 1, 0.1, 1),
        (1.0, 11, 1.0, 0),  # 11 <= forecast + 1: at once
        (1.0, 1, 1.1, 11),  # forecast >= H: with nothing left
    ],
)
def test_rule_6_when_to_ask(threshold: float, min_steps: int, forecast_s: float, asks_at: int) -> None:
    """It asks at forecast + 1 actions left, or at g H when s steps were begun since the last start_step."""
    rule = RequestRule(horizon=11, threshold=threshold, min_execution_steps=min_steps)
    d = Driver.with_plan(config_of(rule=rule), 11, forecast_s=forecast_s)
    d.run(11)
    assert [r.asked for r in d.rows if r.asked is not None][1] == asks_at


def asked_at(rule: RequestRule, action_hz: float, delay: int, steps: int) -> tuple[list[int], int]:
    """Returns the steps at which is asked when every answer takes `delay` ticks, and the ticks that starve.

    The first answers, of which the handshake knew nothing, are left out.
    """
    config = config_of(action_hz, action_hz, rule=rule)
    d = Driver.with_plan(config, rule.horizon, forecast_s=delay / action_hz)
    for _ in range(steps):
        d.tick()
        waiting = d.executor.scheduler.outstanding
        if waiting is not None and d.now_ns - waiting.requested_ns >= round(delay * SECOND / action_hz):
            d.reply("b", rule.horizon)
    starved = sum(r.state == "STARVED" for r in d.rows[steps // 3 :])
    return [r.start_step for r in d.requests][2:], starved


@pytest.mark.parametrize("strategy", [Strategy.RTC, Strategy.ASYNC])
@pytest.mark.parametrize(
    ("horizon", "min_steps", "delay", "action_hz", "apart"),
    [
        (50, 6, 9, 30.0, 9),  # 3.3 requests a second
        (8, 4, 2, 50.0, 4),
        (8, 1, 3, 50.0, 3),
        (50, 20, 9, 30.0, 20),
        (50, 50, 9, 30.0, 40),  # s yields with d + 1 left
        (8, 4, 4, 50.0, 4),  # the most that is possible: 2 d = H
    ],
)
def test_rule_6_by_hand(
    strategy: Strategy, horizon: int, min_steps: int, delay: int, action_hz: float, apart: int
) -> None:
    """With a steady delay requests are max(s, d) apart, counted from start to start, and none starves."""
    rule = RequestRule(strategy, horizon, 1.0, min_steps)
    asked, starved = asked_at(rule, action_hz, delay, 300)
    assert {b - a for a, b in pairwise(asked)} == {apart}
    assert starved == 0


def test_rule_6_a_request_that_failed_does_not_count() -> None:
    """After a failure s goes on counting from the last answered request, so the next is asked at once."""
    rule = RequestRule(horizon=30, threshold=1.0, min_execution_steps=10)
    d = Driver.with_plan(config_of(rule=rule), 30, forecast_s=0.1)
    d.run(10)
    assert d.last.request.start_step == 10
    d.run(12)
    d.executor.request_failed(d.now_ns, d.requests[-1].number, "refused")
    d.run(13)
    assert d.last.request.start_step == 13
    d.run(14)
    d.reply("b", 30)
    d.run(27)
    assert [r.asked for r in d.rows if r.asked is not None] == [0, 10, 13, 23]


def test_rule_6_what_outlasts_a_chunk_is_asked_for_with_nothing_left() -> None:
    """From forecast = H on every answer is used whole; one step less, and the plan is not waited out."""
    for delay, whole in ((11, True), (10, False)):
        rule = RequestRule(horizon=11, threshold=1.0, min_execution_steps=1)
        d = Driver.with_plan(config_of(rule=rule), 11, forecast_s=delay / 10)
        for _ in range(150):
            d.tick()
            waiting = d.executor.scheduler.outstanding
            if waiting is not None and d.now_ns - waiting.requested_ns >= delay * 100 * MS:
                d.reply("b", 11)
        skipped = {e.merged.skipped for e in d.events(ChunkTaken)}
        assert (skipped == {0}) is whole
        assert not [reason for row in d.rows for reason in row.dropped]


@pytest.mark.parametrize(("control_hz", "waits", "skips"), [(10.0, 3, 3), (100.0, 26, 3), (100.0, 30, 3)])
def test_rule_6_aligned_sync_jumps_to_where_the_time_is(control_hz: float, waits: int, skips: int) -> None:
    """At the merge the step goes on by the steps that would have begun since the request: skipped ones."""
    each = int(control_hz / 10)
    rule = RequestRule(Strategy.SYNC, horizon=6, aligned=True)
    d = Driver.with_plan(config_of(control_hz=control_hz, rule=rule), 6)
    d.run(6 * each + waits - 1)
    assert d.requests[-1].start_step == d.executor.step == 6
    d.reply("b", 6)
    d.run(12 * each + waits)
    assert [r.begun for r in d.rows if r.begun][-3:] == names("b", skips, 5)
    assert d.requests[-1].start_step == d.executor.step == 12
    counts = d.executor.queue.counts
    assert (counts.merged, counts.executed, counts.skipped) == (12, 6 + 6 - skips, skips)
    begun = [r.step for r in d.rows if r.begun]
    assert all(b > a for a, b in pairwise(begun))


def test_rule_6_nothing_is_jumped_over_from_rest() -> None:
    """The first chunk of a start, of an epoch and after a hold is played from its first action on."""
    rule = RequestRule(Strategy.SYNC, horizon=6, aligned=True)
    d = Driver(config_of(rule=rule, safety=STOP_NOW))
    d.open(forecast_s=0.1)
    d.tick(4)
    d.reply("a", 6)
    d.tick(3)
    d.executor.reset()
    d.tick(3)
    d.reply("b", 6)
    d.tick(3)
    cut(d)
    d.tick(5)
    d.reply("c", 6)
    d.tick(2)
    assert [e.merged.skipped for e in d.events(ChunkTaken)] == [0, 0, 0]
    assert d.rows[-1].begun == "c1"


@pytest.mark.parametrize(("waits", "begun"), [(5, "b5"), (6, "b0"), (9, "b0")])
def test_rule_6_no_jump_executes_nothing(waits: int, begun: str) -> None:
    """A chunk of six that took five steps is begun at its last action, one that took six at its first."""
    rule = RequestRule(Strategy.SYNC, horizon=6, aligned=True)
    d = Driver.with_plan(config_of(rule=rule, safety=SafetyConfig(min_deadline_ns=SECOND)), 6)
    d.run(6 + waits - 1)
    d.reply("b", 6)
    d.tick()
    assert d.rows[-1].begun == begun


def test_rule_7_forecast_and_guidance_delay() -> None:
    """Before the first sample the handshake counts, then the longest of ten, and cold chunks never do."""
    rule = RequestRule(horizon=20, threshold=1.0, min_execution_steps=1)
    d = Driver.with_plan(config_of(rule=rule), 20, forecast_s=0.35)
    d.run(0)
    assert (d.executor.forecast.steps, d.last.request) == (4, None)
    d.run(1)
    assert d.last.request.delay_steps == 4
    d.tick(4)
    d.reply("b", 20, cold=True)
    d.tick()
    assert d.executor.forecast.steps == 4
    forecasts = []
    for round_trip in [3, *[2] * 10]:
        while d.executor.scheduler.outstanding is None:
            d.tick()
        d.tick(round_trip - 1)
        d.reply("c", 20)
        d.tick()
        forecasts.append(d.executor.forecast.steps)
    assert forecasts == [3] * 10 + [2]
    assert [asked.delay_steps for asked in d.requests[-2:]] == [3, 2]


@pytest.mark.parametrize(
    ("step", "forecast_s", "left", "d_steps"),
    [
        (8, 0.35, 3, 3),  # forecast 4
        (8, 0.3, 3, 3),
        (8, 0.2, 3, 2),
        (9, 0.01, 2, 1),  # forecast 1
        (10, 0.35, 1, 1),
        (11, 0.35, 0, 0),
    ],
)
def test_rule_7_guidance_is_never_longer_than_the_leftover(
    step: int, forecast_s: float, left: int, d_steps: int
) -> None:
    """D = min(max(1, forecast), len(leftover)), and without leftover there is no guidance."""
    rule = RequestRule(horizon=11, threshold=0.0)
    d = Driver.with_plan(config_of(rule=rule), 11, forecast_s=forecast_s)
    d.run(0)
    d.executor.link_closed(d.now_ns, "reset")  # until the wanted step there is nobody to ask
    d.run(step - 1)
    d.open(forecast_s=forecast_s)
    d.run(step)
    asked = d.requests[1]
    assert (len(asked.leftover) if asked.leftover else 0, asked.delay_steps) == (left, d_steps)
    assert (asked.leftover is None) == (left == 0)


def test_rule_8_a_tick_advances_the_timeline_by_at_most_one_tick() -> None:
    """After a stall of any length the next step begins in its turn: what was missed is not made up."""
    d = Driver.with_plan(config_of(control_hz=100.0), 40)
    d.run(23)
    for stall in (1, 9, 45):
        d.stall(stall)
        d.tick(10)
    assert [r.step for r in d.rows if r.begun] == [0, 1, 2, 3, 4, 5]
    assert [r.begun for r in d.rows if r.begun] == names("a", 0, 5)


LIMITED = ActionSpec(
    (Dimension("joint", "deg", low=0.0, high=105.0), Dimension("gripper", "", Kind.DISCRETE))
)


def test_rule_9_position_limits_act_on_the_plan_and_make_the_model_units_absent() -> None:
    """The leftover holds what will be executed, and no model units while a clipped action is left."""
    d = Driver.with_plan(config_of(spec=LIMITED), 11)
    d.run(4)
    left = d.last.request.leftover
    assert left.robot_actions[:, 0].tolist() == [104.0] + [105.0] * 6
    assert left.model_actions is None
    d.reply("b", 10, robot_actions=stepped([90.0] * 10), model_actions=stepped([9.0] * 10))
    d.run(8)
    assert d.last.request.leftover.model_actions.shape == (6, 2)


def test_rule_9_the_speed_limit_acts_on_the_command_and_is_reported() -> None:
    """A command held back by the speed limit is counted, and the plan is left as it was."""
    spec = ActionSpec((Dimension("joint", "deg", max_speed=50.0), Dimension("gripper", "", Kind.DISCRETE)))
    d = Driver.with_plan(config_of(spec=spec), 11)
    d.run(4)
    assert [t.action[0] for t in d.ticks[1:]] == pytest.approx([5, 10, 15, 20, 25])
    assert d.executor.motion.limited_ticks == 5
    assert symbols(d.last.request.leftover.model_actions * 10) == names("a", 4, 10)


def test_rule_10_holding_keeps_what_the_driver_applied_and_stops_velocities() -> None:
    """Positions ramp to the last applied target, velocity and effort go to zero, discrete dimensions keep."""
    d = Driver.with_plan(config_of(control_hz=100.0, spec=KINDS, safety=STOP_NOW), 11)
    d.run(35)
    np.testing.assert_allclose(d.last.action, [102.6, 103.0, 103.0, 103.0])
    d.executor.applied(np.array([92.6, 103.0, 103.0, 103.0]))  # the driver went only so far
    cut(d)
    d.run(60)
    held = np.array([t.action for t in d.ticks[-25:]])
    np.testing.assert_allclose(held[:20, 0], np.linspace(102.6, 92.6, 21)[1:])
    np.testing.assert_allclose(held[20:, 0], 92.6)
    assert (held[:, 1] == 103.0).all()
    assert (held[:, 2:] == 0.0).all()


@pytest.mark.parametrize("aggregate", ["weighted_average", "average", "conservative", "temporal_ensemble"])
def test_rule_10_aggregation_forgets_what_was_planned_before_a_hold(aggregate: str) -> None:
    """The first chunk after a hold stands unblended."""
    rule = RequestRule(Strategy.ASYNC, horizon=11, threshold=0.65, min_execution_steps=4)
    d = Driver.with_plan(config_of(rule=rule, aggregate=aggregate, safety=STOP_NOW), 11)
    d.run(5)
    cut(d)
    d.run(6)
    d.reply("b", 10)
    d.run(7)
    assert d.rows[-1].begun == "b0"
    assert d.planned() == names("b", 1, 9)


def test_rule_10_time_held_counts_as_age() -> None:
    """A chunk whose observation passed the age limit while the arm was held is dropped, not executed."""
    rule = RequestRule(horizon=5, threshold=0.65, min_execution_steps=1)
    d = Driver.with_plan(config_of(rule=rule, safety=STOP_NOW), 5, forecast_s=0.1)
    assert d.executor.age_limit_ns == 700 * MS
    d.run(3)
    d.executor.link_closed(d.now_ns, "cut")
    d.executor.request_failed(d.now_ns, 0, "dial failed")
    d.tick()
    d.open(forecast_s=0.1)
    d.tick()
    asked = d.last.request
    d.tick(7)
    assert d.level is SafetyLevel.HOLD
    d.reply("b", 10, asked)
    d.tick()
    assert (d.rows[-1].dropped, d.rows[-1].begun) == ([DropReason.TOO_OLD], None)
    d.reply("c", 10, d.last.request)
    d.tick()
    assert d.rows[-1].begun == "c0"
