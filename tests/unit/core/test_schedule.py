"""When to ask, and which answer is the awaited one."""

from __future__ import annotations

import pytest

from segue.core.facts import ChunkTaken
from segue.core.schedule import (
    DEFAULT_HORIZON,
    DropReason,
    Outstanding,
    RequestRule,
    RequestScheduler,
    RuleWishes,
)
from segue.core.types import Strategy

from .driver import MS, Driver, config_of, names

ASKED = Outstanding(
    number=1,
    epoch=3,
    start_step=5,
    captured_ns=100,
    requested_ns=100,
    deadline_ns=600,
    forecast_steps=2,
    after_handshake=False,
)


@pytest.mark.parametrize("strategy", [Strategy.ASYNC, Strategy.RTC])
@pytest.mark.parametrize(
    ("left", "begun", "forecast", "wants"),
    [
        (26, 10, 4, False),
        (25, 10, 4, True),  # g H = 25
        (25, 9, 4, False),  # s = 10
        (25, 40, 4, True),
        (31, 19, 30, True),  # forecast + 1
        (31, 0, 30, True),  # whatever s
        (32, 18, 30, False),
        (1, 0, 49, True),
        (1, 99, 50, False),  # forecast >= H: on an empty plan only
        (1, 99, 51, False),
        (0, 0, 1, True),
        (0, 0, 99, True),
    ],
)
def test_rule_at_its_bounds(strategy: Strategy, left: int, begun: int, forecast: int, wants: bool) -> None:
    """It asks with forecast + 1 left, or g H and s begun; where forecast >= H, with nothing left."""
    rule = RequestRule(strategy, horizon=50, threshold=0.5, min_execution_steps=10)
    assert rule.wants(left, begun, forecast) is wants


@pytest.mark.parametrize("percent", range(101))
def test_a_threshold_means_what_its_decimals_say(percent: int) -> None:
    """With H = 100 a threshold of n % asks at n left and not at n + 1, whatever floats make of n / 100."""
    rule = RequestRule(horizon=100, threshold=percent / 100, min_execution_steps=1)
    bound = max(percent, 2)
    assert rule.wants(bound, 1, 1)
    assert not rule.wants(bound + 1, 1, 1)


def test_sync_asks_only_when_nothing_is_left() -> None:
    """One planned action is enough to wait."""
    rule = RequestRule(Strategy.SYNC, horizon=50)
    assert [rule.wants(left, 50, 49) for left in (2, 1, 0)] == [False, False, True]


@pytest.mark.parametrize(("threshold", "min_steps"), [(0.5, 10), (1.0, 1), (0.0, 50)])
def test_sync_plays_whole_chunks_whatever_the_trigger(threshold: float, min_steps: int) -> None:
    """Threshold and least steps mean nothing to sync: every action of a chunk is executed before it asks."""
    rule = RequestRule(Strategy.SYNC, horizon=9, threshold=threshold, min_execution_steps=min_steps)
    d = Driver.with_plan(config_of(rule=rule), 9)
    d.tick(9)
    assert [r.begun for r in d.rows if r.begun] == names("a", 0, 8)
    assert [r.asked for r in d.rows if r.asked is not None] == [0]
    d.tick()
    assert d.rows[-1].asked == 9


@pytest.mark.parametrize(
    ("strategy", "horizon", "action_hz", "threshold", "steps"),
    [
        (Strategy.RTC, 50, 30.0, 1.0, 6),
        (Strategy.RTC, 50, 100.0, 1.0, 20),
        (Strategy.RTC, 8, 50.0, 1.0, 4),
        (Strategy.RTC, 50, 1.0, 1.0, 1),
        (Strategy.RTC, 1, 30.0, 1.0, 1),
        (Strategy.RTC, 3, 12.5, 1.0, 1),
        (Strategy.ASYNC, 50, 30.0, 0.5, 10),
        (Strategy.ASYNC, 8, 50.0, 0.5, 4),
        (Strategy.ASYNC, 1, 50.0, 0.5, 1),
        (None, 50, 30.0, 1.0, 6),
    ],
)
def test_what_is_not_wished_follows_from_strategy_horizon_and_rate(
    strategy: Strategy | None, horizon: int, action_hz: float, threshold: float, steps: int
) -> None:
    """For rtc g = 1 and about five requests a second; for async g = .5 and ten steps; never above H / 2."""
    rule = RuleWishes(strategy).settled(horizon, action_hz)
    assert (rule.horizon, rule.threshold, rule.min_execution_steps) == (horizon, threshold, steps)
    assert rule.strategy is (strategy or Strategy.RTC)


