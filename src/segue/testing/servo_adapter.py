"""The USB adapter between a host and its servos, as far as it keeps anybody waiting.

Most hand bytes on within a millisecond. An FTDI that was left as it is does so
every 16 ms, one behind a virtual machine or a busy hub whenever it gets round to
it, and one that stands still for a moment then delivers all that it was given
at once. Time is an argument.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Waits:
    """What an adapter makes of its time; set any of it at any time.

    Attributes:
        grid_ns: replies are handed on at whole multiples of that only; 0 for at once.
        jitter_ns: those to each question come later by up to that, drawn anew; never out of order.
        held_until_ns: until then nothing passes, either way; then all of it does.
    """

    grid_ns: int = 0
    jitter_ns: int = 0
    held_until_ns: int = 0


class Adapter:
    """Says when something is handed on."""

    def __init__(self, seed: int = 0) -> None:
        self.waits = Waits()
        self._dice = random.Random(seed)
        self._late_ns = 0
        self._last_ns = 0
        self._held = b""

    def __repr__(self) -> str:
        return f"<Adapter {self.waits}>"

    @property
    def held_until_ns(self) -> int | None:
        """When it delivers what it was given while it stood still; None when it has nothing."""
        return self.waits.held_until_ns if self._held else None

    def given(self, data: bytes, now_ns: int) -> bool:
        """Takes what the host writes, and returns whether it keeps that for now."""
        stands = now_ns < self.waits.held_until_ns
        self._held += data if stands else b""
        return stands

    def let_go(self) -> bytes:
        """Returns what it kept, and forgets it."""
        data, self._held = self._held, b""
        return data

    def asked(self) -> None:
        """Draws how late the replies to the coming question are."""
        self._late_ns = self._dice.randrange(self.waits.jitter_ns + 1) if self.waits.jitter_ns else 0

    def hands_on_ns(self, heard_ns: int) -> int:
        """Returns when a reply that was heard at `heard_ns` is handed on."""
        waits = self.waits
        due_ns = heard_ns
        if waits.jitter_ns:
            due_ns = self._last_ns = max(heard_ns + self._late_ns, self._last_ns)
        if waits.grid_ns:
            due_ns = -(-due_ns // waits.grid_ns) * waits.grid_ns
        return max(due_ns, waits.held_until_ns)
