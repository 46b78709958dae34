"""Judges a log of commands: whether the arm ever moved wrongly.

The judge sees only the log (`segue.client.commands`) and shares no code
with what decided it: epochs, steps under way, ramps and limits are worked out
again from the rows and the header, straight from the promises. So a mistake of
the executor cannot hide behind itself. Every rule that is broken is named with
the numbers that break it. Minutes are judged in milliseconds: all is NumPy.

    header, rows = read_commands(path)
    assert_clean(rows, header)

What it allows is what FAULTS promises and no more: after the last step a
command may go on towards its target only where the speed limit held it back,
and no longer than a hold's ramp. Rows may be missing, as where the recorder
did not keep up. After a gap whatever may have happened in it is taken to have
happened just then; all that is there is judged, and nothing else.

Commands are what was meant. What the driver says that it made of them is judged
too; whether it says the truth, `goal_checker` sees from what the motors took.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from segue.client.commands import CommandLogHeader, CommandRow
from segue.core.specs import Kind
from segue.core.types import FloatArray
from segue.core.watchdog import SafetyLevel

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
TOLERANCE = 1e-9  # share of a number's size: double precision, some operations long
GRID_TOLERANCE_NS = 2.0  # a period need not be a whole number of nanoseconds
SHOWN = 10
NEVER = 1 << 40  # ticks
SLEEP_NS = NS_PER_S  # a computer that slept for longer may stop an arm on its way to rest

_RUNNING = (SafetyLevel.RUN, SafetyLevel.DEGRADED, SafetyLevel.STARVED)
_GOES_ON = (SafetyLevel.RUN, SafetyLevel.DEGRADED)
# What may follow what, from the text of the promises; staying is always allowed.
_FOLLOWS = {
    **dict.fromkeys(_RUNNING, (*_RUNNING, SafetyLevel.HOLD, SafetyLevel.FAULT)),
    SafetyLevel.HOLD: (*_GOES_ON, SafetyLevel.FAULT, SafetyLevel.PARK),
    SafetyLevel.PARK: (*_GOES_ON, SafetyLevel.FAULT),
    SafetyLevel.FAULT: (),
}


class Rule(StrEnum):
    """What a log must keep to."""

    AGE = "age"  # no action begins older than its age limit, and no limit is above the ceiling
    TWICE = "twice"  # no step begins twice
    BACKWARD = "backward"  # steps only go up
    EPOCH = "epoch"  # no action from before its epoch or the last hold; epochs only go up
    EARLY = "early"  # no step begins before the one before it has had its time
    SPEED = "speed"  # no command changes faster than allowed
    LIMITS = "limits"  # no command leaves the position limits, none is no number
    HELD = "held"  # nothing moves once the last step has ended
    REST = "rest"  # nothing moves in HOLD and FAULT after the ramp, and PARK moves in a straight line
    BEGUN_AT_REST = "begun_at_rest"  # no step begins in HOLD, FAULT or PARK
    LEVELS = "levels"  # PARK only from HOLD, FAULT stays
    GRID = "grid"  # ticks count up and are later than those before, whole periods apart
    LEAP = (
        "leap"  # nothing that a driver applies, or a motor takes, is further than a tick's way from the last
    )
    ASTRAY = "astray"  # a driver goes where it was told to go, or to where the joint is
    RUSH = "rush"  # goals that come all at once stay within what the speed limit allows for their time
    REPORT = "report"  # what a driver says that it applied is what the motor has


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule broken on one tick: when, and in words."""

    rule: Rule
    t_ns: int
    text: str

    def __str__(self) -> str:
        return f"{self.rule.value} at {self.t_ns}: {self.text}"


