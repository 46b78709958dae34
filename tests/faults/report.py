"""The table that `make faults` prints: one row per fault, with promise, measurement and verdict.

Machines are shared and noisy, so a promise in milliseconds is printed with what
was measured and fails only at five times of it; what is no duration (a state,
an exit code, a count of stale actions) holds or fails.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

# On a busy machine a real process is late through no fault of its own.
NOISE = 5.0
WIDTHS = (3, 30, 52, 58)


@dataclass
class Row:
    """One fault."""

    number: str
    fault: str
    promised: str
    measured: list[str] = field(default_factory=list)
    verdict: str = "not reached"
    late: bool = False

    def note(self, text: str) -> None:
        """Adds something that was measured and has no promise of its own."""
        self.measured.append(text)

    def within(self, what: str, measured_ms: float, promised_ms: float) -> None:
        """Holds a duration against its promise; five times of it fails."""
        digits = 0 if measured_ms >= 10 else 2
        self.measured.append(f"{what} {measured_ms:.{digits}f} ms (≤ {promised_ms:.0f})")
        self.late = self.late or measured_ms > promised_ms
        assert measured_ms <= NOISE * promised_ms, f"{self.fault}: {self.measured[-1]}"

    def judge(self, passed: bool, skipped: str = "") -> None:
        """Settles the verdict when its test has ended."""
        if skipped:
            self.verdict = f"skipped: {skipped}"
        elif not passed:
            self.verdict = "FAILS"
        else:
            self.verdict = "holds, slowly" if self.late else "holds"


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as text, in the order of their numbers."""
    lines = [_line(("#", "fault", "promised", "measured"), "verdict"), "-" * (sum(WIDTHS) + 4 * 2 + 8)]
    for row in sorted(rows, key=_order):
        lines += _wrapped(row)
    return "\n".join(lines)


def _order(row: Row) -> tuple[int, str]:
    digits = "".join(c for c in row.number if c.isdigit())
    return (int(digits) if digits else 99, row.number)


def _wrapped(row: Row) -> list[str]:
    cells = (row.number, row.fault, row.promised, "; ".join(row.measured))
    columns = [textwrap.wrap(c, w) or [""] for c, w in zip(cells, WIDTHS, strict=True)]
    height = max(len(column) for column in columns)
    padded = [column + [""] * (height - len(column)) for column in columns]
    return [
        _line(tuple(column[k] for column in padded), row.verdict if k == 0 else "") for k in range(height)
    ]


def _line(cells: tuple[str, ...], verdict: str) -> str:
    return "  ".join([*(f"{c:<{w}}" for c, w in zip(cells, WIDTHS, strict=True)), verdict]).rstrip()
