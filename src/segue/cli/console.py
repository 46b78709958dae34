"""Tells the person at the terminal how a run goes.

On a terminal one line is refreshed in place; into a file or a pipe only what
changes is written, a line each. A reader that has gone away ends the telling,
never the run.
"""

from __future__ import annotations

import sys

from segue.client.messages import Status
from segue.client.status import StatusLine


class Console:
    """A `Reporter` that prints; used by the recorder's thread alone."""

    def __init__(self, name: str) -> None:
        """Begins every sentence with `name`, such as ``segue run``."""
        self._name = name
        self._refreshes = sys.stdout.isatty()
        self._line = StatusLine(refreshed=self._refreshes)
        self._open = False  # a refreshed line stands on the screen, without its end
        self._gone = False

    def __repr__(self) -> str:
        return f"<Console {self._name} refreshes={self._refreshes}>"

    def say(self, text: str) -> None:
        """Prints a sentence on a line of its own."""
        self._print(f"{self._name}: {text}", "\n")

    def status(self, status: Status) -> None:
        """Prints how things stand, when that is worth a line."""
        text = self._line.text(status)
        if text is not None:
            self._print(text, "" if self._refreshes else "\n")

    def close(self) -> None:
        """Leaves the cursor at the beginning of a line."""
        if self._open:
            self._print("", "\n")

    def _print(self, text: str, end: str) -> None:
        if self._gone:
            return
        begin = "\r" if self._refreshes else ""
        # Wide enough to cover what the refreshed line has left there.
        padded = f"{text:<79}" if self._open and text else text
        try:
            print(f"{begin if text else ''}{padded}", end=end, flush=True)
        except OSError:
            self._gone = True
        self._open = end == ""
