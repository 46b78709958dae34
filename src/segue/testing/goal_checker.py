"""Judges the goals that motors took: what an arm was really told, whatever was meant.

    with FeetechBus.so101() as bus:
        ...                                     # an arm is driven, and the line fails now and then
        assert not check_goals(bus.goals, servo_speeds(units), control_hz=100)

A log of commands says what a driver was told. Between it and the motors lie a
bus that loses packets and an adapter that holds them back, so a joint may leap
although no command does. The judge sees nothing but goals and their times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from segue.client.commands import CommandLogHeader, CommandRow
from segue.core.types import FloatArray
from segue.robots.so101_units import ArmUnits
from segue.testing.checker import IntArray, Rule, Violation
from segue.testing.goal_log import Goal, GoalLog

NS_PER_S = 1_000_000_000
# A tick may be late by all of a period, and its goal is one tick's way itself.
LEEWAY_TICKS = 2.0


def check_goals(
    goals: Iterable[Goal],
    max_speed: Mapping[str, float],
    control_hz: float,
    resolution: float = 1.0,
    leeway_ticks: float = LEEWAY_TICKS,
) -> list[Violation]:
    """Returns every goal that a motor should not have been sent, in order of time.

    Each may be one tick's way from the one before, however long that was ago; and in any span of
    time no more than the speed limit allows for it, and `leeway_ticks` more.

    Args:
        goals: when, ns; of which motor; where to.
        max_speed: by motor, in the goals' unit per second.
        control_hz: ticks per second.
        resolution: what rounding may add to a goal, in its unit.
        leeway_ticks: ticks' ways that goals may be early, as where a tick was late before them.
    """
    found: list[Violation] = []
    for name, (times, values) in GoalLog.of(goals).tracks().items():
        speed = max_speed[name]
        found += _leaps(name, times, values, speed / control_hz + resolution)
        found += _rushes(name, times, values, speed, leeway_ticks * speed / control_hz + resolution)
    return sorted(found, key=lambda each: each.t_ns)


def check_applied(
    rows: Sequence[CommandRow], header: CommandLogHeader, goals: Iterable[Goal], resolution: float = 0.0
) -> list[Violation]:
    """Returns on which ticks a driver says that it applied what its motors do not have.

    A goal may be lost on its way, which no driver knows at once; one that is further than a tick's
    way from the truth says what it was told and not what it did.

    Args:
        rows: of the run, all of them.
        header: what their numbers are.
        goals: what the motors took, in the units and under the names of `header`, by the rows' clock.
        resolution: what rounding may add to a goal.
    """
    ends = np.array([row.t_ns for row in rows] + [np.iinfo(np.int64).max])[1:]
    ends = ends[[row.applied is not None for row in rows]]
    told = [row for row in rows if row.applied is not None]
    said = np.array([row.applied for row in told])
    motors, found = GoalLog.of(goals).tracks(), []
    for joint, each in enumerate(header.dimensions):
        if not told or each.name not in motors:
            continue
        times, values = motors[each.name]
        applied = said[:, joint]
        newest = np.searchsorted(times, ends) - 1
        off = np.where(newest < 0, 0.0, np.abs(applied - values[newest]))
        for i in np.flatnonzero(off > each.max_speed / header.control_hz + resolution):
            text = f"{each} is said to be told {applied[i]:.9g}, it has {values[newest[i]]:.9g}"
            found.append(Violation(Rule.REPORT, told[i].t_ns, text))
    return sorted(found, key=lambda violation: violation.t_ns)


def servo_speeds(units: ArmUnits) -> dict[str, float]:
    """Returns the speed limit of each joint of an arm, counts per second."""
    middle = {joint.id: (joint.range_min + joint.range_max) // 2 for joint in units.calibration.values()}
    beside = {servo: count + 1 for servo, count in middle.items()}
    a_count = np.abs(units.to_units(beside) - units.to_units(middle))
    return {d.name: d.max_speed / float(one) for d, one in zip(units.dimensions(), a_count, strict=True)}


def _leaps(name: str, times: IntArray, values: FloatArray, most: float) -> Iterator[Violation]:
    moved = np.abs(np.diff(values))
    for i in np.flatnonzero(moved > most):
        ago_ms = (times[i + 1] - times[i]) / 1e6
        text = f"{name}: a goal is {moved[i]:.6g} from that of {ago_ms:.1f} ms before; at most {most:.6g}"
        yield Violation(Rule.LEAP, int(times[i + 1]), text)


def _rushes(
    name: str, times: IntArray, values: FloatArray, speed: float, leeway: float
) -> Iterator[Violation]:
    """Finds goals further from any earlier one than the speed limit allows for the time between."""
    way = speed * (times - times[:1]) / NS_PER_S
    up = (values - way) - np.minimum.accumulate(values - way)
    down = np.maximum.accumulate(values + way) - (values + way)
    ahead = np.maximum(up, down)
    # The first of each burst: the others are ahead because of it.
    late = ahead > leeway
    for i in np.flatnonzero(late & ~np.concatenate([[False], late[:-1]])):
        text = (
            f"{name}: a goal is {ahead[i]:.6g} ahead of what {speed:.6g} a second allow; at most {leeway:.6g}"
        )
        yield Violation(Rule.RUSH, int(times[i]), text)
