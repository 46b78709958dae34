"""From facts to a safety level: every demand, every move, and the numbers of the client states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.core.watchdog import (
    BAD_CHUNKS_LIMIT,
    MISSES_UNTIL_LOST,
    MOVES,
    Cause,
    Facts,
    LevelChange,
    LinkTroubles,
    OnLinkLoss,
    Resume,
    SafetyConfig,
    SafetyLevel,
    Troubles,
    Watchdog,
    demand,
)

from .driver import MS, SECOND

RUN, DEGRADED, STARVED = SafetyLevel.RUN, SafetyLevel.DEGRADED, SafetyLevel.STARVED
HOLD, FAULT, PARK = SafetyLevel.HOLD, SafetyLevel.FAULT, SafetyLevel.PARK
NOW = 100 * SECOND
CONFIG = SafetyConfig()

FINE = Facts(
    left=5,
    under_way=False,
    waiting=False,
    fresh_chunk=True,
    next_age_ns=100,
    asked_age_ns=None,
    age_limit_ns=1000,
)
DRY = replace(FINE, left=0, next_age_ns=None)
WAITING = replace(DRY, waiting=True, fresh_chunk=False)
LAST_STEP = replace(DRY, under_way=True)
LOST_NOW = {"misses": 2, "lost_since_ns": NOW}
LOST_LONG_AGO = {"misses": 2, "lost_since_ns": NOW - SECOND}


def test_levels_are_ordered_by_severity() -> None:
    """RUN < DEGRADED < STARVED < HOLD < FAULT < PARK, so that max() wins."""
    assert sorted(SafetyLevel) == [RUN, DEGRADED, STARVED, HOLD, FAULT, PARK]


def test_the_table_of_moves() -> None:
    """The whole table: HOLD is never starved again, PARK comes from HOLD alone, FAULT goes nowhere."""
    assert {
        RUN: {RUN, DEGRADED, STARVED, HOLD, FAULT},
        DEGRADED: {RUN, DEGRADED, STARVED, HOLD, FAULT},
        STARVED: {RUN, DEGRADED, STARVED, HOLD, FAULT},
        HOLD: {RUN, DEGRADED, PARK, FAULT},
        FAULT: set(),
        PARK: {RUN, DEGRADED, FAULT},
    } == MOVES
    assert [level for level, to in MOVES.items() if PARK in to] == [HOLD]


def _troubles(**fields: object) -> Troubles:
    """Returns troubles; those of the link by their own names."""
    names = ("misses", "overdue", "lost_since_ns")
    link = {name: fields.pop(name) for name in names if name in fields}
    return Troubles(link=LinkTroubles(**link), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "troubles", "level", "cause"),
    [
        (FINE, {}, RUN, Cause.FINE),
        (WAITING, {}, RUN, Cause.FINE),
        (LAST_STEP, {}, RUN, Cause.FINE),
        (FINE, {"misses": 1}, DEGRADED, Cause.REQUEST_FAILED),
        (FINE, {"camera": "front"}, DEGRADED, Cause.CAMERA),
        (LAST_STEP, {"camera": "front"}, DEGRADED, Cause.CAMERA),
        (DRY, {"camera": "front"}, HOLD, Cause.CAMERA),
        (WAITING, {"camera": "front"}, HOLD, Cause.CAMERA),
        (DRY, {}, STARVED, Cause.EMPTY_PLAN),
        (DRY, {"misses": 1}, STARVED, Cause.EMPTY_PLAN),
        (replace(FINE, next_age_ns=1000), {}, RUN, Cause.FINE),
        (replace(FINE, next_age_ns=1001), {}, HOLD, Cause.TOO_OLD),
        (replace(FINE, asked_age_ns=1001), {}, RUN, Cause.FINE),
        (replace(DRY, asked_age_ns=1000), {}, STARVED, Cause.EMPTY_PLAN),
        (replace(DRY, asked_age_ns=1001), {}, HOLD, Cause.TOO_OLD),
        (replace(WAITING, asked_age_ns=1001), {}, HOLD, Cause.TOO_OLD),
        (replace(LAST_STEP, asked_age_ns=1001), {}, RUN, Cause.FINE),
        (FINE, LOST_NOW, DEGRADED, Cause.REQUEST_FAILED),
        (FINE, LOST_LONG_AGO, HOLD, Cause.LINK_LOST),
        (LAST_STEP, LOST_NOW, DEGRADED, Cause.REQUEST_FAILED),
        (DRY, LOST_NOW, HOLD, Cause.LINK_LOST),
        (WAITING, LOST_NOW, HOLD, Cause.LINK_LOST),
        (FINE, {"other_policy": "x"}, HOLD, Cause.OTHER_POLICY),
        (FINE, {"stop": Cause.STOP_ASKED}, HOLD, Cause.STOP_ASKED),
        (FINE, {"paused": True}, HOLD, Cause.PAUSED),
        (WAITING, {"paused": True}, HOLD, Cause.PAUSED),
        (FINE, {"paused": True, "stop": Cause.DONE}, HOLD, Cause.DONE),
        (FINE, {"paused": True, "latched": (Cause.ROBOT, "servo 3")}, FAULT, Cause.ROBOT),
        (FINE, {"bad_chunks": BAD_CHUNKS_LIMIT - 1}, RUN, Cause.FINE),
        (FINE, {"bad_chunks": BAD_CHUNKS_LIMIT}, FAULT, Cause.BAD_CHUNKS),
        (FINE, {"latched": (Cause.ROBOT, "servo 3")}, FAULT, Cause.ROBOT),
        (FINE, {"latched": (Cause.DANGER, "elbow_flex is overloaded")}, FAULT, Cause.DANGER),
        (
            FINE,
            {"latched": (Cause.DANGER, "too hot"), "bad_chunks": BAD_CHUNKS_LIMIT - 1},
            FAULT,
            Cause.DANGER,
        ),
        (
            DRY,
            {"latched": (Cause.ROBOT, "servo 3"), "stop": Cause.STOP_ASKED, "camera": "x", **LOST_NOW},
            FAULT,
            Cause.ROBOT,
        ),
    ],
)
def test_what_the_facts_demand(
    facts: Facts, troubles: dict[str, object], level: SafetyLevel, cause: Cause
) -> None:
    """Each trouble asks for its level, and the most severe wins."""
    assert demand(facts, _troubles(**troubles), CONFIG, NOW) == (level, cause)


def test_play_out_lasts_one_second_and_stop_now_none() -> None:
    """After the loss the plan is played for 1 s at most, or not at all."""
    lost = _troubles(misses=2, lost_since_ns=NOW)
    stop_now = SafetyConfig(on_link_loss=OnLinkLoss.STOP_NOW)
    assert demand(FINE, lost, CONFIG, NOW + SECOND - 1)[0] is DEGRADED
    assert demand(FINE, lost, CONFIG, NOW + SECOND)[0] is HOLD
    assert demand(FINE, lost, stop_now, NOW)[0] is HOLD


# What brings a watchdog to each level, and what would bring it to each other.
CALLS: dict[SafetyLevel, tuple[Facts, dict[str, object]]] = {
    RUN: (FINE, {}),
    DEGRADED: (FINE, {"misses": 1}),
    STARVED: (DRY, {}),
    HOLD: (FINE, {"other_policy": "x"}),
    FAULT: (FINE, {"latched": (Cause.ROBOT, "servo 3")}),
}


def at_level(level: SafetyLevel) -> Watchdog:
    """Returns a watchdog brought to `level` by facts alone."""
    watchdog = Watchdog(CONFIG)
    way = [RUN, HOLD] if level is PARK else [level]
    for station in way:
        facts, troubles = CALLS[station]
        watchdog.update(facts, _troubles(**troubles), NOW)
    if level is PARK:
        watchdog.update(WAITING, Troubles(), NOW + CONFIG.hold_grace_ns)
    assert watchdog.level is level
    return watchdog


@pytest.mark.parametrize("before", list(SafetyLevel))
@pytest.mark.parametrize("wanted", list(CALLS))
def test_every_transition(before: SafetyLevel, wanted: SafetyLevel) -> None:
    """From every level, what is demanded is taken where the table lists it, and reported once."""
    watchdog = at_level(before)
    facts, troubles = CALLS[wanted]
    change = watchdog.update(facts, _troubles(**troubles), watchdog.since_ns + 1)
    expected = wanted if wanted in MOVES[before] else before
    assert watchdog.level is expected
    assert (change is None) == (expected is before)
    if change is not None:
        assert (change.before, change.after) == (before, expected)
        assert watchdog.update(facts, _troubles(**troubles), watchdog.since_ns + 1) is None


@pytest.mark.parametrize("level", [HOLD, PARK])
@pytest.mark.parametrize(
    ("facts", "misses", "after"),
    [
        (FINE, 0, RUN),
        (FINE, 1, DEGRADED),
        (replace(FINE, fresh_chunk=False), 0, None),
        (WAITING, 0, None),
        (DRY, 0, None),
        (replace(FINE, next_age_ns=1001), 0, None),
    ],
)
def test_rest_is_left_only_with_a_fresh_chunk(
    level: SafetyLevel, facts: Facts, misses: int, after: SafetyLevel | None
) -> None:
    """HOLD and PARK end with a chunk of the new epoch that is young enough, and with nothing else."""
    watchdog = at_level(level)
    change = watchdog.update(facts, _troubles(misses=misses), watchdog.since_ns + 1)
    if after is None:
        assert (change, watchdog.level) == (None, level)
    else:
        assert change == LevelChange(level, after, Cause.RESUMED)


def test_hold_becomes_park_after_the_grace() -> None:
    """Ten seconds of HOLD and not a nanosecond less, then the arm is parked."""
    watchdog = at_level(HOLD)
    assert watchdog.update(WAITING, Troubles(), NOW + 10 * SECOND - 1) is None
    assert watchdog.update(WAITING, Troubles(), NOW + 10 * SECOND) == LevelChange(
        HOLD, PARK, Cause.GRACE_OVER
    )


@pytest.mark.parametrize("stopped_at", [RUN, DEGRADED, STARVED])
def test_a_stop_holds_then_parks_as_soon_as_the_ramp_is_over(stopped_at: SafetyLevel) -> None:
    """An orderly stop goes through HOLD, for the 200 ms of its ramp, to PARK."""
    watchdog, stop = at_level(stopped_at), Troubles(stop=Cause.STOP_ASKED)
    assert watchdog.update(FINE, stop, NOW) == LevelChange(stopped_at, HOLD, Cause.STOP_ASKED)
    assert watchdog.update(WAITING, stop, NOW + 200 * MS - 1) is None
    assert watchdog.update(WAITING, stop, NOW + 200 * MS) == LevelChange(HOLD, PARK, Cause.STOP_ASKED)
    assert watchdog.update(FINE, stop, NOW + SECOND) is None


@pytest.mark.parametrize("paused_at", [RUN, DEGRADED, STARVED])
def test_a_pause_parks_and_lasts_until_it_is_over(paused_at: SafetyLevel) -> None:
    """A pause goes through HOLD, for its ramp, to PARK, and no chunk ends it; afterwards a fresh one does."""
    watchdog, pause = at_level(paused_at), Troubles(paused=True)
    assert watchdog.update(FINE, pause, NOW) == LevelChange(paused_at, HOLD, Cause.PAUSED)
    assert watchdog.update(FINE, pause, NOW + 200 * MS - 1) is None
    assert watchdog.update(FINE, pause, NOW + 200 * MS) == LevelChange(HOLD, PARK, Cause.PAUSED)
    assert watchdog.update(FINE, pause, NOW + 100 * SECOND) is None
    assert watchdog.update(WAITING, Troubles(), NOW + 101 * SECOND) is None
    assert watchdog.update(FINE, Troubles(), NOW + 102 * SECOND) == LevelChange(PARK, RUN, Cause.RESUMED)


def test_a_stop_in_a_pause_says_so() -> None:
    """An arm that is held for a pause when the end is asked for is parked for that."""
    watchdog = at_level(RUN)
    watchdog.update(FINE, Troubles(paused=True), NOW)
    both = Troubles(paused=True, stop=Cause.STOP_ASKED)
    assert watchdog.update(FINE, both, NOW + 200 * MS) == LevelChange(HOLD, PARK, Cause.STOP_ASKED)


@pytest.mark.parametrize("level", [HOLD, PARK])
def test_a_fault_is_latched_from_rest_too(level: SafetyLevel) -> None:
    """A servo that fails while the arm is held or parked latches, and nothing unlatches it."""
    watchdog = at_level(level)
    assert watchdog.update(FINE, Troubles(latched=(Cause.ROBOT, "servo 3")), NOW + 11 * SECOND).after is FAULT
    assert watchdog.update(FINE, Troubles(), NOW + 12 * SECOND) is None
    assert watchdog.update(WAITING, Troubles(stop=Cause.STOP_ASKED), NOW + 99 * SECOND) is None
    assert watchdog.level is FAULT


def test_the_numbers() -> None:
    """The defaults are those of the promise, and two misses in a row lose the link."""
    assert (
        SafetyConfig(
            max_action_age_ns=None,
            on_link_loss=OnLinkLoss.PLAY_OUT,
            play_out_ns=1 * SECOND,
            hold_grace_ns=10 * SECOND,
            offline_limit_ns=60 * SECOND,
            camera_limit_ns=30 * SECOND,
            hold_ramp_ns=200 * MS,
            resume_ramp_ns=300 * MS,
            min_deadline_ns=500 * MS,
        )
        == CONFIG
    )
    assert CONFIG.hold_ramp_ns + CONFIG.park_ns <= 5 * SECOND
    assert (MISSES_UNTIL_LOST, BAD_CHUNKS_LIMIT) == (2, 3)


@pytest.mark.parametrize(
    ("forecast_ms", "age_limit_ms", "deadline_ms"),
    [
        (100, 5000, 500),
        (250, 5000, 500),
        (251, 5000, 502),
        (1000, 5000, 2000),
        (3000, 5000, 5000),
        (100, 400, 400),
    ],
)
def test_the_deadline_is_twice_the_forecast_within_bounds(
    forecast_ms: int, age_limit_ms: int, deadline_ms: int
) -> None:
    """Deadline = clamp(2 x forecast, 500 ms, age limit)."""
    assert CONFIG.request_deadline_ns(forecast_ms * MS, age_limit_ms * MS) == deadline_ms * MS


@pytest.mark.parametrize(
    ("overdue", "limit_ms", "deadline_ms"),
    [
        (0, 600, 500),
        (1, 600, 500),
        (2, 600, 1000),
        (3, 600, 1000),
        (4, 600, 2000),
        (5, 600, 2000),
        (0, 100, 100),
        (4, 100, 400),
    ],
)
def test_losing_the_link_by_deadlines_doubles_them(overdue: int, limit_ms: int, deadline_ms: int) -> None:
    """Each two deadlines that passed in vain double the next, beyond the present age limit, too."""
    assert CONFIG.request_deadline_ns(100 * MS, limit_ms * MS, overdue, 4 * SECOND) == deadline_ms * MS
    assert CONFIG.request_deadline_ns(100 * MS, limit_ms * MS, overdue) <= limit_ms * MS


@pytest.mark.parametrize(
    ("overdue", "ceiling_s", "deadline_s"),
    [(5, 1, 1), (6, 1, 4), (8, 1, 8), (10, 1, 10), (90, 1, 10), (90, 14, 14)],
)
def test_who_was_not_heard_below_the_ceiling_is_listened_to_beyond(
    overdue: int, ceiling_s: int, deadline_s: int
) -> None:
    """No wait is longer than the ceiling until three links were lost; then up to 10 s tell how slow it is."""
    deadline_ns = CONFIG.request_deadline_ns(100 * MS, 2 * SECOND, overdue, ceiling_s * SECOND)
    assert deadline_ns == deadline_s * SECOND


@pytest.mark.parametrize(
    ("expected_ms", "overdue", "deadline_ms"),
    [(0, 0, 2000), (600, 1, 2000), (700, 0, 2100), (5000, 0, 4700), (0, 2, 4000), (0, 4, 4700)],
)
def test_the_first_deadline_after_a_handshake(expected_ms: int, overdue: int, deadline_ms: int) -> None:
    """The first request gets max(2 s, 3 x what is expected), doubled as the others are, below the ceiling."""
    assert CONFIG.first_deadline_ns(expected_ms * MS, 4700 * MS, overdue) == deadline_ms * MS


def test_the_age_limit() -> None:
    """An action may be H / action_hz + 2 x forecast old, unless a stricter limit is set."""
    assert CONFIG.action_age_limit_ns(50, 30.0, 300 * MS) == 50 * SECOND // 30 + 600 * MS
    assert SafetyConfig(max_action_age_ns=SECOND).action_age_limit_ns(50, 30.0, 300 * MS) == SECOND
    assert SafetyConfig(max_action_age_ns=9 * SECOND).action_age_limit_ns(50, 50.0, 0) == SECOND


@pytest.mark.parametrize("before", list(SafetyLevel))
@pytest.mark.parametrize("resume", list(Resume))
def test_a_sleep_holds_from_every_level_but_fault(before: SafetyLevel, resume: Resume) -> None:
    """Even an arm on its way to rest is held anew, and waits for a go if it was told to ask."""
    watchdog = at_level(before)
    watchdog.config = replace(CONFIG, resume=resume)
    change = watchdog.slept(NOW + 100 * SECOND)
    if before is FAULT:
        assert (change, watchdog.level, watchdog.waits_for_go) == (None, FAULT, False)
        return
    assert change == (None if before is HOLD else LevelChange(before, HOLD, Cause.SLEPT))
    assert (watchdog.level, watchdog.cause, watchdog.since_ns) == (HOLD, Cause.SLEPT, NOW + 100 * SECOND)
    assert watchdog.waits_for_go == (resume is Resume.ASK)


def test_only_a_go_or_a_fault_ends_the_waiting() -> None:
    """Neither a fresh chunk, nor a stop, nor the grace moves an arm that waits; after go all count anew."""
    watchdog = at_level(RUN)
    watchdog.slept(NOW)
    for facts, troubles in ((FINE, Troubles()), (FINE, Troubles(stop=Cause.REFUSED)), (WAITING, Troubles())):
        assert watchdog.update(facts, troubles, NOW + 100 * SECOND) is None
    assert watchdog.go_on(NOW + 200 * SECOND)
    assert not watchdog.go_on(NOW + 200 * SECOND)
    assert watchdog.update(WAITING, Troubles(), NOW + 210 * SECOND - 1) is None
    assert watchdog.update(FINE, Troubles(), NOW + 210 * SECOND - 1) == LevelChange(HOLD, RUN, Cause.RESUMED)
    watchdog.slept(NOW + 300 * SECOND)
    latched = Troubles(latched=(Cause.ROBOT, "servo 3"))
    assert watchdog.update(FINE, latched, NOW + 301 * SECOND).after is FAULT
