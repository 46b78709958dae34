"""Findings: what a look returns or raises, and the code that all of them end with."""

from __future__ import annotations

import pytest

from segue.errors import ConfigError, SafetyLatch
from segue.tools.checks import Check, Verdict, doubt, exit_code, tried


def test_a_sentence_is_fine_and_an_error_is_a_failure_with_its_code() -> None:
    """What `segue run` would raise becomes a finding with the code that the run would end with."""

    def hot() -> str:
        raise SafetyLatch("too hot")

    assert tried("a", lambda: "seen") == Check("a", Verdict.OK, "seen", 0)
    assert tried("b", hot) == Check("b", Verdict.FAIL, "too hot", 80)
    assert tried("c", lambda: doubt("c", "well")) == Check("c", Verdict.WARN, "well", 0)


def test_a_bug_is_not_a_finding() -> None:
    """What Segue does not raise on purpose comes through."""
    with pytest.raises(ZeroDivisionError):
        tried("a", lambda: str(1 / 0))


def test_the_first_failure_says_the_code() -> None:
    """Doubts do not count, and without a failure it is 0."""
    wrong = [Check("a", Verdict.FAIL, "", each.exit_code) for each in (ConfigError(), SafetyLatch())]
    assert exit_code([doubt("x", ""), *wrong]) == 78
    assert exit_code([doubt("x", "")]) == 0
