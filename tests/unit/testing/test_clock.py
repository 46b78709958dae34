from __future__ import annotations

from segue.testing.clock import VirtualClock


def test_an_hour_passes_at_once_and_never_backwards() -> None:
    """A virtual clock moves exactly to the deadline that is slept for, and never back."""
    clock = VirtualClock(start_ns=5)
    clock.sleep_until(3_600_000_000_000)
    assert clock.now_ns() == 3_600_000_000_000
    clock.sleep_until(7)
    assert clock.now_ns() == 3_600_000_000_000
