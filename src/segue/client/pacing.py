"""Absolute deadlines: tick n is due at t0 + n periods, whatever happened to tick n - 1.

Sleeping "for the rest of the period" would add up every error; sleeping until
the next absolute deadline cannot. A tick that wakes a whole period late or more
is not made up: the ticks whose time has passed are dropped and counted, and the
present one is the last that was due (TIMELINE rule 8). A computer that slept
was not late: its ticks are left out, and counted nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.clock import NS_PER_MS, NS_PER_S, Clock


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
        self._slept_ns = clock.slept_ns()
        self._start_ns = clock.now_ns() + round(NS_PER_S / hz)

    def __repr__(self) -> str:
        return f"<Pacer {self._hz:g} Hz tick={self._number}>"

    def next_turn(self) -> Turn:
        """Waits for the next tick and returns it."""
        due = self._due_ns(self._number)
        self._clock.sleep_until(due)
        late_ns = max(0, self._clock.now_ns() - due)
        self._number += int(late_ns * self._hz // NS_PER_S)
        awake_late_ns = max(0, late_ns - self._asleep_ns())
        turn = Turn(self._due_ns(self._number), awake_late_ns, int(awake_late_ns * self._hz // NS_PER_S))
        self._number += 1
        return turn

    def spare_ns(self) -> int:
        """Returns the time until the next tick is due; negative when it is overdue."""
        return self._due_ns(self._number) - self._clock.now_ns()

    def _asleep_ns(self) -> int:
        """Returns how long the computer slept since the last turn; two clocks are never read at once."""
        before, self._slept_ns = self._slept_ns, self._clock.slept_ns()
        asleep_ns = self._slept_ns - before
        return asleep_ns if asleep_ns > NS_PER_MS else 0

    def _due_ns(self, number: int) -> int:
        return self._start_ns + round(number * NS_PER_S / self._hz)
