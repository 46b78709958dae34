"""A person at the terminal, whose keys end, judge and begin episodes while the arm moves.

The terminal hands over every key at once while a run may be told something, and
is as it was afterwards, however the run ended; keys that nobody read are thrown
away, so that what was meant for the arm never becomes a command of the shell,
nor what was typed before the arm could hear it a command to the arm. Ctrl-C stays
what it is, and q is the first Ctrl-C only: a held key is no second one. A run that
is moved into the background leaves the terminal alone until it is back. Whether a
key means anything is decided where the episodes are counted; here it is only
passed on.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from segue.cli.console import Console
from segue.client.episodes import Wish
from segue.client.messages import Mark, Task
from segue.client.operator import Desk
from segue.config.constraints import MAX_TEXT_CHARS

_GO = "g lets the arm go on after the computer slept"
KEYS = (
    "n ends the episode or begins the next, y ends it as a success, x as failed, "
    f"t takes a new task, {_GO}, q stops, ? shows this"
)
REPLAY_KEYS = f"{_GO}, q stops, ? shows this"
_WISHES: Mapping[str, Wish] = {"n": Wish.NEXT, "y": Wish.SUCCESS, "x": Wish.FAILURE, "g": Wish.GO}
_QUESTION = "new task (ENTER takes it; an empty line or Esc keeps the old one): "
_POLL_S = 0.1
_SEQUENCE_S = 0.05
_JOIN_S = 1.0
_ESC = "\x1b"
_LFLAG, _CC = 3, 6


def at_terminal() -> bool:
    """Returns whether somebody may press keys at standard input."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def keyboard(console: Console, has_episodes: bool = True) -> Keyboard | None:
    """Returns the person at standard input; None where that is no terminal."""
    return Keyboard(sys.stdin.fileno(), console, has_episodes) if at_terminal() else None


class Keyboard:
    """An `Operator` who presses keys."""

    def __init__(self, terminal: int, console: Console, has_episodes: bool = True) -> None:
        """Leaves the terminal alone until somebody listens.

        Args:
            terminal: a descriptor of it.
            console: where answers and questions appear.
            has_episodes: without them, as in a replay, there is nothing to end, to judge or to ask for.
        """
        self._terminal = terminal
        self._console = console
        self._has_episodes = has_episodes
        self._over = threading.Event()
        self._stopped = False

    def __repr__(self) -> str:
        return f"<Keyboard over={self._over.is_set()}>"

    @contextmanager
    def listen(self, desk: Desk) -> Iterator[None]:
        """Passes keys on to `desk`, on a thread of its own, and leaves the terminal as it was.

        What was typed before is thrown away; a terminal that went away has no keys.
        """
        try:
            before = termios.tcgetattr(self._terminal)
            if self._in_foreground():
                termios.tcflush(self._terminal, termios.TCIFLUSH)
        except (OSError, termios.error):
            yield
            return
        thread = threading.Thread(target=self._watch, args=(desk, before), name="keyboard", daemon=True)
        first = "n ends this episode, " if self._has_episodes else ""
        self._console.say(f"keys: {first}q stops, ? shows all")
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(_JOIN_S)
            self._restore(before)

    def _watch(self, desk: Desk, before: list[Any]) -> None:
        with suppress(OSError, termios.error):  # the terminal is gone; whoever closed it sends a HUP
            while not self._over.is_set():
                if not self._in_foreground():
                    self._over.wait(_POLL_S)
                    continue
                self._set(_key_by_key(before))
                if self._readable():
                    self._press(os.read(self._terminal, 1).decode("ascii", "replace"), desk, before)

    def _press(self, key: str, desk: Desk, before: list[Any]) -> None:
        if not key:
            self._over.set()  # the end of the input
        elif key == _ESC:
            self._skip_sequence()
        elif key in _WISHES and (self._has_episodes or _WISHES[key] is Wish.GO):
            if not desk.tell(Mark(_WISHES[key])):
                self._console.say(f"the arm did not hear the key {key}; press it again")
        elif key == "q":
            self._stop(desk)
        elif key == "?":
            self._console.say(KEYS if self._has_episodes else REPLAY_KEYS)
        elif key == "t" and self._has_episodes:
            self._new_task(desk, before)

    def _stop(self, desk: Desk) -> None:
        """Asks for the end once: a key that is held repeats, and the second signal ends a run in mid-air."""
        if not self._stopped:
            self._stopped = True
            desk.stop(signal.SIGINT)

    def _new_task(self, desk: Desk, before: list[Any]) -> None:
        self._set(_line_by_line(before))
        self._console.ask(_QUESTION)
        line = self._line()
        self._console.answered()
        if line is None:
            return
        text = line.strip()
        problem = task_problem(text)
        if not text or _ESC in text:
            self._console.say("the task stays as it was")
        elif problem is not None:
            self._console.say(f"task: {problem}; the old one stays")
        elif not desk.tell(Task(text)):
            self._console.say("the arm did not hear the new task; type it again")

    def _line(self) -> str | None:
        """Returns what was typed up to ENTER or the end of the input; None when the run ended before."""
        typed = b""
        while not self._over.is_set():
            if not self._in_foreground() or not self._readable():
                continue
            part = os.read(self._terminal, 4096)
            typed += part
            if not part or typed.endswith((b"\n", b"\r")):
                return typed.decode("utf-8", "replace")
        return None

    def _readable(self) -> bool:
        return bool(select.select([self._terminal], [], [], _POLL_S)[0])

    def _skip_sequence(self) -> None:
        """Reads the rest of what an arrow, a function key or Alt sends, whose letters mean nothing here."""
        letter = self._soon()
        if letter in ("[", "O"):  # and so on up to a letter or ~
            while (letter := self._soon()) and not "@" <= letter <= "~":
                continue

    def _soon(self) -> str:
        """Returns the next key of a sequence, which comes at once; empty when none does."""
        ready = select.select([self._terminal], [], [], _SEQUENCE_S)[0]
        return os.read(self._terminal, 1).decode("ascii", "replace") if ready else ""

    def _in_foreground(self) -> bool:
        """Whether the terminal is ours to read; in the background reading it would stop this process."""
        try:
            return os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError:
            return True  # it is not what controls this process, and so sends no signals either

    def _set(self, mode: list[Any]) -> None:
        if termios.tcgetattr(self._terminal) != mode:
            termios.tcsetattr(self._terminal, termios.TCSANOW, mode)

    def _restore(self, before: list[Any]) -> None:
        with suppress(OSError, termios.error):
            if self._in_foreground():
                termios.tcflush(self._terminal, termios.TCIFLUSH)
                # Not after what waits to be printed: a paused terminal would never get there.
                termios.tcsetattr(self._terminal, termios.TCSANOW, before)


def task_problem(text: str) -> str | None:
    """Returns why `text` is no task, or None."""
    if len(text) > MAX_TEXT_CHARS or not text.isprintable():
        return f"expected one line of at most {MAX_TEXT_CHARS} printable characters"
    return None


def _key_by_key(before: list[Any]) -> list[Any]:
    mode = [*before[:_CC], list(before[_CC])]
    mode[_LFLAG] &= ~(termios.ICANON | termios.ECHO)
    mode[_CC][termios.VMIN], mode[_CC][termios.VTIME] = 1, 0
    return mode


def _line_by_line(before: list[Any]) -> list[Any]:
    mode = [*before[:_CC], list(before[_CC])]
    mode[_LFLAG] |= termios.ICANON | termios.ECHO
    return mode
