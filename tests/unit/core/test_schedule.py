"""When to ask, and which answer is the awaited one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.core.facts import ChunkTaken
from segue.core.schedule import DropReason, Outstanding, RequestRule, RequestScheduler
from segue.core.types import Strategy

from .driver import Driver, config_of, names

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
        (32, 18, 30, False),
        (1, 9, 30, False),
        (0, 0, 1, True),
    ],
)
def test_rule_at_its_bounds(strategy: Strategy, left: int, begun: int, forecast: int, wants: bool) -> None:
    """It asks exactly when s steps have begun and max(g H, forecast + 1) or fewer are left."""
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


@pytest.mark.parametrize(
    ("threshold", "min_steps", "kept"),
    [(0.5, 10, 25), (0.9, 1, 5), (0.7, 1, 15), (1.0, 10, 10), (1.0, 0, 1), (0.0, 10, 50), (0.57, 1, 22)],
)
def test_sync_stops_where_the_others_ask(threshold: float, min_steps: int, kept: int) -> None:
    """Sync executes as much of a chunk as the others begin before they ask, and at least one action."""
    rule = RequestRule(Strategy.SYNC, horizon=50, threshold=threshold, min_execution_steps=min_steps)
    assert rule.kept_of_chunk() == kept
    if min_steps and threshold:
        other = replace(rule, strategy=Strategy.RTC)
        assert next(begun for begun in range(51) if other.wants(50 - begun, begun, 0)) == kept
        assert other.kept_of_chunk() is None


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("length", [1, 2, 3])
def test_chunks_shorter_than_the_minimum_do_not_deadlock(strategy: Strategy, length: int) -> None:
    """A chunk of fewer actions than s runs dry, then the next is asked for all the same."""
    d = Driver.with_plan(config_of(rule=RequestRule(strategy, horizon=50, min_execution_steps=10)), length)
    for letter in "bcd":
        d.tick(length + 3)
        d.reply(letter, length)
    d.tick(length)
    executed = [r.begun for r in d.rows if r.begun]
    assert executed == [n for letter in "abcd" for n in names(letter, 0, length - 1)]


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
