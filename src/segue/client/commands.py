"""The log of commands: one row for each tick, and its text form.

A row holds what was sent and why it might be sent: the number of the tick and
its scheduled time, the safety level, the epoch, which step began and from which
observation, how old that might have been, what was still planned, and the
command itself. Rows may get lost on their way to the file; the tick numbers
show it. Numbers are written so that they are read back exactly; a judge that
saw rounded ones would find speeds that never were. The first line says, as JSON
behind a ``#``, what the numbers are. This file decides nothing and opens only
what it reads.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from segue.clock import NS_PER_S
from segue.core.check import ANYTHING_MEANT
from segue.core.executor import ChunkExecutor
from segue.core.facts import Tick
from segue.core.specs import Dimension
from segue.core.types import FloatArray
from segue.core.watchdog import SafetyConfig, SafetyLevel
from segue.errors import ConfigError

FORMAT = 2
MAX_HZ = 1000  # as for the flags of a run
COLUMNS = ("tick", "t_ns", "level", "epoch", "step", "captured_ns", "age_limit_ns", "left")


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


def row_of(executor: ChunkExecutor, tick: Tick, now_ns: int) -> CommandRow:
    """Returns the row of the tick that `executor` made last, at `now_ns`."""
    began = tick.began
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
    )


def header_line(header: CommandLogHeader) -> bytes:
    """Returns the first two lines of a log."""
    # JSON has no infinity, but Python's reads and writes it, and nobody else reads this line.
    columns = (*COLUMNS, *(d.name for d in header.dimensions))
    return f"# {json.dumps(asdict(header))}\n{','.join(columns)}\n".encode()


def row_line(row: CommandRow) -> bytes:
    """Returns a row as a line."""
    step = "" if row.step is None else row.step
    captured = "" if row.captured_ns is None else row.captured_ns
    values = ",".join(map(repr, row.command.tolist()))
    when = f"{row.tick},{row.t_ns},{row.level.name},{row.epoch}"
    head = f"{when},{step},{captured},{row.age_limit_ns},{row.left}"
    return f"{head},{values}\n".encode()


def read_commands(path: Path) -> tuple[CommandLogHeader, list[CommandRow]]:
    """Returns header and rows of a log; a last line that was cut off, as by a killed process, is left out.

    Raises:
        ConfigError: it is no such log, or one of another version, or it is spoilt.
    """
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")[:-1]
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable log of commands: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path}: is no log of commands: it is no text") from None
    header = _header(path, lines[0].removeprefix("# ") if lines else "")
    rows = []
    for number, line in enumerate(lines[2:], start=3):
        try:
            rows.append(_row(line, len(header.dimensions)))
        except (ValueError, KeyError):
            raise ConfigError(
                f"{path}: is no log of commands: line {number}: expected {len(COLUMNS)} facts about a tick "
                f"and a command of {len(header.dimensions)} finite numbers"
            ) from None
    return header, rows


def _header(path: Path, text: str) -> CommandLogHeader:
    from pydantic import TypeAdapter, ValidationError  # whoever only writes a log does without

    try:
        found = json.loads(text)["format"]
        if found != FORMAT:
            says = f"a log of commands of format {reprlib.repr(found)}, this version of Segue reads {FORMAT}"
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


def _row(line: str, width: int) -> CommandRow:
    """Returns a line as a row.

    Raises:
        ValueError: a cell is missing, too much, or no number.
        KeyError: there is no such level.
    """
    cells: Sequence[str] = line.split(",")
    tick, t_ns, level, epoch, step, captured, limit, left = cells[: len(COLUMNS)]
    command = np.array([float(cell) for cell in cells[len(COLUMNS) :]])
    # Of NaN no comparison is true.
    if len(command) != width or not (np.abs(command) <= ANYTHING_MEANT).all():
        raise ValueError
    return CommandRow(
        tick=int(tick),
        t_ns=int(t_ns),
        level=SafetyLevel[level],
        epoch=int(epoch),
        step=int(step) if step else None,
        captured_ns=int(captured) if captured else None,
        age_limit_ns=int(limit),
        left=int(left),
        command=command,
    )