def test_what_is_wished_is_kept_as_far_as_the_policy_goes() -> None:
    """A wish stands; actions beyond the policy's horizon cannot be used, nor steps beyond a chunk be kept."""
    wishes = RuleWishes(Strategy.ASYNC, horizon=60, threshold=0.25, min_execution_steps=30, aligned=True)
    assert wishes.settled(80, 30.0) == RequestRule(Strategy.ASYNC, 60, 0.25, 30, aligned=True)
    assert wishes.settled(20, 30.0) == RequestRule(Strategy.ASYNC, 20, 0.25, 20, aligned=True)
    assert RuleWishes().settled(80, 30.0).horizon == DEFAULT_HORIZON == 50


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("length", [1, 2, 3])
def test_chunks_shorter_than_the_minimum_do_not_deadlock(strategy: Strategy, length: int) -> None:
    """Chunks of fewer actions than s, each slower than it lasts, are asked for again and again."""
    rule = RequestRule(strategy, horizon=50, min_execution_steps=10)
    d = Driver.with_plan(config_of(rule=rule), length, forecast_s=0.1)
    for _ in range(60):
        d.tick()
        waiting = d.executor.scheduler.outstanding
        assert waiting is not None or d.executor.queue or d.executor.motion.under_way
        if waiting is not None and d.now_ns - waiting.requested_ns >= (length + 1) * 100 * MS:
            d.reply("b", length)
    assert len(d.events(ChunkTaken)) >= 4
    assert d.executor.step >= 4 * length


def test_numbers_never_repeat() -> None:
    """Resets and misses do not bring a number back."""
    d = Driver(config_of())
    d.open()
    for k in range(12):
        d.tick(1 + k % 3)
        d.executor.reset() if k % 2 else d.executor.request_failed(d.now_ns, 0, "cut")
    numbers = [r.number for r in d.requests]
    assert numbers == list(range(1, len(numbers) + 1))
    assert not d.events(ChunkTaken)


def scheduler() -> RequestScheduler:
    waiting = RequestScheduler(RequestRule())
    waiting.issue(ASKED)
    return waiting


@pytest.mark.parametrize(
    ("number", "epoch", "reason"),
    [
        (2, 3, DropReason.NOT_ASKED),
        (0, 3, DropReason.NOT_ASKED),
        (1, 2, DropReason.OLD_EPOCH),
        (1, 4, DropReason.NOT_ASKED),
    ],
)
def test_other_answers_leave_the_awaited_one_awaited(number: int, epoch: int, reason: DropReason) -> None:
    """An answer to another request or of another epoch is named and changes nothing."""
    waiting = scheduler()
    assert waiting.match(number, epoch) is reason
    assert waiting.match(1, 3) is ASKED
    assert waiting.match(1, 3) is DropReason.NOT_ASKED


def test_expiry_is_at_the_deadline_and_not_before() -> None:
    """At 600 ns it is given up, at 599 it is not, and it is given up once."""
    waiting = scheduler()
    assert [waiting.expire(t) for t in (0, 599, 600, 601)] == [None, None, ASKED, None]
    assert waiting.issued == 1


def test_cancelling_names_the_request_it_means() -> None:
    """A failure of another request does not cancel the awaited one."""
    waiting = scheduler()
    assert waiting.cancel(2) is None
    assert waiting.cancel(1) is ASKED
    assert waiting.cancel() is None
