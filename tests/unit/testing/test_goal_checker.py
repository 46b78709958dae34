"""The goals that motors took are judged by themselves: no leap after a silence, no burst."""

from __future__ import annotations

import numpy as np
import pytest

from segue.client.commands import CommandLogHeader, CommandRow, Moved
from segue.core.specs import Dimension
from segue.core.watchdog import SafetyLevel
from segue.robots.so101_units import ArmUnits
from segue.testing.checker import Rule, Violation
from segue.testing.goal_checker import check_applied, check_goals, servo_speeds
from segue.testing.goal_log import Goal, GoalLog
from segue.testing.servo_arm import default_calibration

TICK = 10_000_000
SPEED = {"pan": 2048.0, "lift": 2048.0}  # 20.5 counts a tick


def goals(values: list[float], name: str = "pan", start_ns: int = 0) -> list[Goal]:
    """Returns a goal each tick."""
    return [(start_ns + tick * TICK, name, value) for tick, value in enumerate(values)]


def found(log: list[Goal], **wishes: float) -> list[Rule]:
    """Returns the rules that are broken."""
    return [each.rule for each in check_goals(log, SPEED, 100.0, **wishes)]


RAMP = [round(20.48 * tick) for tick in range(40)]


def test_a_joint_at_full_speed_is_clean() -> None:
    """A tick's way each tick, rounded to counts, is as told; so is standing still, and turning about."""
    assert found(goals(RAMP)) == []
    assert found(goals([5.0] * 40)) == []
    assert found(goals(RAMP + RAMP[::-1])) == []


def test_a_leap_is_seen_however_long_the_last_goal_is_ago() -> None:
    """After 150 ms, or an hour, the next goal is a tick's way from the last one."""
    for pause_ns in (0, 150_000_000, 3600 * 10**9):
        log = goals(RAMP) + goals([RAMP[-1] + 200.0], start_ns=40 * TICK + pause_ns)
        assert found(log)[0] is Rule.LEAP
    assert found(goals(RAMP) + goals([RAMP[-1] + 20.0], start_ns=3600 * 10**9)) == []


def test_a_burst_is_seen() -> None:
    """Fifteen goals that come at once are each a tick's way from the last, and all of them are 27 degrees."""
    burst = [(RAMP_END_NS + n * 300_000, "pan", RAMP[-1] + 20.0 * n) for n in range(1, 16)]
    assert found(goals(RAMP) + burst) == [Rule.RUSH]
    assert found(goals(RAMP) + burst, leeway_ticks=20.0) == []
    back = [(at_ns, name, 2 * RAMP[-1] - value) for at_ns, name, value in burst]
    assert found(goals(RAMP) + back) == [Rule.RUSH]


RAMP_END_NS = 40 * TICK


def test_a_late_tick_is_no_burst() -> None:
    """A goal that is late by almost a period, and the next one in time, are no haste."""
    late = [
        (at_ns + (9_900_000 if at_ns == 20 * TICK else 0), name, value) for at_ns, name, value in goals(RAMP)
    ]
    assert found(late) == []


def test_each_motor_is_judged_by_itself() -> None:
    """What one motor has says nothing of another, and the sentences come in order of time."""
    log = goals([*RAMP, RAMP[-1] + 99.0]) + goals([0.0, 300.0], "lift")
    both = check_goals(log, SPEED, 100.0)
    leaps = [each for each in both if each.rule is Rule.LEAP]
    assert [each.text.split(":")[0] for each in leaps] == ["lift", "pan"]
    assert leaps[0].text == "lift: a goal is 300 from that of 10.0 ms before; at most 21.48"


def test_what_the_motors_count_by_may_be_rounded() -> None:
    """One count more than a tick's way is rounding, two are not."""
    assert found(goals([0.0, 21.0])) == []
    assert found(goals([0.0, 23.0]))[0] is Rule.LEAP
    assert found(goals([0.0, 23.0]), resolution=3.0) == []


