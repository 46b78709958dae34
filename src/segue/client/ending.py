"""How a run ends: asked to by a signal, or for a reason of its own; and the exit code of each.

The first signal asks for the orderly end (stop asking, hold, park), the second
for the quick one (stay where the arm is, and go). A handler only counts: what
is to be done is done by the loop, at its next tick.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from segue.core.facts import ExitReason

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

# SIGNALLED is missing: it is 128 + the number of the signal.
EXIT_CODES: Mapping[ExitReason, int] = MappingProxyType(
    {
        ExitReason.DONE: 0,
        ExitReason.LINK_LOST: 69,
        ExitReason.CAMERA: 74,
        ExitReason.ROBOT: 74,
        ExitReason.OTHER_POLICY: 76,
        ExitReason.REFUSED: 76,
        ExitReason.BAD_CHUNKS: 80,
        ExitReason.NO_ANSWER: 69,
        ExitReason.OVERLOADED: 75,
        ExitReason.POLICY_FAILED: 70,
        ExitReason.PROTOCOL: 76,
        ExitReason.DANGER: 80,
    }
)


class StopSwitch:
    """Counts how often an end was asked for, and remembers the last signal."""

    def __init__(self) -> None:
        self.asked = 0
        self.signal = int(signal.SIGINT)

    def __repr__(self) -> str:
        return f"<StopSwitch asked={self.asked}>"

    def ask(self, signal_number: int = signal.SIGINT) -> None:
        """Asks for the end, as a signal of that number would."""
        self.signal = signal_number
        self.asked += 1


@contextmanager
def signals_to(ask: Callable[[int], None]) -> Iterator[None]:
    """Hands HUP, INT and TERM to `ask` while it lasts; off the main thread it is left out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, lambda number, _frame: ask(number)) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended.

    Attributes:
        reason: why.
        signal: the signal behind `SIGNALLED`.
        detail: one sentence more, may be empty.
        summary: the numbers of the run.
    """

    reason: ExitReason
    signal: int = 0
    detail: str = ""
    summary: Mapping[str, object] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        return 128 + self.signal if self.reason is ExitReason.SIGNALLED else EXIT_CODES[self.reason]
