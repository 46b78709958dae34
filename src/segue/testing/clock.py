"""A clock that moves only when somebody waits on it."""

from __future__ import annotations


class VirtualClock:
    """Implements `segue.clock.Clock`; an hour passes in the time that its events take to compute.

    It belongs to one thread: whoever sleeps moves it.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def __repr__(self) -> str:
        return f"<VirtualClock {self._now_ns / 1e9:.3f} s>"

    def now_ns(self) -> int:
        """Returns the present virtual time in nanoseconds."""
        return self._now_ns

    def sleep_until(self, deadline_ns: int) -> None:
        """Moves to `deadline_ns` at once; never backwards."""
        self._now_ns = max(self._now_ns, deadline_ns)
