"""The free shaft follows its order in time, however the time is cut into calls."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.clock import NS_PER_MS
from segue.testing.servo_shaft import FreeShaft, Order


@settings(max_examples=50, deadline=None)
@given(
    goal=st.floats(-4000, 4000),
    speed=st.floats(50, 3550),
    acceleration=st.floats(1000, 100_000),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=30),
)
def test_it_never_passes_its_goal_nor_its_speed(
    goal: float, speed: float, acceleration: float, cuts: list[int]
) -> None:
    """From rest it approaches the goal from one side, no faster than allowed, in any steps of time."""
    shaft = FreeShaft(0.0)
    shaft.turn(0)
    shaft.obey(Order(goal, 1.0, speed, acceleration, 32))
    now_ms, before = 0, 0.0
    for cut in cuts:
        now_ms += cut
        shaft.turn(now_ms * NS_PER_MS)
        assert abs(goal - shaft.position) <= abs(goal - before) + 1e-6
        assert min(0.0, goal) - 0.5 <= shaft.position <= max(0.0, goal) + 0.5
        assert abs(shaft.position - before) <= speed * cut / 1000 + 1e-6
        before = shaft.position


def test_time_that_goes_backwards_moves_nothing() -> None:
    """A call with an earlier time leaves the shaft as it is."""
    shaft = FreeShaft(0.0)
    shaft.turn(0)
    shaft.obey(Order(1000.0, 1.0, 1000.0, 1e5, 32))
    shaft.turn(100 * NS_PER_MS)
    there = shaft.position
    shaft.turn(50 * NS_PER_MS)
    assert shaft.position == there
    shaft.turn(110 * NS_PER_MS)
    assert shaft.position == pytest.approx(there + 10.0, abs=0.5)


def test_a_held_shaft_strains_with_the_distance_and_the_gain() -> None:
    """Effort grows with the way to the goal, with the gain, and ends at the share of torque."""
    shaft = FreeShaft(0.0)
    shaft.blocked = True
    efforts = []
    for goal, share, gain in ((50.0, 1.0, 32), (50.0, 1.0, 16), (-500.0, 1.0, 32), (500.0, 0.5, 32)):
        shaft.obey(Order(goal, share, 1000.0, 1e5, gain))
        shaft.turn(0)
        efforts.append(shaft.effort)
    assert efforts == [500.0, 250.0, -1000.0, 500.0]
