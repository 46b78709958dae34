from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.client.commands import (
    FORMAT,
    ActionView,
    CommandLogHeader,
    CommandRow,
    Moved,
    header_line,
    read_commands,
    row_line,
    row_of,
)
from segue.core.executor import ChunkExecutor
from segue.core.facts import ExecutorConfig
from segue.core.specs import ActionSpec, Dimension, Kind, ObservationSpec, RobotSpec
from segue.core.types import Observation
from segue.core.watchdog import SafetyConfig, SafetyLevel
from segue.errors import ConfigError

DIMENSIONS = (
    Dimension("shoulder_pan", "deg", low=-110.0, high=110.0, max_speed=180.0),
    Dimension("wheel", "rad/s", Kind.VELOCITY),
)
HEADER = CommandLogHeader(100.0, 10.0, 0.2, 0.3, 4.0, DIMENSIONS)
ROW = CommandRow(3, 20, SafetyLevel.RUN, 1, 4, 10, 1_000, 7, np.array([0.1, -2.5e-300]))
BARE = CommandRow(4, 30, SafetyLevel.HOLD, 2, None, None, 1_000, 0, np.array([1.0, 0.0]))
LATE = replace(ROW, moved=Moved(np.array([1 / 3, 0.0]), np.array([1.25, np.nan]), 12))


def _written(path: Path, *rows: CommandRow) -> Path:
    path.write_bytes(header_line(HEADER) + b"".join(map(row_line, rows)))
    return path


def _same(one: CommandRow, other: CommandRow) -> bool:
    facts = [
        [getattr(part, name) for part in (row, row.moved) for name in part.__slots__ if name != "moved"]
        for row in (one, other)
    ]
    return all(np.array_equal(a, b, equal_nan=isinstance(a, np.ndarray)) for a, b in zip(*facts, strict=True))


def test_header_and_rows_are_read_back(tmp_path: Path) -> None:
    """What is written is read back, infinite limits and rows without a step or a driver's word included."""
    header, rows = read_commands(_written(tmp_path / "log.csv", ROW, BARE, LATE))
    assert header == HEADER
    assert math.isinf(header.dimensions[1].max_speed)
    assert len(rows) == 3
    assert _same(rows[0], ROW)
    assert _same(rows[1], BARE)
    assert _same(rows[2], LATE)


def test_the_text_is_a_table_with_names(tmp_path: Path) -> None:
    """The second line names the columns, and each row is one line of as many cells."""
    lines = _written(tmp_path / "log.csv", ROW, LATE).read_text().splitlines()
    assert lines[0].startswith("# {")
    assert lines[1] == (
        "tick,t_ns,level,epoch,step,captured_ns,age_limit_ns,left,state_age_ns,shoulder_pan,wheel,"
        "applied.shoulder_pan,applied.wheel,measured.shoulder_pan,measured.wheel"
    )
    assert lines[2] == "3,20,RUN,1,4,10,1000,7,,0.1,-2.5e-300,,,,"
    assert lines[3] == "3,20,RUN,1,4,10,1000,7,12,0.1,-2.5e-300,0.3333333333333333,0.0,1.25,"


def test_a_log_of_format_2_is_read(tmp_path: Path) -> None:
    """A log of an older version of Segue, which ends with the command, is read as it was written."""
    header = {**json.loads(header_line(HEADER).splitlines()[0][2:]), "format": 2}
    path = tmp_path / "log.csv"
    path.write_text(f"# {json.dumps(header)}\nx\n3,20,RUN,1,4,10,1000,7,0.1,-2.5e-300\n")
    found, (row,) = read_commands(path)
    assert found.format == 2
    assert _same(row, ROW)
    path.write_text(path.read_text() + "4,30,RUN,1,,,1000,7,,0.1,0.2,,,,\n")
    with pytest.raises(ConfigError, match="line 4: expected 8 facts"):
        read_commands(path)


@given(
    st.lists(st.floats(allow_nan=False), min_size=2, max_size=2),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
)
def test_numbers_come_back_exactly(values: list[float], told: list[float]) -> None:
    """Every number that is judged, commanded or applied, is read back as the same double."""
    moved = Moved(np.array(told))
    row = CommandRow(0, 1, SafetyLevel.RUN, 1, None, None, 1, 0, np.array(values), moved)
    cells = row_line(row).decode().rstrip("\n").split(",")[9:13]
    assert [float(cell) for cell in cells] == values + told


def test_a_cut_last_line_is_left_out(tmp_path: Path) -> None:
    """A log that ends in the middle of a line is read up to the line before, wherever it was cut."""
    whole = _written(tmp_path / "log.csv", ROW, BARE).read_bytes()
    tail = len(row_line(BARE))
    for cut in range(1, tail + 1):
        path = tmp_path / "cut.csv"
        path.write_bytes(whole[:-cut])
        _, rows = read_commands(path)
        assert len(rows) == 1
        assert _same(rows[0], ROW)


