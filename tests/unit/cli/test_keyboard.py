"""Keys at a terminal of their own: what each says, and that the terminal is as it was."""

from __future__ import annotations

import io
import os
import pty
import signal
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from segue.cli.console import Console
from segue.cli.keyboard import KEYS, Keyboard, keyboard, task_problem
from segue.client.messages import Mark, Message, Task
from segue.client.operator import Desk


class Listener:
    """A desk that keeps what it hears, and the other end of a terminal."""

    def __init__(self, out: io.StringIO) -> None:
        self.heard: list[object] = []
        self.full = False
        self.keys, self.terminal = pty.openpty()
        self.before = termios.tcgetattr(self.terminal)
        self.console = Console("segue run")
        self.out = out
        self.desk = Desk(self._tell, self.heard.append)
        self.keyboard = Keyboard(self.terminal, self.console)

    def press(self, keys: str) -> None:
        os.write(self.keys, keys.encode())

    def mode(self) -> list[Any]:
        return termios.tcgetattr(self.terminal)

    def until(self, *heard: object) -> None:
        """Waits until exactly that was heard."""
        self._wait(lambda: self.heard == list(heard))
        assert self.heard == list(heard)

    def says(self, text: str) -> None:
        """Waits until that is on the screen."""
        self._wait(lambda: text in self.out.getvalue())
        assert text in self.out.getvalue()

    def _wait(self, condition: Any) -> None:
        deadline = time.monotonic() + 10
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)

    def _tell(self, message: Message) -> bool:
        if not self.full:
            self.heard.append(message)
        return not self.full


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """A person whose keys are passed on."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    listener = Listener(out)
    with listener.keyboard.listen(listener.desk):
        yield listener
    assert listener.mode() == listener.before
    listener.console.close()
    os.close(listener.keys)
    os.close(listener.terminal)


def test_each_key_says_what_it_is_for(person: Listener) -> None:
    """n, y, x and g are passed on as wishes, q as the signal of Ctrl-C, ? lists them, others mean nothing."""
    person.press("nyxgqNYz \n?")
    person.until(Mark("next"), Mark("success"), Mark("failure"), Mark("go"), signal.SIGINT)
    person.says(KEYS)


def test_a_held_q_asks_for_the_end_once(person: Listener) -> None:
    """A key that repeats is not the second signal, which would end the run in mid-air."""
    person.press("qqqny")
    person.until(signal.SIGINT, Mark("next"), Mark("success"))


def test_what_was_typed_before_the_arm_could_hear_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and lines from before the listening are thrown away, and the next key is heard."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    person = Listener(io.StringIO())
    person.press("n\nq\nx")
    with person.keyboard.listen(person.desk):
        person.press("y")
        person.until(Mark("success"))


@pytest.mark.parametrize("when", ["before", "while it runs"])
def test_a_run_goes_on_without_its_terminal(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """A terminal that went away has no keys, and is no reason for the run to end."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    person = Listener(io.StringIO())
    if when == "before":
        os.close(person.keys)
    with person.keyboard.listen(person.desk):
        if when != "before":
            os.close(person.keys)
        time.sleep(0.3)  # longer than the keyboard looks for a key
    assert person.heard == []
    os.close(person.terminal)


def test_arrows_and_function_keys_mean_nothing(person: Listener) -> None:
    """The letters in what such a key sends are not taken for keys, nor is a key with Alt."""
    for sequence in ("\x1b[A", "\x1bOP", "\x1bOx", "\x1b[1;5D", "\x1b[15~", "\x1bn", "\x1b[200~"):
        person.press(sequence)
    person.press("y")
    person.until(Mark("success"))


def test_a_line_is_a_task(person: Listener) -> None:
    """What is typed up to ENTER is the new task, in any script, less the blanks around it."""
    person.press("t")
    person.says("new task")
    person.press("  räum den Tisch ab \n")
    person.until(Task("räum den Tisch ab"))
    person.press("n")
    person.until(Task("räum den Tisch ab"), Mark("next"))


@pytest.mark.parametrize("line", ["\n", "   \n", "fold\x1b\n", "\x04"])
def test_a_task_may_be_kept(person: Listener, line: str) -> None:
    """An empty line, Esc and the end of the input keep the task."""
    person.press("t")
    person.says("new task")
    person.press(line)
    person.says("the task stays as it was")
    person.press("n")
    person.until(Mark("next"))


def test_a_wrong_task_is_refused(person: Listener) -> None:
    """A text that the flag would not take is not taken here."""
    person.press("t")
    person.says("new task")
    person.press("x" * 1001 + "\n")
    person.says("task: expected one line of at most 1000 printable characters; the old one stays")
    assert person.heard == []


def test_what_the_arm_did_not_hear_is_said(person: Listener) -> None:
    """A key or a task that found no room is to be pressed again."""
    person.full = True
    person.press("n")
    person.says("the arm did not hear the key n; press it again")
    person.press("t")
    person.says("new task")
    person.press("fold\n")
    person.says("the arm did not hear the new task; type it again")


def test_the_end_of_a_run_does_not_wait_for_a_line(person: Listener) -> None:
    """A run that ends while a task is typed goes on ending, and throws away what was typed."""
    person.press("t")
    person.says("new task")
    person.press("fold")


def test_an_exception_leaves_the_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the run, the terminal is given back."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    person = Listener(io.StringIO())

    def fail() -> None:
        with person.keyboard.listen(person.desk):
            person._wait(lambda: person.mode() != person.before)
            assert person.mode() != person.before
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        fail()
    assert person.mode() == person.before


def test_there_is_no_keyboard_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, a closed input and none at all are no person."""
    closed = io.StringIO()
    closed.close()
    for stream in (io.StringIO(), closed, None):
        monkeypatch.setattr(sys, "stdin", stream)
        assert keyboard(Console("segue run")) is None


@pytest.mark.parametrize(
    ("text", "fits"), [("", True), ("x" * 1000, True), ("x" * 1001, False), ("a\tb", False)]
)
def test_what_a_task_may_be(text: str, fits: bool) -> None:
    """One line of at most 1000 printable characters, as the flag."""
    assert (task_problem(text) is None) == fits
