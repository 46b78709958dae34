"""What is told fits where it is told: refreshed on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import io
import logging
import os
import sys
import time

import pytest

from segue.cli import writer as writer_module
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


def test_nothing_is_written_over_what_a_person_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a question waits, the line is not refreshed; news still comes, on lines of its own."""
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    console = Console("segue run", "DRY RUN ")
    console.status(status(0.0))
    console.ask("new task: ")
    for t_s in (1.0, 2.0):
        console.status(status(t_s))
    console.status(status(3.0, "HOLD"))
    console.say("the link is slow")
    console.answered()
    console.status(status(4.0, "HOLD"))
    console.close()
    lines = out.getvalue().split("\n")
    assert lines[0].startswith("\rDRY RUN ")
    assert lines[1] == "segue run: new task: "
    assert "HOLD" in lines[2]
    assert lines[3] == "segue run: the link is slow"
    assert "4.0 s" in lines[4]
    assert len(lines) == 6


def test_into_a_file_goes_a_line_for_each_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two states and a sentence are three lines, however many ticks there were."""
    lines = told(monkeypatch, io.StringIO()).splitlines()
    assert len(lines) == 3
    assert lines[1] == "segue run: the policy is slow"
    assert "HOLD" in lines[2]


def test_on_a_terminal_one_line_is_refreshed_and_changes_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statuses of one state overwrite each other; a sentence and a change of state begin a line each."""
    text = told(monkeypatch, Terminal())
    lines = [line.split("\r")[-1] for line in text.split("\n")]
    assert text.count("\r") == 4
    assert [line.split()[2] for line in lines if "queue" in line] == ["RUN", "HOLD"]
    assert "segue run: the policy is slow" in lines
    assert text.endswith("\n")


def test_a_reader_that_goes_away_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed pipe silences the console and raises nothing."""
    assert told(monkeypatch, GoneReader()) == ""


def test_a_refreshed_line_never_wraps_and_covers_what_stood_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a narrow terminal a change is told whole; the lines below it are cut, each as long as the last."""
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    console = Console("segue run")
    for seconds in (0.0, 1.0):
        console.status(Status(seconds, "HOLD", 0, None, 1, "link_lost", "a cause of many words"))
    console.status(Status(2.0, "HOLD", 0, None, 1, "link_lost"))
    console.close()
    whole, rest = out.getvalue().rstrip("\n").split("\n")
    assert whole.endswith("a cause of many words")
    first, second = rest.split("\r")[1:]
    assert len(first) == len(second) == 49
    assert first.endswith("…")


def test_a_reader_that_stops_reading_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a pipe that nobody empties everything is told in no time, and the end waits a moment at most."""
    monkeypatch.setattr(writer_module, "CLOSE_TIMEOUT_S", 0.2)
    reader, descriptor = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as unread, os.fdopen(descriptor, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        console = Console("segue run")
        began = time.monotonic()
        for _ in range(5_000):
            console.say("x" * 1_000)
        console.close()
        assert time.monotonic() - began < 5.0
        thread = console._writer._thread
        while thread.is_alive():  # reads, so that it can come to its end
            unread.read(1 << 16)
            thread.join(0.001)
    assert console._writer.dropped > 0


def test_a_log_line_never_waits() -> None:
    """Records reach the stream through the writer, formatted, and closing the handler writes the last."""
    out = io.StringIO()
    handler = writer_module.WriterHandler(writer_module.Writer(out))
    handler.setFormatter(logging.Formatter("segue serve: %(message)s"))
    handler.handle(logging.LogRecord("segue", logging.INFO, "", 0, "ready for %d", (3,), None))
    handler.close()
    assert out.getvalue() == "segue serve: ready for 3\n"
