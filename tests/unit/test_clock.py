"""The host's clock with and without the time that it slept, and who notices a sleep."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from segue import clock as clocks
from segue.clock import NS_PER_MS, NS_PER_S, AwakeClock, SleepWatch, SystemClock
from segue.testing.clock import VirtualClock


class Host:
    """A host whose two clocks are in the test's hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.awake_ns, self.slept_ns = 1_000 * NS_PER_S, 70 * NS_PER_S
        self.stops: Iterator[int] = iter(())
        monkeypatch.setattr(time, "monotonic_ns", self._monotonic)
        monkeypatch.setattr(time, "clock_gettime_ns", lambda which: self.awake_ns + self.slept_ns)
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _monotonic(self) -> int:
        self.awake_ns += next(self.stops, 0)
        return self.awake_ns

    def _sleep(self, seconds: float) -> None:
        self.awake_ns += round(seconds * NS_PER_S)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def test_time_goes_on_while_the_computer_sleeps(host: Host) -> None:
    """The host's clock counts a sleep and tells of it; the clock of those who wait does neither."""
    system, awake = SystemClock(), AwakeClock()
    before = system.now_ns(), awake.now_ns(), system.slept_ns(), awake.slept_ns()
    host.slept_ns += 15 * NS_PER_S
    after = system.now_ns(), awake.now_ns(), system.slept_ns(), awake.slept_ns()
    passed = [b - a for a, b in zip(before, after, strict=True)]
    assert passed == [15 * NS_PER_S, 0, 15 * NS_PER_S, 0]


def test_both_clocks_wait_for_their_own_deadline(host: Host) -> None:
    """Who sleeps until a stamp of one clock is there by that clock."""
    for clock in (SystemClock(), AwakeClock()):
        until = clock.now_ns() + 3 * NS_PER_S
        clock.sleep_until(until)
        assert clock.now_ns() >= until


def test_a_process_that_is_stopped_between_two_readings_has_not_slept(host: Host) -> None:
    """Two clocks that are read ten seconds apart say nothing of a sleep: they are read again."""
    watch = SleepWatch(SystemClock())
    host.stops = iter([10 * NS_PER_S, 10 * NS_PER_S, 0])
    assert watch.slept_ns() == 0
    assert watch.slept_ns() == 0


def test_where_there_is_one_clock_only_nobody_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that counts no sleep is one whose computer never sleeps."""
    monkeypatch.setattr(clocks, "_WITH_SLEEP", time.CLOCK_MONOTONIC)
    assert abs(clocks.slept_ns()) < NS_PER_S
    assert abs(clocks.now_ns() - time.monotonic_ns()) < NS_PER_S


def test_a_sleep_is_noticed_once_and_only_when_it_is_one() -> None:
    """More than a second is a sleep, told at the next look and no more; what is shorter never is."""
    clock = VirtualClock()
    watch = SleepWatch(clock)
    for _ in range(5):
        clock.suspend(900 * NS_PER_MS)
        assert watch.slept_ns() == 0
    clock.suspend(1_100 * NS_PER_MS)
    assert watch.slept_ns() == 1_100 * NS_PER_MS
    assert watch.slept_ns() == 0
