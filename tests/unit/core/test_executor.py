"""What the executor asks, with which numbers, and what it says of it."""

from __future__ import annotations

import numpy as np
import pytest

from segue.core.facts import ChunkDropped, ChunkTaken, LevelChanged, RequestMissed
from segue.core.queue import Merged
from segue.core.schedule import DropReason, RequestRule
from segue.core.types import Strategy
from segue.core.watchdog import SafetyConfig, SafetyLevel

from .driver import MS, SECOND, START_NS, Driver, config_of, names, stepped


def at_second_request(forecast_s: float, safety: SafetyConfig | None = None, horizon: int = 11) -> Driver:
    """Returns a driver that has just asked again: the first request that is not after a handshake."""
    rule = RequestRule(horizon=horizon, threshold=0.65, min_execution_steps=1)
    config = config_of(rule=rule, safety=safety or SafetyConfig())
    d = Driver.with_plan(config, 11, forecast_s=forecast_s)
    while len(d.requests) < 2:
        d.tick()
    return d


@pytest.mark.parametrize(
    ("forecast_s", "horizon", "max_age_ms", "deadline_ms"),
    [
        (0.1, 11, None, 500),  # 200 ms would be shorter
        (0.35, 11, None, 800),
        (0.6, 11, None, 1200),
        (0.6, 11, 900, 900),  # the age limit is the ceiling
        (0.1, 11, 450, 450),
    ],
)
def test_the_deadline(forecast_s: float, horizon: int, max_age_ms: int | None, deadline_ms: int) -> None:
    """A request is given clamp(2 x forecast, 500 ms, age limit)."""
    safety = SafetyConfig(max_action_age_ns=max_age_ms * MS if max_age_ms else None)
    d = at_second_request(forecast_s, safety, horizon)
    assert d.requests[1].deadline_ns - d.requests[1].requested_ns == deadline_ms * MS


@pytest.mark.parametrize(("forecast_s", "deadline_ms"), [(0.35, 2000), (0.85, 2550), (2.05, 6150)])
def test_the_first_deadline_after_every_handshake(forecast_s: float, deadline_ms: int) -> None:
    """The first request of a session gets max(2 s, 3 x (declared inference + the handshake's round trip))."""
    rule = RequestRule(horizon=60, threshold=1.0, min_execution_steps=4)
    d = Driver.with_plan(config_of(rule=rule), 60, forecast_s)
    d.run(4)
    d.executor.link_closed(d.now_ns, "reset")
    d.tick()
    d.open(forecast_s)
    d.tick()
    spans = [r.deadline_ns - r.requested_ns for r in d.requests]
    assert len(spans) == 3
    assert spans[0] == spans[2] == deadline_ms * MS
    assert spans[1] < spans[0]


def test_the_first_chunk_after_a_handshake_says_nothing_about_the_next() -> None:
    """Neither the first nor the one after a reconnect enters the forecast, although both took long."""
    d = Driver(config_of(rule=RequestRule(horizon=50, threshold=1.0, min_execution_steps=1)))
    for _ in range(2):
        d.open(forecast_s=0.2)
        d.tick(15)
        d.reply("a", 50)
        d.tick()
        assert d.executor.forecast.steps == 2
        d.executor.link_closed(d.now_ns, "reset")
    assert [e.delay_steps for e in d.events(ChunkTaken)] == [None, None]
    assert [e.round_trip_ns for e in d.events(ChunkTaken)] == [1500 * MS] * 2


def test_slack_is_the_time_until_the_robot_runs_dry() -> None:
    """With seven actions left at 10 Hz the server has 700 ms, and with none it has nothing."""
    d = Driver.with_plan(config_of(), 11)
    d.run(4)
    assert [r.slack_ns for r in d.requests] == [0, 700 * MS]
    d.run(8)  # past the deadline of 800 ms the next is asked with what is left then
    d.run(12)
    assert (d.requests[-1].start_step, d.requests[-1].slack_ns) == (11, 0)