@dataclass(frozen=True, slots=True)
class _Log:
    """The rows as columns, N rows of A numbers.

    Attributes:
        tick, t, level, epoch, limit: shape (N,), as in `CommandRow`.
        begins: shape (K,), the rows on which a step begins.
        step, captured: shape (K,), of those rows.
        command: shape (N, A).
    """

    header: CommandLogHeader
    tick: IntArray
    t: IntArray
    level: IntArray
    epoch: IntArray
    limit: IntArray
    begins: IntArray
    step: IntArray
    captured: IntArray
    command: FloatArray

    @classmethod
    def of(cls, rows: Sequence[CommandRow], header: CommandLogHeader) -> _Log:
        """Turns rows into columns."""
        begun = [(i, r.step, r.captured_ns or 0) for i, r in enumerate(rows) if r.step is not None]
        begins, step, captured = np.array(begun, dtype=np.int64).reshape(-1, 3).T
        plain = [(r.tick, r.t_ns, r.level, r.epoch, r.age_limit_ns) for r in rows]
        tick, t, level, epoch, limit = np.array(plain, dtype=np.int64).T
        command = np.array([r.command for r in rows], dtype=np.float64)
        return cls(header, tick, t, level, epoch, limit, begins, step, captured, command)

    @property
    def gap(self) -> BoolArray:
        """Whether rows are missing right before this one, shape (N,)."""
        return np.asarray(np.diff(self.tick, prepend=-1) > 1)

    @property
    def change(self) -> FloatArray:
        """The command minus that of the row before, shape (N, A); zero in the first row."""
        return np.diff(self.command, axis=0, prepend=self.command[:1])

    def ticks(self, seconds: float) -> int:
        """Returns how many ticks a ramp of `seconds` lasts, one at least."""
        return max(1, round(seconds * self.header.control_hz))

    def kind(self, *kinds: Kind) -> BoolArray:
        """Returns which dimensions are of `kinds`, shape (A,)."""
        return np.array([d.kind in kinds for d in self.header.dimensions], dtype=np.bool_)

    def array(self, name: str) -> FloatArray:
        """Returns one numeric field of all dimensions, shape (A,)."""
        return np.array([getattr(d, name) for d in self.header.dimensions], dtype=np.float64)

    def reach(self) -> FloatArray:
        """Returns how far a command may go in one tick, shape (A,); discrete dimensions jump."""
        reach = self.array("max_speed") / self.header.control_hz
        return np.where(self.kind(Kind.DISCRETE), np.inf, reach)

    def slack(self) -> FloatArray:
        """Returns what rounding may do to a command, shape (N, A)."""
        return np.asarray(TOLERANCE * np.maximum(1.0, np.abs(self.command)))

    def entered(self, *levels: SafetyLevel) -> BoolArray:
        """Returns on which rows one of `levels` is entered, from another level or by the log's begin."""
        changed = np.diff(self.level, prepend=-1) != 0
        return np.asarray(changed & np.isin(self.level, levels))

    def began(self) -> BoolArray:
        """Returns on which rows a step begins, shape (N,)."""
        began = np.zeros(len(self.t), dtype=np.bool_)
        began[self.begins] = True
        return began

    def name(self, dimension: int) -> str:
        """Returns a dimension with its unit, for a sentence."""
        found = self.header.dimensions[dimension]
        return f"{found.name} [{found.unit}]"


def missing_rows(rows: Sequence[CommandRow]) -> int:
    """Returns how many ticks up to the last row have no row; one that is missing breaks no rule."""
    return max(0, rows[-1].tick + 1 - len(rows)) if rows else 0


def check_commands(rows: Sequence[CommandRow], header: CommandLogHeader) -> list[Violation]:
    """Returns every rule that the log breaks, in order of time; one sentence per rule and tick.

    Args:
        rows: one per tick, in the order in which they were written.
        header: what the numbers are.
    """
    from segue.testing.applied_rules import judge_applied  # which uses the words above

    if not rows:
        return []
    with np.errstate(invalid="ignore"):  # what is no number is reported by its own rule
        log = _Log.of(rows, header)
        found = [each for rule in _RULES for each in rule(log)]
        found += judge_applied(rows, header)
    return sorted(found, key=lambda v: v.t_ns)


def assert_clean(rows: Sequence[CommandRow], header: CommandLogHeader) -> None:
    """Fails unless the log breaks no rule; a log without rows proves nothing and fails too.

    Raises:
        AssertionError: it does; with the counts of every rule and the first sentences.
    """
    if not rows:
        raise AssertionError("the log of commands has no rows")
    found = check_commands(rows, header)
    if found:
        counts = Counter(v.rule.value for v in found)
        head = ", ".join(f"{rule} {count}x" for rule, count in counts.items())
        said = "\n  ".join(map(str, found[:SHOWN]))
        missing = missing_rows(rows)
        beside = f" ({missing} more are missing)" if missing else ""
        raise AssertionError(f"in {len(rows)} commands{beside}: {head}\n  {said}")


