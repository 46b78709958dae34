"""A motor's next goal is within a tick's way of the one that it has, whatever was lost on the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.robots.goals import GoalLimit

REACH = np.array([1.0, 2.5])
ALL = np.array([True, True])
# What happens in a tick: is the goal sent, does it arrive, and is that found out, and how?
TICK = st.tuples(st.booleans(), st.booleans(), st.sampled_from(("nothing", "looked", "told")))
WISHES = st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50), TICK), max_size=60)


@given(WISHES)
def test_no_goal_that_arrives_is_further_than_a_ticks_way_from_the_one_before(wishes: list) -> None:
    """Sent or not, lost or not, known or not: at the motor no step is longer than a tick's way."""
    limit, has = GoalLimit(REACH, np.zeros(2)), np.zeros(2)
    told = limit.told
    for *wanted, (sends, arrives, word) in wishes:
        if sends:
            goal = limit.within(np.array(wanted))
            limit.tell(goal, ALL)
            assert (np.abs(limit.told - told) <= REACH * 1.00001).all()
            told = limit.told
            if arrives:
                assert (np.abs(goal - has) <= REACH * 1.00001).all()
                has = goal
        if word == "looked":
            limit.found(has, ALL)
        elif word == "told" and (has == limit.told).all():
            limit.arrived(ALL)


def test_time_without_an_answer_adds_nothing() -> None:
    """After any number of goals that nobody confirmed the next is one tick's way from the last known one."""
    limit = GoalLimit(REACH, np.zeros(2))
    for _ in range(100):
        limit.tell(limit.within(np.array([100.0, -100.0])), ALL)
    assert limit.told == pytest.approx([1.0, -2.5], abs=1e-4)
    assert limit.unsure == pytest.approx(REACH, abs=1e-4)


def test_an_arm_that_fell_behind_catches_up_at_its_speed() -> None:
    """With every goal confirmed each tick brings one tick's way, and the target is reached and kept."""
    limit = GoalLimit(REACH, np.zeros(2))
    for tick in range(1, 15):
        limit.tell(limit.within(np.array([10.0, -10.0])), ALL)
        limit.arrived(ALL)
        expected = [min(10.0, tick * 1.0), max(-10.0, tick * -2.5)]
        assert limit.told == pytest.approx(expected, abs=1e-4)
    assert (limit.told == [10.0, -10.0]).all()


def test_a_goal_within_reach_is_passed_on_as_it_is() -> None:
    """Where nothing was lost a command of just the speed limit is not changed in its last digit."""
    limit, at = GoalLimit(np.array([180.0 * 33_333_333 / 1e9]), np.zeros(1)), np.zeros(1)
    for _ in range(50):
        at = at + 180.0 / 30
        assert limit.within(at) is not at
        assert (limit.within(at) == at).all()
        limit.tell(limit.within(at), np.array([True]))
        limit.arrived(np.array([True]))


def test_only_those_who_were_told_are_unsure() -> None:
    """A motor that was sent nothing keeps the goal that it is known to have."""
    limit = GoalLimit(REACH, np.zeros(2))
    limit.tell(np.array([0.5, 0.5]), np.array([True, False]))
    assert limit.told.tolist() == [0.5, 0.0]
    assert limit.unsure.tolist() == [0.5, 0.0]
    limit.arrived(np.array([True, False]))
    assert limit.unsure.tolist() == [0.0, 0.0]


def test_a_motor_that_has_quite_another_goal_goes_on_from_there() -> None:
    """What it was said to be told counts for nothing where it has something else."""
    limit = GoalLimit(REACH, np.zeros(2))
    limit.found(np.array([30.0, 0.0]), np.array([True, False]))
    assert limit.told.tolist() == [30.0, 0.0]
    assert limit.within(np.array([0.0, 0.0])) == pytest.approx([29.0, 0.0], abs=1e-4)


def test_what_has_no_speed_limit_is_not_held_back() -> None:
    """An infinite way lets any goal through, whatever is known."""
    limit = GoalLimit(np.array([np.inf]), np.zeros(1))
    for value in (1e6, -1e6):
        limit.tell(limit.within(np.array([value])), np.array([True]))
        assert limit.told.tolist() == [value]
