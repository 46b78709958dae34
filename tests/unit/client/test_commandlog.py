"""A run's log of commands has, beside each command, what the driver made of it and where the arm was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segue.client.commands import CommandLogHeader, CommandRow, read_commands
from segue.client.messages import Commands
from segue.clock import NS_PER_MS
from segue.core.types import FloatArray
from segue.core.watchdog import SafetyLevel
from segue.errors import RobotFault
from segue.robots.base import RobotState
from segue.testing.checker import Rule, assert_clean, check_commands
from segue.testing.faults import WeakRobot
from segue.testing.robots import FakeRobot
from tests.unit.client.world import World, control_plan


def logged(
    robot: FakeRobot, folder: Path, *happens: tuple[float, object]
) -> tuple[CommandLogHeader, list[CommandRow]]:
    """Returns the log of a run of three seconds, in which something happens."""
    world = World(replace(control_plan(3.0), log_commands=True), robot)
    for at_s, act in happens:
        world.at(at_s, act)  # type: ignore[arg-type]
    world.run()
    path = folder / "commands.csv"
    path.write_bytes(b"".join(m.body for m in world.said if isinstance(m, Commands)))
    return read_commands(path)


def test_every_row_says_what_was_applied_and_measured(tmp_path: Path) -> None:
    """A driver that does what it is told is where it was told to be one tick later, in every row."""
    header, rows = logged(FakeRobot(), tmp_path)
    assert_clean(rows, header)
    applied = np.array([row.applied for row in rows])
    measured = np.array([row.moved.measured for row in rows])
    assert (applied == [row.command for row in rows]).all()
    assert measured[1:] == pytest.approx(applied[:-1], abs=1e-5)
    assert {row.moved.state_age_ns for row in rows} == {None}


def test_a_driver_that_hears_nothing_says_so_in_each_row(tmp_path: Path) -> None:
    """In a silence of the motors the last goal is what is applied, and the state gets older and older."""
    robot = WeakRobot()
    header, rows = logged(
        robot,
        tmp_path,
        (1.0, lambda: robot.fall_silent(False)),
        (1.15, lambda: setattr(robot, "silent", False)),
    )
    assert_clean(rows, header)
    old = [row for row in rows if row.moved.state_age_ns]
    ages_ms = [(row.moved.state_age_ns or 0) / NS_PER_MS for row in old]
    assert ages_ms == [10.0 * n for n in range(1, len(old) + 1)]
    assert 13 <= len(old) <= 16
    assert {tuple(row.applied or ()) for row in old if row.applied is None} == set()
    assert len({row.applied[0] for row in old if row.applied is not None}) == 1


class Leaper(WeakRobot):
    """A driver that makes up for a silence at once."""

    last: FloatArray | None = None

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Goes to wherever it is told."""
        self.last = action if self.last is None or not self.silent else self.last
        return self.last


def test_a_leap_of_the_driver_is_seen_in_the_log(tmp_path: Path) -> None:
    """What is meant never leaps; what the driver says that it applied does, and the checker says so."""
    robot = Leaper()
    header, rows = logged(
        robot,
        tmp_path,
        (1.0, lambda: robot.fall_silent(False)),
        (2.5, lambda: setattr(robot, "silent", False)),
    )
    # The plan moves at one degree a second; at a limit of ten the 1.5 degrees are more than a tick's way.
    slow = replace(header, dimensions=tuple(replace(each, max_speed=10.0) for each in header.dimensions))
    begun = [row for row in rows if row.level is SafetyLevel.RUN]
    assert [(each.rule, each.t_ns) for each in check_commands(begun, slow)] == [(Rule.LEAP, 3_500_000_000)]
    assert check_commands(_without_words(begun), slow) == []


def _without_words(rows: list[CommandRow]) -> list[CommandRow]:
    return [CommandRow(*(getattr(row, name) for name in CommandRow.__slots__[:-1])) for row in rows]


class Failing(FakeRobot):
    """A robot whose driver begins to fail, in one of two ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.failing = how, False

    def read(self, now_ns: int) -> RobotState:
        """Reads, or fails."""
        if self.failing and self.how == "read":
            raise RobotFault("gone")
        return super().read(now_ns)

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Writes, fails, or says nonsense."""
        if self.failing and self.how == "write":
            raise RobotFault("gone")
        applied = super().write(action, now_ns)
        return np.full(6, np.nan) if self.failing and self.how == "nonsense" else applied


@pytest.mark.parametrize("how", ["read", "write", "nonsense"])
def test_a_driver_that_fails_leaves_its_words_out(how: str, tmp_path: Path) -> None:
    """Where nothing was sent nothing is said to be applied, and what could not be read is old."""
    robot = Failing(how)
    header, rows = logged(robot, tmp_path, (1.0, lambda: setattr(robot, "failing", True)))
    assert_clean(rows, header)
    after = [row for row in rows if row.level is SafetyLevel.FAULT][2:]
    assert len(after) > 5
    assert all((row.applied is None) == (how != "read") for row in after)
    ages = [row.moved.state_age_ns for row in after]
    assert all(ages) if how == "read" else not any(ages)
    assert ages == sorted(ages, key=lambda age: age or 0)
