"""Somebody beside a run that is under way, who may say something to it.

A person at a keyboard, or a recording that has come to its end: the run does not
know who it is. It opens a desk for as long as the arm may be moved, and takes
what is said there like any other message; nobody at the desk can hold it up.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Protocol

from segue.client.episodes import Wish
from segue.client.messages import Mark, Message


@dataclass(frozen=True, slots=True)
class Desk:
    """Where things may be said, from any thread.

    Attributes:
        tell: sends a message to the control loop, which obeys at its next tick; False when there was no room.
        stop: asks for the end as a signal of that number would.
    """

    tell: Callable[[Message], bool]
    stop: Callable[[int], None]

    def go(self) -> bool:
        """Says that the arm may move again after the computer slept; False when there was no room."""
        return self.tell(Mark(Wish.GO))


class Operator(Protocol):
    """Whoever may come to the desk."""

    def listen(self, desk: Desk) -> AbstractContextManager[object]:
        """Returns what lasts for as long as the desk is open; leaving it must not take long."""
        ...


class Together:
    """Several operators at one desk."""

    def __init__(self, *operators: Operator) -> None:
        self._operators = operators

    def __repr__(self) -> str:
        return f"<Together {self._operators}>"

    def listen(self, desk: Desk) -> AbstractContextManager[object]:
        """Lets all of them come to `desk`."""
        with ExitStack() as stack:  # who came already leaves again when another one fails
            for operator in self._operators:
                stack.enter_context(operator.listen(desk))
            return stack.pop_all()


class Nobody:
    """An operator who is not there."""

    def listen(self, desk: Desk) -> AbstractContextManager[object]:
        """Says nothing."""
        return nullcontext()
