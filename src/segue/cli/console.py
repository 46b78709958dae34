"""Tells the person at the terminal how a run goes.

On a terminal one line is refreshed in place, and a change of state begins a new
one, so that what happened stays to be read; into a file or a pipe only what
changes is written. A reader that stops reading, as a paused terminal does, holds
up nobody, and one that has gone away ends the telling, never the run.
"""

from __future__ import annotations

import shutil
import sys
import threading

from segue.cli.writer import Writer
from segue.client.messages import Status
from segue.client.status import StatusLine

_LEAST_COLUMNS = 40


class Console:
    """A `Reporter` that prints; may be told by several threads."""

    def __init__(self, name: str, mark: str = "") -> None:
        """Begins every sentence with `name`, such as ``segue run``, and every status with `mark`."""
        self._name = name
        self._mark = mark
        self._refreshes = sys.stdout.isatty()
        self._line = StatusLine(refreshed=self._refreshes)
        self._standing = 0  # letters of the refreshed line that stands on the screen, without its end
        self._writer = Writer(sys.stdout)
        self._asking = False
        self._one_at_a_time = threading.Lock()

    def __repr__(self) -> str:
        return f"<Console {self._name} refreshes={self._refreshes}>"

    def say(self, text: str) -> None:
        """Prints a sentence on a line of its own."""
        with self._one_at_a_time:
            self._end_line()
            self._writer.put(f"{self._name}: {text}\n")

    def ask(self, question: str) -> None:
        """Prints `question` and leaves the rest of the line to the person, until `answered`."""
        with self._one_at_a_time:
            self._end_line()
            self._writer.put(f"{self._name}: {question}")
            self._asking, self._standing = True, len(question)

    def answered(self) -> None:
        """Notes that the person has ended the line."""
        with self._one_at_a_time:
            self._asking, self._standing = False, 0

    def status(self, status: Status) -> None:
        """Prints how things stand, when that is worth a line."""
        shown = self._line.text(status)
        if shown is not None:
            with self._one_at_a_time:
                self._show(f"{self._mark}{shown.text}", shown.is_change)

    def close(self) -> None:
        """Leaves the cursor at the beginning of a line, and waits a little until all is printed."""
        with self._one_at_a_time:
            self._end_line()
        self._writer.close()

    def _show(self, text: str, is_change: bool) -> None:
        if not self._refreshes:
            self._writer.put(f"{text}\n")
            return
        if self._asking and not is_change:
            return  # it would be written over what the person types
        if is_change:
            self._end_line()
            if len(text) > self._columns():
                # What has just happened is told whole; the line below it is refreshed from now on.
                self._writer.put(f"{text}\n")
                return
        text = self._cut(text)
        # As wide as what stands there, to cover it.
        self._writer.put(f"\r{text.ljust(self._standing)}")
        self._standing = len(text)

    def _end_line(self) -> None:
        if self._standing:
            self._writer.put("\n")
            self._standing = 0

    def _cut(self, text: str) -> str:
        """Returns what fits on the terminal: a line that wraps cannot be refreshed in place."""
        columns = self._columns()
        return text if len(text) <= columns else f"{text[: columns - 1]}…"

    def _columns(self) -> int:
        return max(_LEAST_COLUMNS, shutil.get_terminal_size().columns - 1)
