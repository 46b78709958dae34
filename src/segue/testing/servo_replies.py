"""Replies on their way: handed out when they are due, those of one moment together.

The line says when a reply has arrived; whoever stands between it and the
driver, a pty in real time or a port under a virtual clock, keeps them here
until then.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable

from segue.testing.servo_line import Reply


class Replies:
    """Replies in order of time; of the same time, in order of arrival."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, bytes]] = []
        self._order = itertools.count()

    def __repr__(self) -> str:
        return f"<Replies {len(self._waiting)} next={self.next_ns()}>"

    def add(self, replies: Iterable[Reply]) -> None:
        """Takes what the line answered."""
        for data, due_ns in replies:
            heapq.heappush(self._waiting, (due_ns, next(self._order), data))

    def next_ns(self) -> int | None:
        """Returns when the next is due; None without any."""
        return self._waiting[0][0] if self._waiting else None

    def take(self, now_ns: int) -> bytes:
        """Returns all that are due at `now_ns`, and forgets them."""
        data = b""
        while self._waiting and self._waiting[0][0] <= now_ns:
            data += heapq.heappop(self._waiting)[2]
        return data
