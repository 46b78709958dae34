"""Tells the person at the terminal how a run goes.

On a terminal one line is refreshed in place; into a file or a pipe only what
changes is written, a line each. A thread of its own does the writing: a reader
that stops reading, as a paused terminal does, holds up nobody, and one that has
gone away ends the telling, never the run.
"""

from __future__ import annotations

import os
import queue
import shutil
import sys
import threading
from typing import TextIO

from segue.client.messages import Status
from segue.client.status import StatusLine

# Some minutes of sentences; what comes after while nobody reads is left out.
_MOST_WAITING = 256
# How long the end of the command waits for a reader that may have stopped reading.
_CLOSE_TIMEOUT_S = 1.0
_LEAST_COLUMNS = 40


class Console:
    """A `Reporter` that prints; told by one thread at a time."""

    def __init__(self, name: str) -> None:
        """Begins every sentence with `name`, such as ``segue run``."""
        self._name = name
        self._refreshes = sys.stdout.isatty()
        self._line = StatusLine(refreshed=self._refreshes)
        self._open = False  # a refreshed line stands on the screen, without its end
        self._writer = _Writer(sys.stdout)

    def __repr__(self) -> str:
        return f"<Console {self._name} refreshes={self._refreshes}>"

    def say(self, text: str) -> None:
        """Prints a sentence on a line of its own."""
        self._print(f"{self._name}: {text}", "\n")

    def status(self, status: Status) -> None:
        """Prints how things stand, when that is worth a line."""
        text = self._line.text(status)
        if text is not None:
            self._print(self._cut(text), "" if self._refreshes else "\n")

    def close(self) -> None:
        """Leaves the cursor at the beginning of a line, and waits a little until all is printed."""
        if self._open:
            self._print("", "\n")
        self._writer.close()

    def _cut(self, text: str) -> str:
        """Returns what fits on the terminal: a line that wraps cannot be refreshed in place."""
        if not self._refreshes:
            return text
        columns = max(_LEAST_COLUMNS, shutil.get_terminal_size().columns - 1)
        return text if len(text) <= columns else f"{text[: columns - 1]}…"

    def _print(self, text: str, end: str) -> None:
        begin = "\r" if self._refreshes and text else ""
        # Wide enough to cover what the refreshed line has left there.
        padded = f"{text:<79}" if self._open and text else text
        self._writer.put(f"{begin}{padded}{end}")
        self._open = end == ""


class _Writer:
    """Writes to a stream on a thread of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: queue.Queue[str | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._thread.start()

    def put(self, text: str) -> None:
        """Lets `text` be written; when too much waits already it is left out."""
        if not self._waiting.full():
            self._waiting.put(text)

    def close(self) -> None:
        """Writes what waits, for a little while at most."""
        try:
            self._waiting.put(None, timeout=_CLOSE_TIMEOUT_S)
        except queue.Full:
            return
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        gone = False
        while (text := self._waiting.get()) is not None:
            if gone:
                continue
            try:
                _write(self._stream, text)
            except OSError:
                gone = True


def _write(stream: TextIO, text: str) -> None:
    """Writes `text` past Python's buffer, whose lock a blocked thread would keep until the process ends."""
    try:
        descriptor = stream.fileno()
    except OSError:  # a stream in memory
        stream.write(text)
        return
    data = text.encode(stream.encoding or "utf-8", "replace")
    while data:
        data = data[os.write(descriptor, data) :]
