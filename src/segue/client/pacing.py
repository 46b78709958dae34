"""Absolute deadlines: tick n is due at t0 + n periods, whatever happened to tick n - 1.

Sleeping "for the rest of the period" would add up every error; sleeping until
the next absolute deadline cannot. A tick that wakes a whole period late or more
is not made up: the ticks whose time has passed are dropped and counted, and the
present one is the last that was due (TIMELINE rule 8).
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.clock import NS_PER_S, Clock


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the control loop.

    Attributes:
        due_ns: its scheduled time; consecutive turns lie whole periods apart.
        lateness_ns: how long after the time that was slept for the thread woke.
        dropped: ticks given up just before this one.
    """

    due_ns: int
    lateness_ns: int
    dropped: int


class Pacer:
    """Says when the next tick is."""

    def __init__(self, clock: Clock, hz: float) -> None:
        """Schedules the first tick one period from now."""
        self._clock = clock
        self._hz = hz
        self._number = 0
        self._start_ns = clock.now_ns() + round(NS_PER_S / hz)

    def __repr__(self) -> str:
        return f"<Pacer {self._hz:g} Hz tick={self._number}>"

    def next_turn(self) -> Turn:
        """Waits for the next tick and returns it."""
        due = self._due_ns(self._number)
        self._clock.sleep_until(due)
        lateness = max(0, self._clock.now_ns() - due)
        dropped = int(lateness * self._hz // NS_PER_S)
        self._number += dropped
        turn = Turn(self._due_ns(self._number), lateness, dropped)
        self._number += 1
        return turn

    def spare_ns(self) -> int:
        """Returns the time until the next tick is due; negative when it is overdue."""
        return self._due_ns(self._number) - self._clock.now_ns()

    def _due_ns(self, number: int) -> int:
        return self._start_ns + round(number * NS_PER_S / self._hz)
