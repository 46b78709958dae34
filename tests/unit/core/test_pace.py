"""How old actions may get, how long answers are waited for, what late ones teach."""

from __future__ import annotations

import pytest

from segue.core.facts import ChunkDropped, ChunkTaken, LevelChanged, SessionOpened
from segue.core.outlook import OutlookChanged, Standing
from segue.core.schedule import DropReason, RequestRule
from segue.core.types import Strategy
from segue.core.watchdog import OnLinkLoss, SafetyConfig, SafetyLevel

from .driver import MS, POLICY, SECOND, Driver, config_of

RULE = RequestRule(horizon=10, threshold=1.0, min_execution_steps=1)
CEILING_MS = 1000 + 3000


def opened(safety: SafetyConfig | None = None, rule: RequestRule = RULE, warm_s: float = 0.1) -> Driver:
    """Returns a driver at 10 Hz whose session has just been opened."""
    d = Driver(config_of(rule=rule, safety=safety or SafetyConfig()))
    reopen(d, warm_s)
    return d


def reopen(d: Driver, warm_s: float = 0.1, round_trip_s: float = 0.0) -> None:
    known = SessionOpened(int(round_trip_s * SECOND), int(warm_s * SECOND), POLICY)
    d.executor.link_opened(known)


def answer(d: Driver, ticks: int, **changes: object) -> bool:
    """Answers the first request that waits so many ticks; returns whether the run still asks."""
    while True:
        waiting = d.executor.scheduler.outstanding
        if waiting is not None and d.now_ns - waiting.requested_ns >= ticks * 100 * MS:
            d.reply("b", 10, d.requests[-1], **changes)
            d.tick()
            return True
        if d.tick().exit is not None:
            return False


def wait_ms(d: Driver) -> int:
    """Returns how long the last request is waited for."""
    return (d.requests[-1].deadline_ns - d.requests[-1].requested_ns) // MS


@pytest.mark.parametrize(
    ("flag_ms", "warm_s", "ceiling_ms"),
    [(None, 0.1, 4000), (None, 2.0, 7000), (None, 20.0, 11_000), (600, 0.1, 600), (30_000, 0.1, 30_000)],
)
def test_the_ceiling_is_pinned_when_the_run_begins(
    flag_ms: int | None, warm_s: float, ceiling_ms: int
) -> None:
    """The first open or the flag says it; no later handshake moves it, whatever it declares."""
    safety = SafetyConfig(max_action_age_ns=flag_ms * MS if flag_ms else None)
    d = opened(safety, warm_s=warm_s)
    assert d.executor.pace.ceiling_ns == ceiling_ms * MS
    for declared_s in (20.0, 0.0):
        d.executor.link_closed(d.now_ns, "reset")
        reopen(d, declared_s, round_trip_s=5.0)
        assert d.executor.pace.ceiling_ns == ceiling_ms * MS
        assert d.executor.age_limit_ns <= ceiling_ms * MS


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("growth", [1.1, 1.85, 3.0])
def test_answers_that_come_later_and_later_are_not_all_taken(growth: float, cold: bool) -> None:
    """No answer raises what an action may be old above the ceiling, and a cold one raises nothing at all."""
    d = opened(SafetyConfig(min_deadline_ns=60 * SECOND))
    wait = 2.0
    before = d.executor.age_limit_ns
    while wait < 200 and answer(d, int(wait), cold=cold):
        wait *= growth
        assert d.executor.age_limit_ns <= (before if cold else CEILING_MS * MS)
    oldest = max(e.round_trip_ns for e in d.events(ChunkTaken))
    assert oldest <= CEILING_MS * MS
    ages = [d.now_ns - t.began.captured_ns for t in [d.last] if t.began]
    assert all(age <= CEILING_MS * MS for age in ages)


def test_a_declared_inference_raises_no_deadline_above_the_ceiling() -> None:
    """A server that comes back and says 20 s is waited for as long as its answer could be used."""
    d = opened(warm_s=0.1)
    answer(d, 2)
    d.executor.link_closed(d.now_ns, "reset")
    d.tick()
    reopen(d, 20.0)
    d.tick(20)
    assert wait_ms(d) == CEILING_MS
    answer(d, 3, cold=True)
    assert d.executor.age_limit_ns <= CEILING_MS * MS


@pytest.mark.parametrize(
    ("warm_s", "round_trip_s", "first_ms"),
    [(0.1, 0.0, 2000), (0.1, 0.5, 2000), (0.1, 0.8, 2700), (0.0, 2.0, 4000), (1.0, 0.2, 3600)],
)
def test_the_first_answer_has_time_for_the_way(warm_s: float, round_trip_s: float, first_ms: int) -> None:
    """It is max(2 s, 3 x (inference + round trip of the handshake)), below the ceiling."""
    d = Driver(config_of(rule=RULE))
    reopen(d, warm_s, round_trip_s)
    d.tick()
    assert wait_ms(d) == first_ms


