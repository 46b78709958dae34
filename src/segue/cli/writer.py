"""Writes on a thread of its own, so that a reader who stops reading holds up nobody.

A paused terminal, `| less`, a log collector that hangs: their pipe fills up, and
whoever writes to it waits, with Python's locks in hand. Here only this thread
does. What finds no room is left out and counted; the end waits for a moment.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from typing import TextIO

# Some minutes of sentences; what comes after while nobody reads is left out.
MOST_WAITING = 1024
# How long the end of a command waits for a reader that may have stopped reading.
CLOSE_TIMEOUT_S = 1.0


class Writer:
    """Writes to one stream."""

    def __init__(self, stream: TextIO | None) -> None:
        """Begins to write; without a stream, as when it was closed by whoever started us, to nowhere."""
        self.dropped = 0
        self._stream = stream
        self._waiting: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Writer waiting={self._waiting.qsize()} dropped={self.dropped}>"

    def put(self, text: str) -> None:
        """Lets `text` be written; when too much waits already it is left out."""
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Writes what waits, for a moment at most, and ends; may be called twice."""
        try:
            self._waiting.put(None, timeout=CLOSE_TIMEOUT_S)
        except queue.Full:
            # Makes room for the end, so that the thread does end once somebody reads again.
            with contextlib.suppress(queue.Empty, queue.Full):
                self._waiting.get_nowait()
                self._waiting.put_nowait(None)
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        gone = self._stream is None
        while (text := self._waiting.get()) is not None:
            if gone or self._stream is None:
                continue
            try:
                _write(self._stream, text)
            except OSError:
                gone = True


class WriterHandler(logging.Handler):
    """A handler of log records that never waits."""

    def __init__(self, writer: Writer) -> None:
        """Hands every line to `writer`."""
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Hands on one record."""
        self._writer.put(self.format(record) + "\n")

    def close(self) -> None:
        """Gives the last lines a moment to be written."""
        self._writer.close()
        super().close()


def show(text: str) -> None:
    """Prints a line to standard output; a terminal that has gone away is no reason to end.

    Raises:
        BrokenPipeError: the reader of a pipe has gone away.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        # What Python keeps for it would be tried once more at the very end, and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_last(line: str) -> None:
    """Writes one line to standard error, and waits for a moment at most until it is read."""
    writer = Writer(sys.stderr)
    writer.put(f"{line}\n")
    writer.close()


def _write(stream: TextIO, text: str) -> None:
    """Writes `text` past Python's buffer, whose lock a blocked thread would keep until the process ends."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # a stream in memory
        stream.write(text)
        return
    data = text.encode(stream.encoding or "utf-8", "replace")
    while data:
        data = data[os.write(descriptor, data) :]
