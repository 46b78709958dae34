"""Time, as an object that can be replaced.

Everything that waits or reads a clock takes a `Clock`; the pure core takes a
plain `now_ns` instead. All times are nanoseconds of *this* host: they may be
subtracted from each other and from nothing else. Wall-clock time is used for
naming output folders only, never for a decision.

A computer that sleeps has two times. `now_ns` goes on while it sleeps: an
observation is as old as the world is, and what one process stamps another may
subtract. `awake_ns` stands still: how long something has kept us waiting, such
as a camera or a policy, is told by the time in which it could have come.
"""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

# A computer that was away for longer has slept; what is shorter is a busy machine.
SLEEP_NS = NS_PER_S
# CLOCK_MONOTONIC stands still while Linux sleeps. Elsewhere there is no other, and no sleep is noticed.
_WITH_SLEEP = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# Two clocks read further apart than that say nothing about each other.
_AT_ONCE_NS = NS_PER_MS
_READINGS = 5


def now_ns() -> int:
    """Returns monotonic nanoseconds; the time that the computer slept counts."""
    return time.clock_gettime_ns(_WITH_SLEEP)


def awake_ns() -> int:
    """Returns monotonic nanoseconds; the time that the computer slept does not count."""
    return time.monotonic_ns()


def slept_ns() -> int:
    """Returns how long the computer has slept so far; to be compared with an earlier answer only."""
    for _ in range(_READINGS):
        before, now, after = awake_ns(), now_ns(), awake_ns()
        if after - before < _AT_ONCE_NS:
            break  # else this process was stopped between two readings, which is no sleep
    return now - (before + after) // 2


class Clock(Protocol):
    """A monotonic clock that can also wait."""

    def now_ns(self) -> int:
        """Returns monotonic nanoseconds; the time that the computer slept counts."""
        ...

    def sleep_until(self, deadline_ns: int) -> None:
        """Waits until `deadline_ns`; returns at once when it has passed."""
        ...

    def slept_ns(self) -> int:
        """Returns how long the computer has slept so far; to be compared with an earlier answer only."""
        ...


class SystemClock:
    """The host's clock; waits for absolute deadlines so that errors never add up."""

    def now_ns(self) -> int:
        """Returns monotonic nanoseconds; the time that the computer slept counts."""
        return now_ns()

    def sleep_until(self, deadline_ns: int) -> None:
        """Waits until `deadline_ns`; returns at once when it has passed."""
        # A signal handler may cut a sleep short on some platforms: sleep again for the rest.
        while (remaining := deadline_ns - now_ns()) > 0:
            time.sleep(remaining / NS_PER_S)

    def slept_ns(self) -> int:
        """Returns how long the computer has slept so far; to be compared with an earlier answer only."""
        return slept_ns()


class AwakeClock:
    """The host's clock for whoever only waits for others: while the computer sleeps it stands still."""

    def now_ns(self) -> int:
        """Returns monotonic nanoseconds; the time that the computer slept does not count."""
        return awake_ns()

    def sleep_until(self, deadline_ns: int) -> None:
        """Waits until `deadline_ns`; returns at once when it has passed."""
        while (remaining := deadline_ns - awake_ns()) > 0:
            time.sleep(remaining / NS_PER_S)

    def slept_ns(self) -> int:
        """Returns 0: by this clock there is no sleep."""
        return 0


class SleepWatch:
    """Tells that the computer slept, once each time."""

    def __init__(self, clock: Clock) -> None:
        """Looks for the first time."""
        self._clock = clock
        self._slept_ns = clock.slept_ns()

    def __repr__(self) -> str:
        return f"<SleepWatch slept={self._slept_ns / NS_PER_S:.1f} s>"

    def slept_ns(self) -> int:
        """Returns for how long the computer slept since the last look; 0 when it was `SLEEP_NS` or less."""
        slept_ns = self._clock.slept_ns()
        passed_ns, self._slept_ns = slept_ns - self._slept_ns, slept_ns
        return passed_ns if passed_ns > SLEEP_NS else 0
