from __future__ import annotations

from segue.testing.clock import VirtualClock


def test_a_sleep_passes_and_is_told() -> None:
    """A suspended computer finds the clock ahead by its sleep, and knows how long that was."""
    clock = VirtualClock(start_ns=5)
    clock.suspend(15_000_000_000)
    clock.suspend(1)
    assert (clock.now_ns(), clock.slept_ns()) == (15_000_000_006, 15_000_000_001)


def test_an_hour_passes_at_once_and_never_backwards() -> None:
    """A virtual clock moves exactly to the deadline that is slept for, and never back."""
    clock = VirtualClock(start_ns=5)
    clock.sleep_until(3_600_000_000_000)
    assert clock.now_ns() == 3_600_000_000_000
    clock.sleep_until(7)
    assert clock.now_ns() == 3_600_000_000_000
