"""From a log of commands to a path: what was planned is in it, what was held or parked is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segue.client.commands import CommandLogHeader, CommandRow, header_line, row_line
from segue.core.specs import Dimension, Kind
from segue.core.watchdog import SafetyLevel
from segue.errors import ConfigError
from segue.tools.recording import MAX_BYTES, read_recording

JOINT = Dimension("shoulder_pan", "deg", max_speed=100.0)
HEADER = CommandLogHeader(100.0, 10.0, 0.2, 0.3, 4.0, (JOINT,))
RUN, STARVED, HOLD, PARK = SafetyLevel.RUN, SafetyLevel.STARVED, SafetyLevel.HOLD, SafetyLevel.PARK


class Log:
    """A log in the making, of ten ticks a step."""

    def __init__(self) -> None:
        self.rows: list[CommandRow] = []
        self.step = 0
        self.at = 0.0

    def steps(self, *targets: float) -> Log:
        """Adds steps that go to each target in a straight line."""
        for target in targets:
            for share, value in enumerate(np.linspace(self.at, target, 11)[1:]):
                self._add(RUN, value, self.step if share == 0 else None)
            self.step += 1
        return self

    def still(self, level: SafetyLevel, ticks: int, at: float | None = None) -> Log:
        """Adds ticks without a step."""
        for _ in range(ticks):
            self._add(level, self.at if at is None else at, None)
        return self

    def lose(self, ticks: int) -> Log:
        """Takes the newest rows away again; their ticks stay counted."""
        kept = self.rows[:-ticks]
        self.rows = [*kept, *([None] * ticks)]  # type: ignore[list-item]
        return self

    def write(self, folder: Path) -> Path:
        """Writes commands.csv and returns the folder."""
        rows = b"".join(row_line(row) for row in self.rows if row is not None)
        (folder / "commands.csv").write_bytes(header_line(HEADER) + rows)
        return folder

    def _add(self, level: SafetyLevel, value: float, step: int | None) -> None:
        tick = len(self.rows)
        command = np.array([float(value)])
        captured = None if step is None else 0
        self.rows.append(CommandRow(tick, tick * 10_000_000, level, 1, step, captured, 10**9, 5, command))
        self.at = float(value)


def path(folder: Path, speed: float = 1.0) -> list[float]:
    """Returns the single joint of the recording in `folder`."""
    return [round(value, 9) for value in read_recording(folder, speed).actions[:, 0]]


def test_each_step_is_where_it_led(tmp_path: Path) -> None:
    """A step's action is its last command; waiting for the first chunk and parking are left out."""
    log = Log().still(RUN, 30).steps(1, 3, 2).still(HOLD, 20).still(PARK, 50, at=-40.0)
    recording = read_recording(log.write(tmp_path), 0.5)
    assert recording.actions[:, 0].tolist() == [1.0, 3.0, 2.0]
    assert recording.action_hz == 5.0
    assert recording.dimensions == (JOINT,)


def test_a_pause_of_the_plan_takes_no_time(tmp_path: Path) -> None:
    """Where the arm stood still, starved or waiting, the replay goes on."""
    log = Log().steps(1, 2).still(STARVED, 25).still(RUN, 7).steps(3)
    assert path(log.write(tmp_path)) == [1.0, 2.0, 3.0]


def test_steps_of_uneven_length_come_out_even(tmp_path: Path) -> None:
    """Of steps of 3.3 ticks some have three and some four; at a steady speed all lead equally far."""
    header = replace(HEADER, action_hz=30.0)
    begins = {int(np.ceil(k * 100 / 30)) for k in range(30)}
    ticks = range(100)
    rows = [
        CommandRow(
            t, t * 10_000_000, RUN, 1, t if t in begins else None, 0, 10**9, 5, np.array([0.5 * (t + 1)])
        )
        for t in ticks
    ]
    (tmp_path / "commands.csv").write_bytes(header_line(header) + b"".join(map(row_line, rows)))
    found = path(tmp_path)
    np.testing.assert_allclose(found, 0.5 * 100 / 30 * np.arange(1, 31))


