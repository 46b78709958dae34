from __future__ import annotations

from segue.client.pacing import Pacer
from segue.testing.clock import VirtualClock

MS = 1_000_000


class Sleepy(VirtualClock):
    """A clock whose sleeper wakes late by what is left in `late_ns`."""

    def __init__(self) -> None:
        super().__init__(0)
        self.late_ns: list[int] = []

    def sleep_until(self, deadline_ns: int) -> None:
        super().sleep_until(deadline_ns + (self.late_ns.pop(0) if self.late_ns else 0))


def test_deadlines_are_absolute() -> None:
    """Lateness of one tick never moves the next one."""
    clock = Sleepy()
    pacer = Pacer(clock, 100.0)
    clock.late_ns = [0, 9 * MS, 3 * MS, 0]
    turns = [pacer.next_turn() for _ in range(4)]
    assert [turn.due_ns for turn in turns] == [10 * MS, 20 * MS, 30 * MS, 40 * MS]
    assert [turn.lateness_ns for turn in turns] == [0, 9 * MS, 3 * MS, 0]
    assert [turn.dropped for turn in turns] == [0, 0, 0, 0]


def test_a_tick_late_by_a_period_is_dropped_and_not_made_up() -> None:
    """Thirty-five milliseconds late at 100 Hz drop three ticks, and the fourth stays on the grid."""
    clock = Sleepy()
    pacer = Pacer(clock, 100.0)
    clock.late_ns = [0, 35 * MS]
    pacer.next_turn()
    late, after = pacer.next_turn(), pacer.next_turn()
    assert (late.due_ns, late.lateness_ns, late.dropped) == (50 * MS, 35 * MS, 3)
    assert (after.due_ns, after.dropped) == (60 * MS, 0)


def test_a_period_that_is_not_whole_nanoseconds_does_not_drift() -> None:
    """An hour at 30 Hz ends on the nanosecond."""
    clock = VirtualClock(0)
    pacer = Pacer(clock, 30.0)
    start = pacer.next_turn().due_ns
    for _ in range(3600 * 30):
        last = pacer.next_turn().due_ns
    assert last - start == 3600 * 1_000_000_000


def test_a_computer_that_slept_was_not_late() -> None:
    """After a sleep of fifteen seconds the tick is the last that was due, and nothing counts as dropped."""
    clock = Sleepy()
    pacer = Pacer(clock, 100.0)
    pacer.next_turn()
    clock.suspend(15_000 * MS)
    clock.late_ns = [3 * MS]
    turn = pacer.next_turn()
    assert (turn.due_ns, turn.lateness_ns, turn.dropped) == (15_010 * MS, 0, 0)
    assert pacer.next_turn().due_ns == 15_020 * MS


def test_a_machine_that_was_busy_beside_the_sleep_was_late() -> None:
    """What is late beyond the sleep is counted as ever."""
    clock = Sleepy()
    pacer = Pacer(clock, 100.0)
    pacer.next_turn()
    clock.suspend(15_000 * MS)
    clock.sleep_until(clock.now_ns() + 45 * MS)
    turn = pacer.next_turn()
    assert (turn.due_ns, turn.lateness_ns, turn.dropped) == (15_050 * MS, 35 * MS, 3)


def test_spare_time_is_the_time_to_the_next_tick() -> None:
    """After a tick at 100 Hz that took no time, one period is to spare."""
    clock = VirtualClock(0)
    pacer = Pacer(clock, 100.0)
    pacer.next_turn()
    assert pacer.spare_ns() == 10 * MS
    clock.sleep_until(25 * MS)
    assert pacer.spare_ns() == -5 * MS
