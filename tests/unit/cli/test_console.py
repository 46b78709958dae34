"""What is told fits where it is told: refreshed on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import io
import os
import sys
import time

import pytest

from segue.cli import console as console_module
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


def test_a_refreshed_line_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a narrow terminal the line is cut, because a wrapped one could not be refreshed."""
    monkeypatch.setenv("COLUMNS", "60")
    lines = told(monkeypatch, Terminal()).split("\r")
    shown = [line for line in lines if "queue" in line]
    assert shown
    assert all(len(line.rstrip()) <= 59 for line in shown)


def test_a_reader_that_stops_reading_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a pipe that nobody empties everything is told in no time, and the end waits a second at most."""
    monkeypatch.setattr(console_module, "_CLOSE_TIMEOUT_S", 0.2)
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        console = Console("segue run")
        began = time.monotonic()
        for _ in range(2_000):
            console.say("x" * 1_000)
        console.close()
        assert time.monotonic() - began < 5.0
        os.set_blocking(reader, False)
        while os.read(reader, 1 << 20):  # lets the writer's thread end
            time.sleep(0.05)
            if not any(t.name == "console" for t in console_module.threading.enumerate()):
                break
