"""The log of commands: one row for each tick, and its text form.

A row holds what was commanded and why it might be: the number of the tick and
its scheduled time, the safety level, the epoch, which step began and from which
observation, how old that might have been, what was still planned, the command
itself, what the driver says that it made of it, and where the robot was. Rows
may get lost on their way to the file; the tick numbers show it. Commands and
what was applied are written so that they are read back exactly; a judge that
saw rounded ones would find speeds that never were. The first line says, as JSON
behind a ``#``, what the numbers are. Logs of format 2, which end with the
command, are read as well. This file decides nothing and opens only what it reads.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from segue.clock import NS_PER_S
from segue.core.check import ANYTHING_MEANT
from segue.core.executor import ChunkExecutor
from segue.core.facts import Tick
from segue.core.specs import Dimension, RobotSpec
from segue.core.types import FloatArray
from segue.core.watchdog import SafetyConfig, SafetyLevel
from segue.errors import ConfigError

FORMAT = 3
READ_FORMATS = (2, 3)
MAX_HZ = 1000  # as for the flags of a run
COLUMNS = ("tick", "t_ns", "level", "epoch", "step", "captured_ns", "age_limit_ns", "left", "state_age_ns")
_COLUMNS_OF_2 = COLUMNS[:-1]
# Better than any encoder, and half as long as exact.
_MEASURED = "{:.7g}".format


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a command, and where the robot was before it; nobody knows, by default.

    Attributes:
        applied: the target that the driver says it applied, shape (A,), robot units; None where it failed.
        measured: where the robot was, shape (A,), NaN where that is not observed; None where nobody
            wrote it down.
        state_age_ns: how old `measured` was, where it could not be read in this tick.
    """

    applied: FloatArray | None = None
    measured: FloatArray | None = None
    state_age_ns: int | None = None


