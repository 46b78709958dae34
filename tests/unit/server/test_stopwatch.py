"""Durations of stages."""

from __future__ import annotations

from segue.server.stopwatch import Stopwatch


class Ticking:
    """A clock that is ten nanoseconds later each time it is read."""

    def __init__(self) -> None:
        self.now = 0

    def now_ns(self) -> int:
        self.now += 10
        return self.now

    def sleep_until(self, deadline_ns: int) -> None:
        self.now = max(self.now, deadline_ns)


def test_laps_add_up_by_stage() -> None:
    """Laps of the same stage are added, and all laps make the total."""
    watch = Stopwatch(Ticking())
    for stage in ("decoding", "checking", "decoding"):
        watch.lap(stage)
    assert watch.spent_ns("decoding") == 20
    assert watch.spent_ns("checking") == 10
    assert watch.spent_ns("never") == 0
    assert watch.total_ns() == 30
