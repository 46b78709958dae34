"""Judges what a driver says that it made of its commands: it neither leaps nor goes astray.

A driver may be slower than it was told, as one whose motors did not answer for a
moment is; it catches up within the speed limit of its own joints, counted from
what it applied last and not from the time that passed. It may hold back where a
joint is held, and round to what its motors can count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from segue.client.commands import CommandLogHeader, CommandRow
from segue.core.specs import Kind
from segue.core.types import FloatArray
from segue.testing.checker import BoolArray, Rule, Violation

# Of a tick's way, and of a joint's range: 4096 counts a turn are a two-thousandth of half of one.
_ROUGH_SHARE = 0.1
_ROUGH_RANGE = 1 / 2000
_EXACT = 1e-9


def judge_applied(rows: Sequence[CommandRow], header: CommandLogHeader) -> Iterator[Violation]:
    """Yields what is wrong with what was applied, as far as the log says it."""
    at = [i for i, row in enumerate(rows) if row.applied is not None]
    if len(at) < 2:
        return
    told = [rows[i] for i in at]
    applied, command = (np.array([getattr(row, name) for row in told]) for name in ("applied", "command"))
    nowhere = np.full(applied.shape[1], np.nan)
    measured = np.array([nowhere if (seen := row.moved.measured) is None else seen for row in told])
    # Of rows that are missing nobody knows what was applied; where it is missing nothing was.
    lost = (np.diff([row.tick for row in told]) - np.diff(at))[:, None]
    reach, rough = _reach(header), _rough(header)
    moved = np.abs(np.diff(applied, axis=0))
    for i, d in _worst(moved - rough > (1 + lost) * reach):
        text = f"{_name(header, d)}: what is applied leaps by {moved[i, d]:.9g}, limit {reach[d]:.9g} a tick"
        yield Violation(Rule.LEAP, told[i + 1].t_ns, text)
    for i, d in _worst((lost == 0) & _strays(applied, command, measured, rough)):
        now, before, wished = applied[i + 1, d], applied[i, d], command[i + 1, d]
        text = f"{_name(header, d)} was told {wished:.9g}, applied is {now:.9g} after {before:.9g}"
        yield Violation(Rule.ASTRAY, told[i + 1].t_ns, text)


def _strays(applied: FloatArray, command: FloatArray, measured: FloatArray, rough: FloatArray) -> BoolArray:
    """Returns where a driver goes further away from its command, and not to where the joint is."""
    off = np.abs(applied - command)
    had_it_stayed = np.abs(applied[:-1] - command[1:])
    comes = np.abs(applied[1:] - measured[1:]) < np.abs(applied[:-1] - measured[1:])
    strays: BoolArray = (off[1:] > np.maximum(off[:-1], had_it_stayed) + rough) & ~comes
    return strays


def _reach(header: CommandLogHeader) -> FloatArray:
    """Returns how far each joint may go in a tick, shape (A,); a discrete dimension jumps."""
    free = [d.kind is Kind.DISCRETE for d in header.dimensions]
    speed = np.array([d.max_speed for d in header.dimensions], dtype=float)
    return np.where(free, np.inf, speed / header.control_hz)


def _rough(header: CommandLogHeader) -> FloatArray:
    """Returns what a driver may round away, shape (A,)."""
    reach = _reach(header)
    span = np.array([d.high - d.low for d in header.dimensions], dtype=float)
    way = np.where(np.isfinite(reach), _ROUGH_SHARE * reach, _EXACT)
    return np.where(np.isfinite(span), way + _ROUGH_RANGE * span, way)


def _worst(wrong: BoolArray) -> Iterator[tuple[int, int]]:
    """Yields (row, first joint) of every row in which anything is wrong."""
    for i in np.flatnonzero(wrong.any(axis=1)):
        yield int(i), int(np.argmax(wrong[i]))


def _name(header: CommandLogHeader, dimension: int) -> str:
    found = header.dimensions[dimension]
    return f"{found.name} [{found.unit}]"
