"""A person at a terminal: lines one at a time, a table in place, and no waiting for nobody."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator

import pytest

from segue.cli.terminal import Terminal, way_table
from segue.errors import UsageError
from segue.tools.calibrate import Way

WAYS = [Way("shoulder_pan", 1000, 1500, 2000), Way("gripper", 2047, 2047, 2100)]
TABLE = [
    "  joint            min   pos   max",
    "  shoulder_pan    1000  1500  2000  moved",
    "  gripper         2047  2047  2100",
]


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Yields where to write what is typed."""
    theirs, ours = os.pipe()
    with os.fdopen(theirs) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield ours


def test_each_question_takes_one_line(keys: int, capsys: pytest.CaptureFixture[str]) -> None:
    """What was typed ahead answers the questions in turn, and ENTER is seen once for each time."""
    os.write(keys, b"yes \n\n\xff\n")
    terminal = Terminal("calibrate")
    assert terminal.ask("Sure?") == "yes"
    assert terminal.pressed()
    assert terminal.pressed()
    assert not terminal.pressed()
    assert capsys.readouterr().out == "segue calibrate: Sure?\n"
    os.close(keys)


def test_nobody_there_is_an_error_and_no_wait(keys: int) -> None:
    """At the end of the input both ways of asking say that a terminal is needed."""
    os.close(keys)
    for ask in (lambda: Terminal("calibrate").ask("Sure?"), Terminal("calibrate").pressed):
        with pytest.raises(UsageError, match="segue calibrate asks questions; run it in a terminal"):
            ask()


def test_the_table_is_aligned_and_ticks_off() -> None:
    """Joint, least, present and most stand in columns, and a joint that was moved says so."""
    assert way_table(WAYS) == TABLE


def test_the_table_is_drawn_over_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal the second table goes up by the lines of the first, unless something was said between."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    terminal = Terminal("calibrate")
    terminal.show(WAYS)
    first = capsys.readouterr().out
    assert first.replace("\033[2K", "") == "\n".join(TABLE) + "\n"
    terminal.show(WAYS)
    assert capsys.readouterr().out == f"\033[3A{first}"
    terminal.tell("Not moved")
    terminal.show(WAYS)
    assert capsys.readouterr().out == f"segue calibrate: Not moved\n{first}"


def test_a_file_gets_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing can be drawn over, nothing is drawn."""
    Terminal("calibrate").show(WAYS)
    assert capsys.readouterr().out == ""


def test_a_terminal_that_is_gone_has_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the pty was closed both ways of asking say that a terminal is needed."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        os.close(ours)
        for ask in (lambda: Terminal("calibrate").ask("Sure?"), Terminal("calibrate").pressed):
            with pytest.raises(UsageError, match="run it in a terminal"):
                ask()
