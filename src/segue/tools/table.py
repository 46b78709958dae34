"""Runs side by side, as aligned text.

Columns are data: a heading of two lines, and how to read the value from a summary. A value that a
run does not have is a dash, never a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Summary = Mapping[str, Any]
ABSENT = "–"


def strategy_table(summaries: Mapping[str, Summary]) -> str:
    """Returns one line per run, with a heading.

    Args:
        summaries: name of the strategy to the contents of its summary.json.
    """
    headings = [("strategy", *column) for column in zip(*(heading for heading, _ in COLUMNS), strict=True)]
    headings[1] = ("", *headings[1][1:])
    rows = [(name, *(read(summary) for _, read in COLUMNS)) for name, summary in summaries.items()]
    widths = [max(map(len, column)) for column in zip(*headings, *rows, strict=True)]
    rule = ["─" * width for width in widths]
    return "\n".join(_line(row, widths) for row in (*headings, rule, *rows))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = (
        cell.ljust(width) if k == 0 else cell.rjust(width)
        for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join((name, *numbers)).rstrip()


def _one(key: str, digits: int = 0, inner: str | None = None) -> Callable[[Summary], str]:
    return lambda summary: _number(_get(summary, key, inner), digits)


def _two(key: str, first: str, second: str, digits: int = 0) -> Callable[[Summary], str]:
    def read(summary: Summary) -> str:
        return " / ".join(_number(_get(summary, key, inner), digits) for inner in (first, second))

    return read


def _lifted(summary: Summary) -> str:
    return " / ".join(_number(summary.get(key), 0) for key in ("successes", "cubes_offered"))


def _get(summary: Summary, key: str, inner: str | None) -> object:
    value = summary.get(key)
    if inner is None:
        return value
    return value.get(inner) if isinstance(value, Mapping) else None


def _number(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else ABSENT


COLUMNS: Sequence[tuple[tuple[str, str], Callable[[Summary], str]]] = (
    (("lifted", "/ offered"), _lifted),
    (("starved", "ticks"), _one("starved_ticks")),
    (("waiting", "ticks"), _one("waiting_ticks")),
    (("seam", "jerk"), _one("seam_jerk", 2)),
    (("round trip", "ms p50 / p95"), _two("round_trip_ms", "p50", "p95")),
    (("delay", "steps p50 / p95"), _two("delay_steps", "p50", "p95")),
    (("lateness", "ms p99"), _one("tick_lateness_ms", 1, "p99")),
    (("skipped", "steps"), _one("skipped_steps")),
    (("dropped", "chunks"), _one("dropped_chunks")),
)
