"""What a driver says that it applied is judged: it may lag, and neither leap nor go elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.client.commands import CommandLogHeader, CommandRow, Moved
from segue.core.specs import Dimension, Kind
from segue.core.watchdog import SafetyLevel
from segue.testing.applied_rules import judge_applied
from segue.testing.checker import Rule, check_commands

TICK = 10_000_000
PAN = Dimension("pan", "deg", low=-110.0, high=110.0, max_speed=180.0)


def header(dimension: Dimension = PAN) -> CommandLogHeader:
    """Returns the header of a log of one dimension at 100 Hz."""
    return CommandLogHeader(100.0, 10.0, 0.2, 0.3, 4.0, (dimension,))


def rows(
    command: Sequence[float], applied: Sequence[float | None], measured: Sequence[float | None] | None = None
) -> list[CommandRow]:
    """Returns one row for each command."""
    seen = [None] * len(command) if measured is None else measured
    return [
        CommandRow(
            tick, (tick + 1) * TICK, SafetyLevel.RUN, 1, None, None, 10**9, 0, np.array([value]),
            Moved(None if made is None else np.array([made]), None if at is None else np.array([at])),
        )
        for tick, (value, made, at) in enumerate(zip(command, applied, seen, strict=True))
    ]  # fmt: skip


def found(*log: Sequence, dimension: Dimension = PAN) -> list[Rule]:
    """Returns the rules that are broken, one for each violation."""
    return [each.rule for each in judge_applied(rows(*log), header(dimension))]


RAMP = [1.8 * tick for tick in range(30)]


def test_a_driver_that_does_what_it_is_told_is_clean() -> None:
    """At full speed each step is a tick's way, and so is what is applied, whatever it is rounded to."""
    assert found(RAMP, RAMP) == []
    assert found(RAMP, [round(value / 0.088) * 0.088 for value in RAMP]) == []


def test_a_leap_after_a_silence_is_seen() -> None:
    """Ticks in which nothing was applied, or the same as before, add nothing to what may be applied next."""
    held = [*RAMP[:10], *[RAMP[9]] * 10, *RAMP[20:]]
    assert found(RAMP, held) == [Rule.LEAP]
    nothing = [*RAMP[:10], *[None] * 10, *RAMP[20:]]
    assert found(RAMP, nothing) == [Rule.LEAP]
    assert Rule.LEAP in {each.rule for each in check_commands(rows(RAMP, held), header())}


def test_a_driver_that_catches_up_at_its_speed_is_clean() -> None:
    """Behind by 18 degrees it follows at the speed limit and is there in the end."""
    command = [*RAMP, *[RAMP[-1]] * 10]
    assert found(command, [*RAMP[:10], *[RAMP[9]] * 10, *RAMP[10:]]) == []


def test_a_driver_that_goes_on_by_itself_is_seen() -> None:
    """Further away from a command that stands still is not where it was told to go."""
    assert found([0.0] * 5, [0.0, 0.0, 1.0, 2.0, 3.0]) == [Rule.ASTRAY] * 3
    assert found([0.0] * 5, [0.0, 0.0, 1.0, 1.0, 1.0]) == [Rule.ASTRAY]


def test_a_driver_may_come_back_to_where_the_joint_is() -> None:
    """A joint that is held by hand, and the goal that is brought to it, are no mistake of the driver's."""
    applied = [50.0, 49.0, 48.0, 47.0]
    assert found([50.0] * 4, applied, [0.0] * 4) == []
    assert found([50.0] * 4, applied, [60.0] * 4) == [Rule.ASTRAY] * 3
    assert found([50.0] * 4, applied, [None] * 4) == [Rule.ASTRAY] * 3


def test_a_constant_difference_is_no_motion() -> None:
    """A driver that adds for gravity what it knows goes where it is told, a little beside."""
    assert found(RAMP, [value + 3.0 for value in RAMP]) == []


def test_rows_that_are_missing_may_have_been_anything() -> None:
    """Across a gap of ten ticks as many ticks' ways may have been gone."""
    log = rows(RAMP, RAMP)
    gapped = log[:8] + log[18:]
    assert list(judge_applied(gapped, header())) == []
    jump = [*RAMP[:8], *(value + 4.0 for value in RAMP[8:])]
    log = rows(RAMP, jump)
    assert [each.rule for each in judge_applied(log[:8] + log[18:], header())] == [Rule.LEAP]


def test_what_has_no_limit_may_jump() -> None:
    """A discrete dimension and one without a speed limit go at once where they are told."""
    command = [0.0, 0.0, 50.0, 50.0]
    for dimension in (
        Dimension("x", "deg", low=-100, high=100),
        Dimension("x", "", Kind.DISCRETE, max_speed=1.0),
    ):
        assert found(command, command, dimension=dimension) == []


def test_a_log_without_a_drivers_word_is_not_judged() -> None:
    """An older log, and one of a driver that failed at once, say nothing."""
    assert found(RAMP, [None] * 30) == []
    assert found(RAMP, [0.0, *[None] * 29]) == []


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40), st.integers(0, 39), st.integers(1, 12))
def test_a_driver_with_a_speed_limit_is_always_clean(wishes: list[float], at: int, ticks: int) -> None:
    """Whatever is commanded and however long it hears nothing, who limits its own steps breaks no rule."""
    command, applied, here = [], [], wishes[0]
    sent = here
    for tick, wish in enumerate(wishes):
        sent = min(max(wish, sent - 1.8), sent + 1.8)
        command.append(sent)
        if not at <= tick < at + ticks:
            here = min(max(sent, here - 1.8), here + 1.8)
        applied.append(here)
    assert found(command, applied) == []


def test_the_sentence_says_what_and_how_far() -> None:
    """Joint, unit, way and limit are said."""
    (leap,) = judge_applied(rows([0.0, 0.0, 27.0], [0.0, 0.0, 27.0]), header())
    assert str(leap) == "leap at 30000000: pan [deg]: what is applied leaps by 27, limit 1.8 a tick"
    (astray,) = judge_applied(rows([5.0, 5.0], [5.0, 4.0]), header())
    assert astray.text == "pan [deg] was told 5, applied is 4 after 5"
    assert astray.t_ns == pytest.approx(2 * TICK)