def _since(mask: BoolArray) -> IntArray:
    """Returns how many rows ago `mask` was last true, shape (N,): 0 where it is; long where it never was."""
    rows = np.arange(len(mask))
    return np.asarray(rows - np.maximum.accumulate(np.where(mask, rows, -NEVER)))


def _before(values: IntArray) -> IntArray:
    """Returns the greatest value before each, shape (K,); for the first, one less than itself."""
    return np.maximum.accumulate(np.concatenate([values[:1] - 1, values[:-1]]))


# --- what begins --------------------------------------------------------------------------------


def _age(log: _Log) -> Iterator[Violation]:
    age, limit = log.t[log.begins] - log.captured, log.limit[log.begins]
    for k in np.flatnonzero(age > limit):
        text = f"step {log.step[k]} begins {age[k] / NS_PER_MS:.3f} ms old, limit {limit[k] / NS_PER_MS:.3f}"
        yield Violation(Rule.AGE, int(log.t[log.begins[k]]), text)
    ceiling_ns = log.header.age_ceiling_ns
    if ceiling_ns is None:
        return
    for i in np.flatnonzero(log.limit > ceiling_ns):
        text = f"actions may be {log.limit[i] / NS_PER_MS:.3f} ms old, ceiling {ceiling_ns / NS_PER_MS:.3f}"
        yield Violation(Rule.AGE, int(log.t[i]), text)


def _order(log: _Log) -> Iterator[Violation]:
    latest = _before(log.step)
    for k in np.flatnonzero(log.step <= latest):
        t_ns, step = int(log.t[log.begins[k]]), log.step[k]
        if (log.step[:k] == step).any():
            yield Violation(Rule.TWICE, t_ns, f"step {step} begins a second time")
        else:
            yield Violation(Rule.BACKWARD, t_ns, f"step {step} begins after step {latest[k]}")


def _epochs(log: _Log) -> Iterator[Violation]:
    latest = _before(log.epoch)
    for i in np.flatnonzero(log.epoch < latest):
        yield Violation(Rule.EPOCH, int(log.t[i]), f"epoch {log.epoch[i]} follows epoch {latest[i]}")
    # A hold makes everything stale that was seen before it, whatever the epochs say.
    anew = (log.epoch > latest) | log.entered(SafetyLevel.HOLD, SafetyLevel.FAULT)
    anew[0] = True
    # What began in a gap began after the last row that there is; before the first there is none.
    began_ns = np.where(log.gap, np.concatenate([[0], log.t[:-1]]), log.t)
    since_ns = began_ns[np.arange(len(log.t)) - _since(anew)]
    for k in np.flatnonzero(log.captured < since_ns[log.begins]):
        i = log.begins[k]
        late_ms = (since_ns[i] - log.captured[k]) / NS_PER_MS
        text = (
            f"step {log.step[k]} was seen {late_ms:.3f} ms before epoch {log.epoch[i]} or the last hold began"
        )
        yield Violation(Rule.EPOCH, int(log.t[i]), text)


def _early(log: _Log) -> Iterator[Violation]:
    shortest = math.floor(_ticks_per_step(log))
    may_rest = np.cumsum((log.level >= SafetyLevel.HOLD) | log.gap)
    apart, rested = np.diff(log.begins), np.diff(may_rest[log.begins])
    for k in np.flatnonzero((apart < shortest) & (rested == 0)) + 1:
        text = f"step {log.step[k]} begins {apart[k - 1]} ticks after the last, a step lasts {shortest}"
        yield Violation(Rule.EARLY, int(log.t[log.begins[k]]), text)


def _begun_at_rest(log: _Log) -> Iterator[Violation]:
    level = log.level[log.begins]
    for k in np.flatnonzero(level >= SafetyLevel.HOLD):
        text = f"step {log.step[k]} begins in {SafetyLevel(level[k]).name}"
        yield Violation(Rule.BEGUN_AT_REST, int(log.t[log.begins[k]]), text)


def _ticks_per_step(log: _Log) -> Fraction:
    return Fraction(log.header.control_hz) / Fraction(log.header.action_hz)