@pytest.mark.parametrize(
    ("horizon", "min_steps", "length"), [(1, 1, 1), (2, 2, 2), (100, 100, 100), (100, 1, 100), (3, 1, 100)]
)
@pytest.mark.parametrize("delay", [1, 3, 99])
def test_horizon_delay_and_steps_at_their_bounds(
    horizon: int, min_steps: int, length: int, delay: int
) -> None:
    """H of one action, s = H, chunks longer than H and delays beyond H: every step is executed in turn."""
    rule = RequestRule(horizon=horizon, threshold=1.0, min_execution_steps=min_steps)
    safety = SafetyConfig(min_deadline_ns=30 * SECOND, max_action_age_ns=None)
    d = Driver.with_plan(config_of(rule=rule, safety=safety), length, forecast_s=delay / 10)
    d.tick()
    for letter in "bcde":
        while d.executor.scheduler.outstanding is None:
            d.tick()
        asked = d.requests[-1]
        assert asked.delay_steps == (min(delay, len(asked.leftover)) if asked.leftover else 0)
        d.tick(delay - 1)
        d.reply(letter, length)
        d.tick()
    for row in d.rows:
        assert row.after - row.step == (row.begun is not None)
    assert d.executor.queue.counts.executed == d.executor.step > 0
    assert all(e.merged.skipped + e.merged.kept <= horizon for e in d.events(ChunkTaken))


def test_a_chunk_is_cut_to_the_actions_that_are_used() -> None:
    """Of 20 actions H = 11 are planned, in both units."""
    d = Driver.with_plan(config_of(), 20)
    d.run(0)
    assert d.planned() == names("a", 1, 10)
    assert d.executor.queue.leftover().model_actions.shape == (10, 2)
    assert d.events(ChunkTaken)[0].merged == Merged(skipped=0, kept=11, replaced=0)


def test_only_rtc_sends_its_leftover() -> None:
    """The other strategies do not guide, so their requests carry no leftover and no delay."""
    for strategy in (Strategy.ASYNC, Strategy.SYNC):
        rule = RequestRule(strategy, horizon=11, threshold=0.65, min_execution_steps=4)
        d = Driver.with_plan(config_of(rule=rule), 11)
        d.run(11)
        assert len(d.requests) == 2
        assert [(r.leftover, r.delay_steps) for r in d.requests] == [(None, 0)] * 2


def test_history_holds_the_observations_of_the_steps_before() -> None:
    """A policy that wants two earlier observations gets those of the two steps before, oldest first."""
    d = Driver.with_plan(config_of(control_hz=50.0, history_steps=2), 11)
    d.run(20)
    asked = d.requests[-1]
    assert [o.step for o in (*asked.history, asked.observation)] == [2, 3, 4]
    stamps = [o.captured_ns - START_NS for o in (*asked.history, asked.observation)]
    assert stamps == [200 * MS, 300 * MS, 400 * MS]
    d.executor.reset()
    d.run(25)
    last = d.requests[-1]
    assert last.history == (last.observation,) * 2


def test_an_answer_that_is_here_survives_the_closing_of_its_link() -> None:
    """A server that answers and closes has answered: the chunk is merged, and only the closing is a miss."""
    for close in ("link_closed", "link_process_gone"):
        d = Driver.with_plan(config_of(control_hz=100.0), 11)
        d.run(43)
        d.reply("b", 10)
        arguments = (d.now_ns, "drained") if close == "link_closed" else (d.now_ns,)
        getattr(d.executor, close)(*arguments)
        d.run(55)
        assert [e.chunk.request_number for e in d.events(ChunkTaken)] == [1, 2]
        assert d.events(ChunkDropped) == []


def test_a_taken_chunk_is_reported_with_what_was_forecast_and_what_was() -> None:
    """The fact names the chunk, the skip, the forecast, the delay and the round trip."""
    d = Driver.with_plan(config_of(), 11)
    d.run(6)
    chunk = d.reply("b", 10)
    d.run(7)
    assert d.last.events == (ChunkTaken(chunk, Merged(3, 7, 4), 4, 3, 300 * MS, 7),)


def test_failures_are_counted_once() -> None:
    """A failure of a request that was given up before is no second miss."""
    d = at_second_request(0.35)
    number = d.requests[-1].number
    d.executor.request_failed(d.now_ns, number, "reset")
    d.executor.request_failed(d.now_ns, number, "deadline exceeded")
    d.executor.request_failed(d.now_ns, number - 1, "late")
    d.tick()
    assert d.events(RequestMissed) == [RequestMissed(number, "reset")]
    assert (d.level, d.executor.troubles.link.misses) == (SafetyLevel.DEGRADED, 1)


