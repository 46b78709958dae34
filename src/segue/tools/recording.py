"""A run's log of commands as a path that can be followed again.

Only what began or followed a plan is part of it: where an arm was held, parked or
waited it was not told to go anywhere. What was commanded is taken, not what was
planned, so limits and ramps are already in it: a step's action is where the
commands were when it ended. Where the plan was interrupted the arm may go on
from elsewhere, and a slow line joins the two ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from segue.client.commands import CommandLogHeader, CommandRow, read_commands
from segue.core.motion import PARK_SPEED_SHARE
from segue.core.specs import ActionSpec, Kind
from segue.core.types import FloatArray
from segue.core.watchdog import SafetyLevel
from segue.errors import ConfigError
from segue.policies.recorded import Recording, slow_line

# Three hours of a hundred commands a second; in memory a command takes about as much as its row of text.
MAX_BYTES = 384 << 20
MAX_LINE_S = 3600.0


def read_recording(folder: Path, speed: float) -> Recording:
    """Returns the path of the run in `folder`, to be followed at `speed` times its pace.

    Raises:
        ConfigError: there is no log of commands, or it is spoilt, or no step was begun.
    """
    path = folder / "commands.csv"
    if not path.is_file():
        raise ConfigError(
            f"run: {folder}: has no commands.csv; expected the folder of a run with record_commands"
        )
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{path}: is too long to be replayed; expected at most {MAX_BYTES >> 20} MiB")
    header, rows = read_commands(path, commands_only=True)
    stretches = [_sampled(header, rows[slice_]) for slice_ in _stretches(rows)]
    if not stretches:
        raise ConfigError(f"run: {folder}: began no step, so there is nothing to replay")
    _check_reach(path, header, stretches)
    recorded = Recording(header.dimensions, header.action_hz, np.concatenate(stretches)).at_speed(speed)
    return _joined(recorded, [len(each) for each in stretches])


def _check_reach(path: Path, header: CommandLogHeader, stretches: Sequence[FloatArray]) -> None:
    """Refuses a path with places to which the slow line would go on and on."""
    action = ActionSpec(header.dimensions)
    furthest = np.max([np.abs(each).max(axis=0) for each in stretches], axis=0)
    # From one end to the other; an arm is about as far away as that at the most.
    line_s = 2 * furthest / (PARK_SPEED_SHARE * action.array("max_speed"))
    for name, far, position, s in zip(
        action.names, furthest, action.mask(Kind.POSITION), line_s, strict=True
    ):
        if position and s > MAX_LINE_S:
            says = f"{name}: {far:g} cannot be reached within an hour at the recorded max_speed"
            raise ConfigError(f"{path}: is spoilt: {says}")


def _stretches(rows: Sequence[CommandRow]) -> Iterator[slice]:
    """Yields the rows of each stretch of plan: from a step on, up to a hold or a missing row."""
    start: int | None = None
    for i, row in enumerate(rows):
        broken = row.level >= SafetyLevel.HOLD or (i > 0 and row.tick != rows[i - 1].tick + 1)
        if start is not None and broken:
            yield slice(start, i)
            start = None
        if start is None and row.step is not None and row.level < SafetyLevel.HOLD:
            start = i
    if start is not None:
        yield slice(start, len(rows))


def _sampled(header: CommandLogHeader, rows: Sequence[CommandRow]) -> FloatArray:
    """Returns where each step of a stretch led, shape (n, A)."""
    commands = np.array([row.command for row in rows])
    ticks = header.control_hz / header.action_hz
    begins = np.array([i for i, row in enumerate(rows) if row.step is not None])
    # After a pause, which is longer than any step, the steps are counted anew.
    runs = np.split(begins, np.flatnonzero(np.diff(begins) > math.ceil(ticks)) + 1)
    ends = [*(run[0] for run in runs[1:]), len(rows)]
    parts = [_even(header, commands[run[0] : end], len(run)) for run, end in zip(runs, ends, strict=True)]
    return np.concatenate(parts)


def _even(header: CommandLogHeader, commands: FloatArray, steps: int) -> FloatArray:
    """Returns where each of `steps` led that followed each other, shape (steps, A).

    A step is seldom a whole number of ticks: of 3.3 ticks it lasts three or four. Taken at their
    last ticks, long and short ones would come out equally long, and the path uneven.

    Args:
        header: has the rates.
        commands: of these steps and what followed them, shape (N, A).
        steps: at least 1.
    """
    last = len(commands) - 1
    at = np.minimum(np.arange(1, steps + 1) * header.control_hz / header.action_hz - 1, last)
    at[-1] = last
    low = np.floor(at).astype(int)
    towards = commands[np.minimum(low + 1, last)] - commands[low]
    positions = ActionSpec(header.dimensions).mask(Kind.POSITION)
    found: FloatArray = commands[low] + np.where(positions, (at - low)[:, None] * towards, 0.0)
    return found


def _joined(recording: Recording, lengths: Sequence[int]) -> Recording:
    """Returns `recording` with a slow line between each two of its stretches, of `lengths` steps."""
    parts = np.split(recording.actions, np.cumsum(lengths)[:-1])
    path = [parts[0]]
    for before, after in pairwise(parts):
        path += [slow_line(recording, before[-1], after[0])[:-1], after]
    return Recording(recording.dimensions, recording.action_hz, np.concatenate(path))
