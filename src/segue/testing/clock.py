"""A clock that moves only when somebody waits on it, and a computer that sleeps when it is told to."""

from __future__ import annotations


class VirtualClock:
    """Implements `segue.clock.Clock`; an hour passes in the time that its events take to compute.

    It belongs to one thread: whoever sleeps moves it.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._slept_ns = 0

    def __repr__(self) -> str:
        return f"<VirtualClock {self._now_ns / 1e9:.3f} s>"

    def now_ns(self) -> int:
        """Returns the present virtual time in nanoseconds."""
        return self._now_ns

    def sleep_until(self, deadline_ns: int) -> None:
        """Moves to `deadline_ns` at once; never backwards."""
        self._now_ns = max(self._now_ns, deadline_ns)

    def slept_ns(self) -> int:
        """Returns for how long the computer has slept."""
        return self._slept_ns

    def suspend(self, for_ns: int) -> None:
        """Lets the computer sleep for that long: time passes, and nobody was awake in it."""
        self._now_ns += for_ns
        self._slept_ns += for_ns