def test_a_closed_link_is_asked_nothing() -> None:
    """Between a broken channel and the next handshake no request is made, and the outstanding one is void."""
    d = at_second_request(0.35)
    old = d.requests[-1]
    d.executor.link_closed(d.now_ns, "reset")
    d.tick(2)
    assert d.last.request is None
    d.open()
    d.tick()
    assert d.last.request.number == old.number + 1
    d.reply("c", 10, old)
    d.tick()
    assert d.rows[-1].dropped == [DropReason.NOT_ASKED]


def test_a_reply_in_time_ends_the_misses() -> None:
    """One miss, then a chunk: the robot runs again, and the next miss is the first."""
    d = at_second_request(0.35)
    for letter in "bcd":
        while d.executor.scheduler.outstanding is None:
            d.tick()
        d.executor.request_failed(d.now_ns, d.requests[-1].number, "cut")
        d.tick()
        assert d.level is SafetyLevel.DEGRADED
        d.reply(letter, 11)
        d.tick()
        assert d.level is SafetyLevel.RUN
    assert d.executor.troubles.link.lost_since_ns is None


def test_events_of_an_old_epoch_change_nothing() -> None:
    """A failure reported for a request of before a reset neither counts nor cancels the new one."""
    d = at_second_request(0.35)
    old = d.requests[-1]
    d.executor.reset()
    d.tick()
    d.executor.request_failed(d.now_ns, old.number, "late failure")
    d.reply("b", 11, d.requests[-1])
    d.tick()
    assert d.rows[-1].begun == "b0"
    assert d.events(RequestMissed) == []


def test_changes_of_level_are_reported_once_with_their_facts() -> None:
    """Each change is one event with cause, what is left, how old it is, and how long the trouble lasted."""
    d = at_second_request(0.35)
    for _ in range(2):
        d.executor.request_failed(d.now_ns, 0, "cut")
    d.run(30)
    changes = [e for e in d.events(LevelChanged) if isinstance(e, LevelChanged)]
    assert d.changes() == [("RUN", "DEGRADED", "request_failed"), ("DEGRADED", "HOLD", "link_lost")]
    assert [(e.left, e.detect_ns) for e in changes] == [(6, 0), (0, 600 * MS)]
    assert changes[0].action_age_ns == 600 * MS


def test_dropped_chunks_are_reported() -> None:
    """Every chunk that is not merged is an event with number, epoch and reason."""
    d = at_second_request(0.35)
    d.reply("b", 11, d.requests[0])
    d.tick()
    assert d.events(ChunkDropped) == [ChunkDropped(1, 1, DropReason.NOT_ASKED)]


def test_no_request_before_the_handshake() -> None:
    """Until the link is open the robot waits in its pose and asks nothing."""
    d = Driver(config_of(), pose=np.array([5.0, 0.0]))
    d.tick(5)
    assert d.requests == []
    assert d.table(0, 4, "cmd", "state", "waiting") == [(5.0, "RUN", True)] * 5


def test_an_action_older_than_the_limit_never_begins() -> None:
    """At the tick on which the next action is too old the arm holds instead of beginning it."""
    d = Driver.with_plan(config_of(safety=SafetyConfig(max_action_age_ns=600 * MS)), 11)
    d.run(9)
    limit = d.executor.age_limit_ns
    assert limit == 600 * MS
    ages = [
        START_NS + r.tick * 100 * MS - t.began.captured_ns
        for r, t in zip(d.rows, d.ticks, strict=True)
        if t.began
    ]
    assert max(ages) == limit
    assert d.table(5, 6, "begun", "state") == [("a5", "RUN"), (None, "HOLD")]
    assert d.changes()[0] == ("RUN", "HOLD", "action_too_old")


def test_a_good_chunk_of_another_length_each_time() -> None:
    """Chunks of one action to H follow each other without a step lost or repeated."""
    d = Driver.with_plan(config_of(rule=RequestRule(horizon=20, threshold=1.0, min_execution_steps=1)), 7)
    for k in range(40):
        d.tick()
        if d.executor.scheduler.outstanding and k % 3:
            start = d.requests[-1].start_step
            d.reply("b", 1, robot_actions=stepped(np.arange(start, start + 1 + k % 9)), model_actions=None)
    for row, tick in zip(d.rows, d.ticks, strict=True):
        if tick.began and row.step >= 7:
            assert tick.began.target[0] == row.step
    assert d.executor.step > 20