# --- how it moves -------------------------------------------------------------------------------


def _speed(log: _Log) -> Iterator[Violation]:
    ticks = np.maximum(1, np.diff(log.tick, prepend=log.tick[:1]))
    moved, reach = np.abs(log.change), ticks[:, None] * log.reach()
    for i, d in _first_per_row(moved > reach + log.slack()):
        limit = f"limit {reach[i, d]:.9g}"
        text = f"{log.name(d)} changes by {moved[i, d]:.9g} within {ticks[i]} ticks, {limit}"
        yield Violation(Rule.SPEED, int(log.t[i]), text)


def _limits(log: _Log) -> Iterator[Violation]:
    low, high = log.array("low"), log.array("high")
    finite = np.isfinite(log.command)
    for i, d in _first_per_row(~finite):
        yield Violation(Rule.LIMITS, int(log.t[i]), f"{log.name(d)} is {log.command[i, d]}")
    outside = np.where(finite, np.maximum(0.0, np.maximum(low - log.command, log.command - high)), 0.0)
    before = np.concatenate([outside[:1], outside[:-1]])  # an arm that starts outside may come back
    for i, d in _first_per_row(outside > before + log.slack()):
        text = f"{log.name(d)} goes to {log.command[i, d]:.9g}, allowed {low[d]:.9g} to {high[d]:.9g}"
        yield Violation(Rule.LIMITS, int(log.t[i]), text)


def _held(log: _Log) -> Iterator[Violation]:
    """Finds what moves although no step, ramp or parking is under way."""
    may_move = _may_move(log)
    at_rest = log.level >= SafetyLevel.HOLD
    steady = log.kind(Kind.POSITION, Kind.DISCRETE)
    flowing = ~steady & (np.abs(log.command) > log.slack())
    wrong = np.where(steady, np.abs(log.change) > log.slack(), flowing)
    still = ~may_move & (np.arange(len(log.t)) > 0)
    wrong &= still[:, None] & ~_finishing(log, may_move)
    since = _since(may_move)
    for i, d in _first_per_row(wrong):
        rule = Rule.REST if at_rest[i] else Rule.HELD
        what = f"changes by {log.change[i, d]:.9g} to" if steady[d] else "is still at"
        level = SafetyLevel(log.level[i]).name
        text = (
            f"{log.name(d)} {what} {log.command[i, d]:.9g} in {level}, {since[i]} ticks after it was to rest"
        )
        yield Violation(rule, int(log.t[i]), text)


def _may_move(log: _Log) -> BoolArray:
    """Returns on which rows a step, a ramp into or out of a hold, or parking is under way, shape (N,).

    Any of them may have begun in a gap.
    """
    header, gap = log.header, log.gap
    held = np.isin(log.level, (SafetyLevel.HOLD, SafetyLevel.FAULT))
    parked = log.level == SafetyLevel.PARK
    running = ~held & ~parked
    previous = np.concatenate([[False], ~running[:-1]])
    stepping = running & (_since(log.began() | gap) < math.ceil(_ticks_per_step(log)))
    resuming = running & (_since(running & previous | gap) < log.ticks(header.resume_ramp_s))
    stops = log.entered(SafetyLevel.HOLD, SafetyLevel.FAULT) | gap
    stopping = held & (_since(stops) < log.ticks(header.hold_ramp_s))
    parks = log.entered(SafetyLevel.PARK) | gap
    parking = parked & (_since(parks) < math.ceil(header.park_s * header.control_hz))
    return np.asarray(stepping | resuming | stopping | parking)


def _finishing(log: _Log, may_move: BoolArray) -> BoolArray:
    """Returns which numbers still go where the speed limit kept them from being, shape (N, A)."""
    full = np.abs(log.change) >= log.reach() - log.slack()
    was_full = np.concatenate([full[:1] & False, full[:-1]])
    same_way = log.change * np.concatenate([log.change[:1], log.change[:-1]]) >= 0
    # Positions finish the way to a target; the others brake, each tick as much as they may.
    braking = full & (log.change * log.command < 0)
    unknown = np.concatenate([[False], log.gap[:-1]])[:, None]  # how fast it was before
    finishing = np.where(log.kind(Kind.POSITION), was_full & same_way | unknown, braking)
    in_time = (_since(may_move) <= log.ticks(log.header.hold_ramp_s)) & (log.level < SafetyLevel.HOLD)
    return np.asarray(finishing & in_time[:, None])


