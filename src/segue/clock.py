"""Time, as an object that can be replaced.

Everything that waits or reads a clock takes a `Clock`; the pure core takes a
plain `now_ns` instead. All times are monotonic nanoseconds of *this* host:
they may be subtracted from each other and from nothing else. Wall-clock time
is used for naming output folders only, never for a decision.
"""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(Protocol):
    """A monotonic clock that can also wait."""

    def now_ns(self) -> int:
        """Returns monotonic nanoseconds."""
        ...

    def sleep_until(self, deadline_ns: int) -> None:
        """Waits until `deadline_ns`; returns at once when it has passed."""
        ...


class SystemClock:
    """The host's monotonic clock; sleeps towards absolute deadlines so that errors never add up."""

    def now_ns(self) -> int:
        """Returns monotonic nanoseconds."""
        return time.monotonic_ns()

    def sleep_until(self, deadline_ns: int) -> None:
        """Waits until `deadline_ns`; returns at once when it has passed."""
        # A signal handler may cut a sleep short on some platforms: sleep again for the rest.
        while (remaining := deadline_ns - time.monotonic_ns()) > 0:
            time.sleep(remaining / NS_PER_S)
