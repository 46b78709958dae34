"""A command at a terminal for tests: a pty of its own, keys to press, and what stands on the screen."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.processes import ENVIRONMENT, WAIT_S, wait_until

# The first terminal that a process without one opens controls it, so that Ctrl-C reaches it.
_TAKE_TERMINAL = ("sh", "-c", 'exec "$@" <"$0"')
_IN_BACKGROUND = ("sh", "-mc", '"$@" & wait $!', "sh")


class AtTerminal:
    """`segue …` as a person runs it; its records are in `folder`."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        background: bool = False,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        output: bool = True,
    ) -> None:
        """Starts it; in the background of the terminal, as a shell does with an ``&``.

        `environment` is added to this process's; `before` are words that go before the command; without
        `output` it leaves no records.
        """
        self.folder = folder
        self._screen = b""
        self._hung_up = False
        self._keys, self._terminal = pty.openpty()
        self.mode = termios.tcgetattr(self._terminal)
        shell = _IN_BACKGROUND if background else ()
        records = [f"--output_dir={folder}"] if output else []
        command = [*shell, *before, sys.executable, "-m", "segue.cli.main", *words]
        self.process = subprocess.Popen(
            [*_TAKE_TERMINAL, os.ttyname(self._terminal), *command, *records],
            stdout=self._terminal,
            stderr=self._terminal,
            env={**os.environ, **ENVIRONMENT, **(environment or {})},
            start_new_session=True,
        )
        threading.Thread(target=self._watch, daemon=True).start()

    def press(self, keys: str) -> None:
        """Presses some keys."""
        os.write(self._keys, keys.encode())

    def screen(self) -> str:
        """Returns all that was printed so far."""
        return self._screen.decode(errors="replace")

    def shows(self, text: str, times: int = 1) -> None:
        """Waits until `text` was printed that often."""
        wait_until(lambda: self.screen().count(text) >= times or self._over(), f"{text!r} is printed")
        assert self.screen().count(text) >= times, self.screen()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Returns the lines of run.jsonl of one name so far."""
        path = self.folder / "run.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [e for e in map(json.loads, (x for x in lines if x.endswith("\n"))) if e["event"] == name]

    def waits_for(self, name: str, count: int = 1, **fields: Any) -> None:
        """Waits for as many events of one name with these fields."""

        def enough() -> bool:
            return sum(fields.items() <= e.items() for e in self.events(name)) >= count

        wait_until(lambda: enough() or self._over(), f"{count} {name} {fields} came")
        assert enough(), self.screen()

    def as_it_was(self) -> bool:
        """Returns whether the terminal's modes are those from before the command."""
        return bool(termios.tcgetattr(self._terminal) == self.mode)

    def hang_up(self) -> None:
        """Closes the terminal, as a window is closed."""
        os.close(self._terminal)
        os.close(self._keys)
        self._hung_up = True

    def wait(self) -> int:
        """Waits for its end and returns the exit code."""
        return self.process.wait(WAIT_S)

    def end(self) -> None:
        """Ends it, if need be, and closes the terminal."""
        if self._over() is False:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(WAIT_S)
        if not self._hung_up:
            os.close(self._terminal)
            os.close(self._keys)

    def _over(self) -> bool:
        return self.process.poll() is not None

    def _watch(self) -> None:
        while True:
            try:
                part = os.read(self._keys, 4096)
            except OSError:
                return
            self._screen += part