@pytest.mark.parametrize("text", ["", "# {}\n", "t_ns,level\n1,RUN\n", "# [1]\nx\n"])
def test_what_is_no_log_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is no log of commands is refused by its name."""
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"other\.csv"):
        read_commands(path)


def test_a_log_of_another_version_is_refused(tmp_path: Path) -> None:
    """A log of another format is refused by its number and by the one that is read, whatever else it says."""
    path = tmp_path / "log.csv"
    for header in ({**json.loads(header_line(HEADER).splitlines()[0][2:]), "format": 1}, {"format": 1}):
        path.write_text(f"# {json.dumps(header)}\n")
        with pytest.raises(
            ConfigError, match=rf"log\.csv: .*format 1, this version of Segue reads 2 and {FORMAT}$"
        ):
            read_commands(path)


def test_the_header_of_a_run_says_its_ramps_in_seconds() -> None:
    """A header is made of a run's rates and safety, whose nanoseconds become seconds."""
    safety = SafetyConfig(hold_ramp_ns=200_000_000, resume_ramp_ns=300_000_000, park_ns=4_000_000_000)
    assert CommandLogHeader.of(100.0, 10.0, safety, DIMENSIONS) == HEADER
    strict = replace(safety, max_action_age_ns=2_000_000_000)
    assert CommandLogHeader.of(100.0, 10.0, strict, DIMENSIONS).age_ceiling_ns == 2_000_000_000


def test_a_damaged_row_is_refused(tmp_path: Path) -> None:
    """A whole line that is no row is refused: only a cut end is forgiven."""
    path = _written(tmp_path / "log.csv", ROW)
    path.write_bytes(path.read_bytes() + b"garbage\n")
    with pytest.raises(ConfigError, match="no log of commands"):
        read_commands(path)


def _changed(**changes: object) -> str:
    """Returns the first line of a log with other values; `...` takes a key away."""
    header = {**json.loads(header_line(HEADER).splitlines()[0][2:]), **changes}
    return json.dumps({key: value for key, value in header.items() if value is not ...})


JOINT = json.loads(_changed())["dimensions"][0]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (_changed(action_hz=0), "action_hz: 0; expected a number above 0"),
        (_changed(action_hz=-30), "action_hz: -30; expected a number above 0"),
        (_changed(action_hz=math.nan), "action_hz: nan; expected a number above 0"),
        (_changed(action_hz=200), "action_hz: 200; expected a number above 0, at most control_hz"),
        (_changed(control_hz=math.inf), "control_hz: inf; expected a number above 0, at most 1000"),
        (_changed(action_hz="fast"), "action_hz: .*valid number"),
        (_changed(action_hz="30"), "action_hz: .*valid number"),
        (_changed(action_hz=...), "action_hz: "),
        (_changed(park_s=-1), "park_s: -1; expected a number from 0 on"),
        (_changed(dimensions=[]), "dimensions: none; expected one at least"),
        (_changed(dimensions=7), "dimensions: .*valid array"),
        (_changed(dimensions=[{**JOINT, "max_speed": 0}]), "shoulder_pan.*: expected low up to high"),
        (_changed(dimensions=[{**JOINT, "low": math.nan}]), "shoulder_pan.*: expected low up to high"),
        (_changed(dimensions=[{**JOINT, "kind": "magic"}]), r"dimensions\.0\.kind: "),
        (_changed()[:-9], "its first line says no format"),
        ("[" * 100_000, "its first line says no format"),
        (_changed(format="2" * 10**6), "a log of commands of format '222"),
        (_changed(control_hz=10**400)[:-1] + "}", "control_hz: "),
    ],
)
def test_a_header_that_no_run_wrote_is_refused(tmp_path: Path, header: str, says: str) -> None:
    """A wrong rate, time or dimension is named, in one short line that begins with the file."""
    path = tmp_path / "log.csv"
    path.write_bytes(f"# {header}\nx\n".encode() + row_line(ROW))
    with pytest.raises(ConfigError, match=says) as refused:
        read_commands(path)
    words = str(refused.value)
    assert words.startswith(f"{path}: is ")
    assert len(words.splitlines()) == 1
    assert len(words) < len(str(path)) + 200


@pytest.mark.parametrize(
    "command", ["nan,0.0", "inf,0.0", "1e13,0.0", "0.5", "0.5,0.0,0.0", "", "0.5,x", "0.5,"]
)
def test_a_command_that_no_run_sent_is_refused(tmp_path: Path, command: str) -> None:
    """A row whose command is not finite, absurd, or of another width is named by its line."""
    path = _written(tmp_path / "log.csv", ROW)
    path.write_bytes(path.read_bytes() + f"4,30,RUN,1,,,1000,7,,{command},,,,\n".encode() + row_line(BARE))
    with pytest.raises(ConfigError, match=r"log\.csv: is no log of commands: line 4: .* 2 finite numbers$"):
        read_commands(path)


