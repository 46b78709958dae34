"""What a check found: fine, doubtful or wrong, in one sentence with its remedy.

A check is a function that returns what it saw, or raises what `segue run` would
raise; the exit code is that error's, so whoever scripts a check gets the code
that the run would have ended with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from segue.errors import SegueError


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: of what was looked at, such as ``calibration`` or ``camera front``.
        says: what was seen, and what to do about it.
        exit_code: that a failure asks for; 0 for the other verdicts.
    """

    name: str
    verdict: Verdict
    says: str
    exit_code: int = 0


def tried(name: str, look: Callable[[], str | Check]) -> Check:
    """Returns what `look` found; a sentence means that all is well."""
    try:
        found = look()
    except SegueError as error:
        return Check(name, Verdict.FAIL, str(error), error.exit_code)
    return found if isinstance(found, Check) else Check(name, Verdict.OK, found)


def doubt(name: str, says: str) -> Check:
    """Returns a finding that a run may live with."""
    return Check(name, Verdict.WARN, says)


def exit_code(checks: Iterable[Check]) -> int:
    """Returns the code of the first failure; 0 when there is none."""
    return next((each.exit_code for each in checks if each.verdict is Verdict.FAIL), 0)
