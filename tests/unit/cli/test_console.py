"""What is told fits where it is told: refreshed on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from segue.cli.console import Console
from segue.client.messages import Status


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class GoneReader(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def status(t_s: float, level: str = "RUN") -> Status:
    return Status(t_s=t_s, level=level, queue_steps=20, delay_steps=9, chunks=1, why="fine")


def told(monkeypatch: pytest.MonkeyPatch, out: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stdout", out)
    console = Console("segue run")
    for t_s in (0.0, 1.0, 2.0):
        console.status(status(t_s))
    console.say("the policy is slow")
    console.status(status(3.0, "HOLD"))
    console.close()
    return "" if isinstance(out, GoneReader) else out.getvalue()


def test_into_a_file_goes_a_line_for_each_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two states and a sentence are three lines, however many ticks there were."""
    lines = told(monkeypatch, io.StringIO()).splitlines()
    assert len(lines) == 3
    assert lines[1] == "segue run: the policy is slow"
    assert "HOLD" in lines[2]


def test_on_a_terminal_one_line_is_refreshed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statuses overwrite each other, a sentence stands on a line of its own, the end leaves a clean line."""
    text = told(monkeypatch, Terminal())
    assert text.count("\r") >= 4
    assert "\rsegue run: the policy is slow" in text
    assert text.endswith("\n")
    assert text.count("\n") == 2


def test_a_reader_that_goes_away_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed pipe silences the console and raises nothing."""
    assert told(monkeypatch, GoneReader()) == ""