def _parking(log: _Log) -> Iterator[Violation]:
    """Finds parking that is not a straight line: every position the same share of its way, never back."""
    # A part of a straight line is straight: one line ends at a gap, another begins.
    parked = log.level == SafetyLevel.PARK
    for start in map(int, np.flatnonzero(log.entered(SafetyLevel.PARK) | (parked & log.gap))):
        ends = np.flatnonzero((~parked | log.gap)[start + 1 :])
        stop = start + 1 + int(ends[0]) if len(ends) else len(log.t)
        yield from _line(log, start if log.gap[start] else max(start - 1, 0), stop)


def _line(log: _Log, start: int, stop: int) -> Iterator[Violation]:
    """Judges the rows after `start`, where the line begins, up to `stop`."""
    here = slice(start, stop)
    straight = log.kind(Kind.POSITION)
    way = np.where(straight, log.command[here] - log.command[start], 0.0)
    whole, slack = way[-1], 10 * np.max(log.slack()[here])
    share = way @ whole / max(float(whole @ whole), np.finfo(float).tiny)
    back = np.diff(share, prepend=0.0)[:, None] * np.abs(whole) < -slack
    # A dimension held back by its speed limit leaves the line, and may; it still may not turn back.
    limited = (np.abs(log.change[here]) >= log.reach() - log.slack()[here])[1:].any()
    off = np.abs(way - share[:, None] * whole) > (np.inf if limited else slack)
    jumped = log.kind(Kind.DISCRETE) & (np.abs(log.change[here]) > slack)
    jumped[0] = False
    for i, d in _first_per_row(back | off | jumped):
        text = f"{log.name(d)} at {log.command[start + i, d]:.9g} is off the straight line to rest"
        yield Violation(Rule.REST, int(log.t[start + i]), text)


def _first_per_row(wrong: BoolArray) -> Iterator[tuple[int, int]]:
    """Yields (row, first dimension) of every row in which anything is wrong."""
    for i in np.flatnonzero(wrong.any(axis=1)):
        yield int(i), int(np.argmax(wrong[i]))


# --- when and at which level --------------------------------------------------------------------


def _levels(log: _Log) -> Iterator[Violation]:
    if log.level[0] == SafetyLevel.PARK and not log.gap[0]:
        yield Violation(Rule.LEVELS, int(log.t[0]), "the log begins in PARK")
    known = ~log.gap[1:] | (log.level[:-1] == SafetyLevel.FAULT)  # a fault stays, whatever is missing
    parked = (log.level[:-1] == SafetyLevel.PARK) & (log.level[1:] == SafetyLevel.HOLD)
    known &= ~(parked & (np.diff(log.t) > SLEEP_NS))
    for i in np.flatnonzero((np.diff(log.level) != 0) & known) + 1:
        before, after = SafetyLevel(log.level[i - 1]), SafetyLevel(log.level[i])
        if after not in _FOLLOWS[before]:
            yield Violation(Rule.LEVELS, int(log.t[i]), f"{after.name} follows {before.name}")


def _grid(log: _Log) -> Iterator[Violation]:
    apart_ns, counted = np.diff(log.t), np.diff(log.tick)
    period_ns = NS_PER_S / log.header.control_hz
    periods = np.rint(apart_ns / period_ns)
    off_ns = np.abs(apart_ns - periods * period_ns)
    # A tick may be left out, and is not counted then; none comes before its time.
    wrong = (counted < 1) | (periods < counted) | (off_ns > GRID_TOLERANCE_NS)
    for i in np.flatnonzero(wrong) + 1:
        text = (
            f"tick {log.tick[i]} comes {apart_ns[i - 1]} ns after tick {log.tick[i - 1]}, "
            f"the period is {period_ns:.1f} ns"
        )
        yield Violation(Rule.GRID, int(log.t[i]), text)


_RULES: tuple[Callable[[_Log], Iterator[Violation]], ...] = (
    _age,
    _order,
    _epochs,
    _early,
    _begun_at_rest,
    _speed,
    _limits,
    _held,
    _parking,
    _levels,
    _grid,
)
