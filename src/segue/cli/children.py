"""Processes that a command starts, watches and always ends.

Each child has a session of its own, so that Ctrl-C reaches the command alone
and the command decides; it is ended by its id, first asked and then killed.
What a child says goes to a file, from which `said` reads; nothing can block on
a pipe that nobody empties.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

POLL_S = 0.1
LAST_LINES = 5


class Child:
    """One `segue` process."""

    def __init__(self, name: str, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Starts ``segue`` with `words`, its output in `log`, `environment` on top of this process's."""
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "segue.cli.main", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def __repr__(self) -> str:
        return f"<Child {self.name} pid={self._process.pid} code={self._process.returncode}>"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def said(self) -> str:
        """Returns what it has said so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def last_words(self) -> str:
        """Returns the last lines of what it has said, indented."""
        lines = self.said().splitlines()[-LAST_LINES:]
        return "\n".join(f"    {line}" for line in lines)

    def wait_for(self, pattern: re.Pattern[str], timeout_s: float) -> str | None:
        """Returns the first group of `pattern` once it is said; None if it ends or time is up first."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            ended = self.code is not None  # asked before reading: its last words count
            found = pattern.search(self.said())
            if found:
                return found[1]
            if ended:
                return None
            time.sleep(POLL_S)
        return None

    def wait(self, timeout_s: float) -> int | None:
        """Returns its exit code as soon as it ends; None if it takes longer."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self, number: signal.Signals, grace_s: float) -> int:
        """Ends it, by `number` and after `grace_s` seconds by force, and returns its exit code."""
        if self.code is None:
            self._process.send_signal(number)
            try:
                self.wait(grace_s)
            finally:  # whoever breaks off the waiting leaves no child behind either
                if self.code is None:
                    # Its session has no members but its own children.
                    os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()