def test_an_answer_that_is_too_old_teaches_how_long_answers_take() -> None:
    """Refused for its age alone it raises forecast, limit and deadline, so that the next one is used."""
    d = opened()
    answer(d, 1)
    assert d.executor.age_limit_ns == 1200 * MS
    d.executor.pause()  # an arm at rest asks anew
    d.tick(5)
    d.executor.go()
    d.executor.troubles.link.overdue = 4
    answer(d, 15)
    (dropped,) = d.events(ChunkDropped)
    assert (dropped.reason, dropped.round_trip_ns, dropped.delay_steps) == (DropReason.TOO_OLD, 1500 * MS, 15)
    assert (d.executor.forecast.steps, d.executor.age_limit_ns) == (15, CEILING_MS * MS)
    assert d.executor.troubles.link.overdue == 0
    answer(d, 15)
    assert d.level is SafetyLevel.RUN
    assert wait_ms(d) == 3000


def test_the_first_answer_is_believed_until_the_next() -> None:
    """After a handshake one that is too old may be a cold start: what it says holds for one answer."""
    d = opened()
    answer(d, 15)
    (dropped,) = d.events(ChunkDropped)
    assert (dropped.reason, dropped.delay_steps) == (DropReason.TOO_OLD, None)
    assert d.executor.forecast.steps == 15
    answer(d, 2)
    assert d.executor.forecast.steps == 2


def test_one_that_says_it_was_cold_teaches_nothing() -> None:
    """A server that says so is believed, and the next answer counts."""
    d = opened()
    answer(d, 15, cold=True)
    assert d.executor.forecast.steps == 1
    d.executor.troubles.link.overdue = 4
    answer(d, 15)
    assert d.executor.forecast.steps == 15


@pytest.mark.parametrize("spoilt", [{"policy_hash": "another"}, {"start_step": 7}])
def test_what_is_wrong_otherwise_teaches_nothing(spoilt: dict[str, object]) -> None:
    """An old answer of another policy, or for another step, is dropped for that."""
    d = opened()
    answer(d, 15, **spoilt)
    assert d.executor.forecast.steps == 1
    assert [reason for row in d.rows for reason in row.dropped] != [DropReason.TOO_OLD]


def test_what_is_given_up_for_its_age_counts_towards_patience() -> None:
    """A dry arm that holds since its answer is too old to come has waited for it, deadline or not."""
    d = opened()
    d.tick(14)
    assert d.changes() == [("RUN", "HOLD", "action_too_old")]
    assert d.executor.troubles.link.overdue == 1


@pytest.mark.parametrize("strategy", list(Strategy))
def test_above_the_ceiling_the_run_says_why(strategy: Strategy) -> None:
    """Nothing of such answers is used; how long they take, the limit and the flag are said, once."""
    rule = RequestRule(strategy, horizon=10, threshold=1.0, min_execution_steps=1)
    limit = SafetyConfig(max_action_age_ns=1500 * MS, on_link_loss=OnLinkLoss.STOP_NOW)
    d = opened(limit, rule)
    for _ in range(4):
        d.executor.troubles.link.overdue = 6  # it is listened for
        answer(d, 22)
    assert not d.events(ChunkTaken)
    words = (
        "an answer takes 2.20 s, with which actions get 3.20 s old, and none may be older than 1.50 s "
        "(--safety.max_action_age_s)"
    )
    assert d.executor.words() == d.executor.pace.too_old() == words
    (said,) = d.events(OutlookChanged)
    assert (said.after, said.delay_steps) == (Standing.TOO_OLD, 22)
    answer(d, 3)  # it has become faster
    assert d.executor.words() == ""
    assert d.level is SafetyLevel.RUN


def test_actions_that_get_too_old_although_answers_come_are_explained() -> None:
    """Where a chunk is taken but cannot be played to its end below the ceiling, the hold says so."""
    limit = SafetyConfig(max_action_age_ns=1500 * MS, min_deadline_ns=1500 * MS)
    d = opened(limit, RequestRule(Strategy.SYNC, horizon=10))
    answer(d, 1)
    answer(d, 12)
    d.tick(8)
    assert d.changes() == [("RUN", "HOLD", "action_too_old")]
    (change,) = (e for e in d.events(LevelChanged) if isinstance(e, LevelChanged))
    assert change.detail.startswith("an answer takes 1.20 s, with which actions get 2.20 s old")