@pytest.mark.parametrize("beside", ["1.0,,,", "nan,0.0,,", "1.0,0.0,inf,", "1.0,0.0,0.5", "1.0,0.0,0.5,,"])
def test_words_and_places_that_are_none_are_refused(tmp_path: Path, beside: str) -> None:
    """Half a driver's word, a place that is no number, or a cell too few or too many is named by its line."""
    path = _written(tmp_path / "log.csv", LATE)
    path.write_bytes(path.read_bytes() + f"4,30,RUN,1,,,1000,7,,0.5,0.0,{beside}\n".encode())
    with pytest.raises(ConfigError, match=r"log\.csv: is no log of commands: line 4: expected 9 facts"):
        read_commands(path)


@pytest.mark.parametrize("line", ["4,30,RUN,1", "4,30,RU", "4", "", "4,30,JUMP,1,,,1000,7,,0.5,0.0,,,,"])
def test_a_row_cut_within_the_log_is_refused(tmp_path: Path, line: str) -> None:
    """Only the last line may be half a one: what goes on after it was not left so by a killed process."""
    path = _written(tmp_path / "log.csv", ROW)
    path.write_bytes(path.read_bytes() + line.encode() + b"\n" + row_line(BARE))
    with pytest.raises(ConfigError, match=r"log\.csv: is no log of commands: line 4"):
        read_commands(path)


def test_what_cannot_be_read_as_text_is_refused(tmp_path: Path) -> None:
    """A folder and a picture are no logs."""
    with pytest.raises(ConfigError, match=r"expected a readable log of commands: Is a directory$"):
        read_commands(tmp_path)
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xff\xd8\n")
    with pytest.raises(ConfigError, match=r"log\.csv: is no log of commands: it is no text$"):
        read_commands(path)


def test_a_row_says_what_the_tick_did() -> None:
    """The row of a tick has its command and level, and no step where none began."""
    executor = ChunkExecutor(ExecutorConfig(ActionSpec(DIMENSIONS), 10.0, 100.0, 50), np.array([5.0, 0.0]))
    for number, now_ns in enumerate((60, 70)):
        tick = executor.tick(now_ns, Observation(0, now_ns, np.array([5.0, 0.0]), np.zeros(0)))
        row = row_of(executor, tick, now_ns)
        assert row.tick == number
    assert (row.t_ns, row.level, row.epoch, row.left) == (70, SafetyLevel.RUN, 1, 0)
    assert (row.step, row.captured_ns) == (None, None)
    assert row.age_limit_ns == executor.age_limit_ns
    assert row.command.tolist() == [5.0, 0.0]
    assert row.moved == Moved()


def test_a_row_says_what_came_of_the_command() -> None:
    """What the driver applied and where the robot was are in the row; of an earlier tick with its age."""
    executor = ChunkExecutor(ExecutorConfig(ActionSpec(DIMENSIONS), 10.0, 100.0, 50), np.array([5.0, 0.0]))
    tick = executor.tick(60, Observation(0, 60, np.array([5.0, 0.0]), np.zeros(0)))
    known = np.array([4.0, 0.0])
    row = row_of(executor, tick, 60, applied=known, measured=known, captured_ns=45)
    assert (row.applied is known, row.moved.measured is known, row.moved.state_age_ns) == (True, True, 15)
    for fresh in (60, 75, None):
        assert row_of(executor, tick, 60, measured=known, captured_ns=fresh).moved.state_age_ns is None
    for none in (np.array([4.0]), None):
        assert row_of(executor, tick, 60, applied=none).applied is None
    none = row_of(executor, tick, 60, applied=np.array([4.0, np.nan]))
    assert row_line(none).endswith(b",5.0,0.0,,,,\n")


def test_a_state_is_seen_as_an_action_is_told() -> None:
    """Of each dimension of an action stands what is observed under its name and unit, or nothing."""
    pan, wheel = DIMENSIONS
    lift = Dimension("lift", "deg")
    spec = RobotSpec("odd", ObservationSpec((lift, pan)), ActionSpec((pan, wheel)))
    assert ActionView(spec).of(np.array([1.0, 2.0])).tolist()[0] == 2.0
    assert np.isnan(ActionView(spec).of(np.array([1.0, 2.0]))[1])
    blind = RobotSpec("blind", ObservationSpec(()), ActionSpec((wheel,)))
    assert np.isnan(ActionView(blind).of(np.zeros(0))).all()


def test_a_row_costs_microseconds() -> None:
    """A row of six joints is made into text in some microseconds, next to nothing of a tick."""
    command, applied, measured = np.random.default_rng(0).normal(size=(3, 6))
    facts = (10**6, 2**60, SafetyLevel.RUN, 1, 4, 2**60, 10**9, 7)
    row = CommandRow(*facts, command, Moved(applied, measured, 10**9))
    took = []
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(100):
            row_line(row)
        took.append((time.perf_counter() - began) / 100)
    sys.stdout.write(f"{min(took) * 1e6:.1f} us a row\n")
    assert min(took) < 100e-6
