"""Somebody beside a run that is under way, who may say something to it.

A person at a keyboard, or a recording that has come to its end: the run does not
know who it is. It opens a desk for as long as the arm may be moved, and takes
what is said there like any other message; nobody at the desk can hold it up.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from segue.client.messages import Message


@dataclass(frozen=True, slots=True)
class Desk:
    """Where things may be said, from any thread.

    Attributes:
        tell: sends a message to the control loop, which obeys at its next tick; False when there was no room.
        stop: asks for the end as a signal of that number would.
    """

    tell: Callable[[Message], bool]
    stop: Callable[[int], None]


class Operator(Protocol):
    """Whoever may come to the desk."""

    def listen(self, desk: Desk) -> AbstractContextManager[object]:
        """Returns what lasts for as long as the desk is open; leaving it must not take long."""
        ...


class Nobody:
    """An operator who is not there."""

    def listen(self, desk: Desk) -> AbstractContextManager[object]:
        """Says nothing."""
        return nullcontext()
