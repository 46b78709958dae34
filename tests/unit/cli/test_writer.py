"""Whoever writes waits for no reader: output that nobody reads holds up neither a run nor its end."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

import pytest

from segue.cli.writer import CLOSE_TIMEOUT_S, MOST_WAITING, Writer, say_last, show

WAIT_S = 20.0


@pytest.fixture
def stalled() -> Iterator[tuple[TextIO, int]]:
    """A stream into a pipe that is full, and the descriptor from which nobody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, bytes(4096)):
            continue
    except BlockingIOError:
        os.set_blocking(writer, True)
    with open(writer, "w") as stream:
        yield stream, reader
        os.close(reader)  # whoever still waits to write is let go


def test_the_last_line_waits_for_no_reader(
    stalled: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence at the end of a command holds it up for a moment at most when nobody reads."""
    monkeypatch.setattr(sys, "stderr", stalled[0])
    began = time.monotonic()
    ending = threading.Thread(target=say_last, args=("segue run: ended",), daemon=True)
    ending.start()
    ending.join(WAIT_S)
    assert not ending.is_alive()
    assert time.monotonic() - began < 5 * CLOSE_TIMEOUT_S


def test_the_last_line_is_whole_where_somebody_reads(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader gets the last line with its end, letters of any alphabet included."""
    with open(2, "w", encoding="utf-8", closefd=False) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        say_last("segue run: señal")
    assert capfd.readouterr().err == "segue run: señal\n"


def test_what_finds_no_room_is_counted_and_the_end_is_not_held_up(stalled: tuple[TextIO, int]) -> None:
    """While nobody reads the writer takes a thousand lines, leaves out the others, and still closes."""
    writer = Writer(stalled[0])
    for _ in range(MOST_WAITING + 10):
        writer.put("line\n")
    assert 9 <= writer.dropped <= 10  # the thread may have taken one out of the queue
    began = time.monotonic()
    writer.close()
    assert time.monotonic() - began < 5 * CLOSE_TIMEOUT_S


def test_a_line_for_a_terminal_that_is_gone_is_lost_and_nothing_else() -> None:
    """After its pty was closed a process may show what it likes, and still ends with its own code."""
    code = "from segue.cli.writer import show; input(); show('gone'); show('still gone'); raise SystemExit(7)"
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=theirs)
    os.close(theirs)
    os.close(ours)
    process.communicate(b"\n", timeout=WAIT_S)
    assert process.returncode == 7


def test_a_reader_that_is_gone_is_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a pipe that nobody reads any more showing raises, for `segue … | head` to end."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(BrokenPipeError):
        show("to nobody")
    with contextlib.suppress(BrokenPipeError):
        stream.close()