def test_a_suction_cup_is_not_half_on(tmp_path: Path) -> None:
    """What is discrete is taken as it was in its step, not blended with the next."""
    header = replace(HEADER, action_hz=30.0, dimensions=(Dimension("suction", "", Kind.DISCRETE),))
    rows = [
        CommandRow(
            t, t * 10_000_000, RUN, 1, t if t in (0, 4, 7) else None, 0, 10**9, 5, np.array([float(t >= 4)])
        )
        for t in range(10)
    ]
    (tmp_path / "commands.csv").write_bytes(header_line(header) + b"".join(map(row_line, rows)))
    assert path(tmp_path) == [0.0, 1.0, 1.0]


def test_a_step_that_was_cut_short_led_as_far_as_it_came(tmp_path: Path) -> None:
    """Of a step that a hold ended only what was sent is repeated."""
    log = Log().steps(1)
    log.steps(2)
    del log.rows[-6:]  # four ticks of it are left
    log.still(HOLD, 5)
    assert path(log.write(tmp_path)) == [1.0, 1.4]


def test_what_was_interrupted_is_joined_by_a_slow_line(tmp_path: Path) -> None:
    """After a hold the arm went on from elsewhere; the replay gets there at a quarter of the speed limit."""
    log = Log().steps(1, 2).still(HOLD, 30).still(PARK, 30, at=-8.0).steps(-7.9, -7.8)
    # 9.9 degrees at 25 degrees a second are 4 steps of 10 Hz, the last of which is the first of what follows.
    assert path(log.write(tmp_path)) == [1.0, 2.0, -0.475, -2.95, -5.425, -7.9, -7.8]
    assert len(path(tmp_path, 0.5)) == 5  # at half the rate half as many


def test_missing_rows_are_joined_in_the_same_way(tmp_path: Path) -> None:
    """What the recorder lost is not guessed at a jump."""
    log = Log().steps(1, 2, 30).lose(10).steps(30.5)
    found = path(log.write(tmp_path))
    assert found[:2] == [1.0, 2.0]
    assert found[-1] == 30.5
    assert max(np.diff(found)) <= 2.5 + 1e-9


def test_a_run_without_commands_is_refused(tmp_path: Path) -> None:
    """A folder without the log, and a log without a step, are named with what is expected."""
    with pytest.raises(ConfigError, match=r"run: .*has no commands\.csv; expected the folder of a run"):
        read_recording(tmp_path, 0.5)
    Log().still(RUN, 5).still(HOLD, 5).write(tmp_path)
    with pytest.raises(ConfigError, match=r"run: .*began no step"):
        read_recording(tmp_path, 0.5)


def test_a_log_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    """A log that would fill the memory is refused by its size."""
    path = Log().steps(1, 2).write(tmp_path) / "commands.csv"
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match=r"commands\.csv: is too long to be replayed; .*384 MiB$"):
        read_recording(tmp_path, 0.5)


def test_a_path_out_of_all_reach_is_refused(tmp_path: Path) -> None:
    """A place to which the slow line would take hours is a spoilt number, and no line is drawn to it."""
    Log().steps(1, 2e9).write(tmp_path)
    with pytest.raises(
        ConfigError, match=r"commands\.csv: is spoilt: shoulder_pan: 2e\+09 cannot be reached"
    ):
        read_recording(tmp_path, 0.5)


def test_a_recording_of_a_killed_run_ends_with_its_last_whole_line(tmp_path: Path) -> None:
    """Half a line at the end costs its tick and nothing else."""
    path_ = Log().steps(1, 2).write(tmp_path) / "commands.csv"
    path_.write_bytes(path_.read_bytes()[:-3])
    assert path(tmp_path) == [1.0, 1.9]
