"""How long each stage of a call takes, by laps of one clock."""

from __future__ import annotations

from segue.clock import Clock


class Stopwatch:
    """Adds up laps by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.began_ns = clock.now_ns()
        self._lap_ns = self.began_ns
        self._spent_ns: dict[str, int] = {}

    def lap(self, stage: str) -> None:
        """Counts the time since the last lap towards `stage`."""
        now_ns = self._clock.now_ns()
        self._spent_ns[stage] = self._spent_ns.get(stage, 0) + now_ns - self._lap_ns
        self._lap_ns = now_ns

    def spent_ns(self, stage: str) -> int:
        """Returns the sum of the laps of `stage`."""
        return self._spent_ns.get(stage, 0)

    def total_ns(self) -> int:
        """Returns the time from the beginning to the last lap."""
        return self._lap_ns - self.began_ns
