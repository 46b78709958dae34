"""The table shows each run's numbers in their columns, and a dash for what is missing."""

from __future__ import annotations

from segue.tools.report import strategy_table
from tests.unit.tools.samples import summary

TABLE = """\
strategy     lifted  starved  waiting  seam    round trip            delay  lateness  skipped  dropped
          / offered    ticks    ticks  jerk  ms p50 / p95  steps p50 / p95    ms p99    steps   chunks
────────  ─────────  ───────  ───────  ────  ────────────  ───────────────  ────────  ───────  ───────
rtc         19 / 20        1        1  4.03     322 / 331          10 / 11       7.2     1298        1
empty         – / –        –        –     –         – / –            – / –         –        –        –
"""


def test_columns_are_aligned_and_what_is_missing_is_a_dash() -> None:
    """The whole table is as a person expects it, a run without numbers included."""
    rows = [(0.0, 0, "WAITING", ""), (0.3, 0, "STARVED", 9)]
    assert strategy_table({"rtc": summary(rows), "empty": {}}) + "\n" == TABLE


def test_a_value_that_was_never_measured_is_no_zero() -> None:
    """None in a summary, at any depth, becomes a dash."""
    nothing = {"successes": None, "seam_jerk": None, "delay_steps": {"p50": None, "p95": 3}}
    line = strategy_table({"x": nothing}).splitlines()[-1]
    assert "– / 3" in line
    assert "0" not in line