_UNKNOWN = Moved()


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One tick.

    Attributes:
        tick: its number; a run's first is 0, and periods without a tick are not counted.
        t_ns: its scheduled monotonic time.
        level: safety level of the tick.
        epoch: after the tick.
        step: the step that began on it; None when none did.
        captured_ns: stamp of the observation behind that step's action; None when none began.
        age_limit_ns: the oldest that an action might be.
        left: actions still planned after it.
        command: shape (A,), robot units.
        moved: what became of it.
    """

    tick: int
    t_ns: int
    level: SafetyLevel
    epoch: int
    step: int | None
    captured_ns: int | None
    age_limit_ns: int
    left: int
    command: FloatArray
    moved: Moved = _UNKNOWN

    @property
    def applied(self) -> FloatArray | None:
        """The target that the driver says it applied, shape (A,); None where it failed."""
        return self.moved.applied


@dataclass(frozen=True, slots=True)
class CommandLogHeader:
    """What the rows are of: rates in Hz, ramps and parking in seconds, and the dimensions of a command.

    With `dry_run` no command reached the robot. No age limit of a row may be above `age_ceiling_ns`,
    where there is one.
    """

    control_hz: float
    action_hz: float
    hold_ramp_s: float
    resume_ramp_s: float
    park_s: float
    dimensions: tuple[Dimension, ...]
    format: int = FORMAT
    dry_run: bool = False
    age_ceiling_ns: int | None = None

    @classmethod
    def of(
        cls, control_hz: float, action_hz: float, safety: SafetyConfig, dimensions: tuple[Dimension, ...]
    ) -> CommandLogHeader:
        """Returns the header of a run with these rates, this `safety` and commands of these `dimensions`."""
        return cls(
            control_hz=control_hz,
            action_hz=action_hz,
            hold_ramp_s=safety.hold_ramp_ns / NS_PER_S,
            resume_ramp_s=safety.resume_ramp_ns / NS_PER_S,
            park_s=safety.park_ns / NS_PER_S,
            dimensions=dimensions,
            age_ceiling_ns=safety.max_action_age_ns,
        )


class ActionView:
    """The state of a robot as its actions are: what is observed of each of their dimensions."""

    def __init__(self, spec: RobotSpec) -> None:
        columns = {(d.name, d.unit): index for index, d in enumerate(spec.observation.state)}
        found = [columns.get((d.name, d.unit), -1) for d in spec.action.dimensions]
        self._columns = np.array(found, dtype=np.int64)
        self._unseen = np.where(self._columns < 0, np.nan, 0.0)
        self._same = found == list(range(len(spec.observation.state)))

    def __repr__(self) -> str:
        return f"<ActionView {self._columns.tolist()}>"

    def of(self, state: FloatArray) -> FloatArray:
        """Returns `state`, shape (S,), as an action, shape (A,); NaN where that is not observed."""
        if self._same:
            return state
        if not len(state):
            return self._unseen + np.nan
        seen: FloatArray = state[self._columns] + self._unseen
        return seen


def row_of(
    executor: ChunkExecutor,
    tick: Tick,
    now_ns: int,
    *,
    applied: FloatArray | None = None,
    measured: FloatArray | None = None,
    captured_ns: int | None = None,
) -> CommandRow:
    """Returns the row of the tick that `executor` made last, at `now_ns`.

    Args:
        executor: which made it.
        tick: what it came to.
        now_ns: its scheduled time.
        applied: as the driver says, shape (A,); None when it failed.
        measured: where the robot was, shape (A,).
        captured_ns: when that was taken; None for just now.
    """
    began = tick.began
    age_ns = 0 if captured_ns is None else now_ns - captured_ns
    # What is no target at all ends the run, and is not logged.
    told = None if applied is None or applied.shape != tick.action.shape else applied
    return CommandRow(
        tick=executor.ticks - 1,
        t_ns=now_ns,
        level=tick.level,
        epoch=executor.epoch,
        step=began.step if began else None,
        captured_ns=began.captured_ns if began else None,
        age_limit_ns=executor.age_limit_ns,
        left=len(executor.queue),
        command=tick.action,
        moved=Moved(told, measured, age_ns if age_ns > 0 else None),
    )


def header_line(header: CommandLogHeader) -> bytes:
    """Returns the first two lines of a log."""
    # JSON has no infinity, but Python's reads and writes it, and nobody else reads this line.
    names = [d.name for d in header.dimensions]
    beside = [f"{what}.{name}" for what in ("applied", "measured") for name in names]
    return f"# {json.dumps(asdict(header))}\n{','.join((*COLUMNS, *names, *beside))}\n".encode()


def row_line(row: CommandRow) -> bytes:
    """Returns a row as a line."""
    step = "" if row.step is None else row.step
    captured = "" if row.captured_ns is None else row.captured_ns
    moved = row.moved
    age = "" if moved.state_age_ns is None else moved.state_age_ns
    command = row.command.tolist()
    values = ",".join(map(repr, command))
    applied = measured = "," * (len(command) - 1)
    if moved.applied is not None and all(map(math.isfinite, told := moved.applied.tolist())):
        applied = values if told == command else ",".join(map(repr, told))
    if moved.measured is not None:
        measured = ",".join(["" if math.isnan(each) else _MEASURED(each) for each in moved.measured.tolist()])
    when = f"{row.tick},{row.t_ns},{row.level.name},{row.epoch}"
    head = f"{when},{step},{captured},{row.age_limit_ns},{row.left},{age}"
    return f"{head},{values},{applied},{measured}\n".encode()


def read_commands(path: Path, commands_only: bool = False) -> tuple[CommandLogHeader, list[CommandRow]]:
    """Returns header and rows of a log; a last line that was cut off, as by a killed process, is left out.

    Args:
        path: of the file.
        commands_only: leaves out what became of the commands, which is most of a long log's memory.

    Raises:
        ConfigError: it is no such log, or one of another version, or it is spoilt.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file, commands_only)
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable log of commands: {error.strerror}") from None