def test_a_motor_that_is_not_known_is_an_error() -> None:
    """A goal of a motor without a speed cannot be judged, and is not passed over."""
    with pytest.raises(KeyError):
        check_goals(goals(RAMP, "tail"), SPEED, 100.0)


def reported(applied: list[float | None], taken: list[Goal]) -> list[Violation]:
    """Judges a driver's word, in degrees at 100 Hz and 180 degrees a second."""
    header = CommandLogHeader(
        100.0, 10.0, 0.2, 0.3, 4.0, (Dimension("pan", "deg", max_speed=180.0), Dimension("tail", "deg"))
    )
    rows = [
        CommandRow(
            tick, tick * TICK, SafetyLevel.RUN, 1, None, None, 10**9, 0, np.zeros(2),
            Moved(None if value is None else np.array([value, 0.0])),
        )
        for tick, value in enumerate(applied)
    ]  # fmt: skip
    return check_applied(rows, header, taken)


def test_a_driver_that_says_what_its_motors_have_is_clean() -> None:
    """Its word is the goal that the motor has after that tick; one that is lost is not known at once."""
    true = [0.0, 1.0, 1.0, 2.0, 3.0]
    assert reported(list(true), goals(true)) == []
    kept = [goal for goal in goals(true) if goal[2] != 1.0] + [(TICK + 5, "pan", 1.0)]
    assert reported(list(true), kept) == []
    lost = [goal for goal in goals(true) if goal[0] != 3 * TICK]
    assert reported(list(true), lost) == []
    assert reported([None, 5.0], []) == []


def test_a_driver_that_says_what_it_was_told_is_seen() -> None:
    """A word that runs ahead of a motor that hears nothing is not what was applied."""
    taken = goals([0.0, 1.0])
    seen = reported([0.0, 1.0, 2.8, 4.6, None, 8.2], taken)
    assert [each.t_ns for each in seen] == [3 * TICK, 5 * TICK]
    assert seen[0].rule is Rule.REPORT
    assert "pan [deg, position] is said to be told 4.6, it has 1" in seen[0].text


def test_the_speeds_of_an_arm_are_in_counts() -> None:
    """180 degrees a second are half a turn, 200 percent twice the gripper's range, in any unit."""
    for use_degrees in (True, False):
        speeds = servo_speeds(ArmUnits(default_calibration(), use_degrees))
        gripper = default_calibration()["gripper"]
        assert speeds["shoulder_pan"] == pytest.approx(2047.5, abs=0.5)
        assert speeds["gripper"] == pytest.approx(2 * (gripper.range_max - gripper.range_min))


def test_a_log_of_goals_gives_back_what_it_was_told() -> None:
    """Goals come back by motor and in order of time, however they were entered."""
    log = GoalLog()
    for at_ns, value in ((5, 1.0), (3, 2.0)):
        log.add(at_ns, "pan", value)
    log.add(4, "lift", 3.0)
    assert sorted(log) == [(3, "pan", 2.0), (4, "lift", 3.0), (5, "pan", 1.0)]
    times, values = log.tracks()["pan"]
    assert (times.tolist(), values.tolist()) == ([3, 5], [2.0, 1.0])
    assert len(log) == 3
    assert sorted(GoalLog.of(log)) == sorted(GoalLog.of(list(log)))
    columns = GoalLog.of_columns(("pan", "lift"), [1, 2], np.array([[1.0, 3.0], [2.0, 4.0]]))
    assert list(columns) == [(1, "pan", 1.0), (2, "pan", 2.0), (1, "lift", 3.0), (2, "lift", 4.0)]
    assert list(GoalLog.of_columns(("pan",), [], np.zeros(0))) == []
    log.clear()
    assert len(log) == 0


def test_a_log_of_goals_does_not_grow_for_ever() -> None:
    """The newest half at least of what it may hold is kept, of each motor."""
    log = GoalLog(100)
    for at_ns in range(1000):
        log.add(at_ns, "pan", float(at_ns))
        assert len(log) <= 100
    times, values = log.tracks()["pan"]
    assert times[-1] == 999
    assert len(times) >= 50
    assert (times == values).all()