def _read(path: Path, file: IO[bytes], commands_only: bool) -> tuple[CommandLogHeader, list[CommandRow]]:
    try:
        first = file.readline().decode()
    except ValueError:
        raise ConfigError(f"{path}: is no log of commands: it is no text") from None
    header = _header(path, first.removeprefix("# ") if first.endswith("\n") else "")
    file.readline()
    width, facts = len(header.dimensions), len(COLUMNS if header.format == FORMAT else _COLUMNS_OF_2)
    rows = []
    for number, line in enumerate(file, start=3):
        if not line.endswith(b"\n"):
            break
        try:
            row = _row(line[:-1].decode(), width, facts)
        except (ValueError, KeyError):
            raise ConfigError(
                f"{path}: is no log of commands: line {number}: expected {facts} facts about a tick "
                f"and a command of {width} finite numbers"
            ) from None
        rows.append(replace(row, moved=_UNKNOWN) if commands_only else row)
    return header, rows


def _header(path: Path, text: str) -> CommandLogHeader:
    from pydantic import TypeAdapter, ValidationError  # whoever only writes a log does without

    try:
        found = json.loads(text)["format"]
        if found not in READ_FORMATS:
            known = " and ".join(map(str, READ_FORMATS))
            says = f"a log of commands of format {reprlib.repr(found)}, this version of Segue reads {known}"
            raise ConfigError(f"{path}: is {says}")
        header = TypeAdapter(CommandLogHeader).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key, says = ".".join(map(str, first["loc"])), first["msg"]
        raise ConfigError(f"{path}: is no log of commands: {key}: {says}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(f"{path}: is no log of commands: its first line says no format") from None
    wrong = _wrong(header)
    if wrong:
        raise ConfigError(f"{path}: is no log of commands: {wrong}")
    return header


def _wrong(header: CommandLogHeader) -> str:
    """Returns what no run has, and what it would have; empty when all is well."""
    if not 0 < header.control_hz <= MAX_HZ:
        return f"control_hz: {header.control_hz:g}; expected a number above 0, at most {MAX_HZ}"
    if not 0 < header.action_hz <= header.control_hz:
        return f"action_hz: {header.action_hz:g}; expected a number above 0, at most control_hz"
    for name in ("hold_ramp_s", "resume_ramp_s", "park_s"):
        if not 0 <= getattr(header, name) < math.inf:
            return f"{name}: {getattr(header, name):g}; expected a number from 0 on"
    if not header.dimensions:
        return "dimensions: none; expected one at least"
    for each in header.dimensions:
        if not (each.low <= each.high and each.max_speed > 0):
            return f"dimensions: {reprlib.repr(each.name)}: expected low up to high, and a max_speed above 0"
    return ""


def _row(line: str, width: int, facts: int) -> CommandRow:
    """Returns a line as a row.

    Args:
        line: without its end.
        width: of a command.
        facts: cells before the command; of format 2, which ends with that, one less than now.

    Raises:
        ValueError: a cell is missing, too much, or no number.
        KeyError: there is no such level.
    """
    cells: Sequence[str] = line.split(",")
    tick, t_ns, level, epoch, step, captured, limit, left, *age = cells[:facts]
    parts = [cells[start : start + width] for start in range(facts, len(cells), width)]
    if [len(part) for part in parts] != [width] * (3 if age else 1):
        raise ValueError
    told, seen = parts[1:] or ([], [])
    return CommandRow(
        tick=int(tick),
        t_ns=int(t_ns),
        level=SafetyLevel[level],
        epoch=int(epoch),
        step=int(step) if step else None,
        captured_ns=int(captured) if captured else None,
        age_limit_ns=int(limit),
        left=int(left),
        command=_numbers(parts[0]),
        moved=Moved(
            _numbers(told) if any(told) else None,
            _measured(seen) if any(seen) else None,
            int(age[0]) if age and age[0] else None,
        ),
    )


def _measured(cells: Sequence[str]) -> FloatArray:
    found = np.array([float(cell) if cell else math.nan for cell in cells])
    _numbers([cell for cell in cells if cell])
    return found


def _numbers(cells: Sequence[str]) -> FloatArray:
    found = np.array([float(cell) for cell in cells])
    # Of NaN no comparison is true.
    if not (np.abs(found) <= ANYTHING_MEANT).all():
        raise ValueError
    return found
