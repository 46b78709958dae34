"""A joint may be behind in motion, and not for long without it."""

from __future__ import annotations

import pytest

from segue.errors import SafetyLatch
from segue.robots.calibration import JOINT_IDS
from segue.robots.so101_follow import BEHIND_COUNTS, REACH_COUNTS, Follow
from segue.robots.so101_health import Health

MS = 1_000_000


def follow() -> Follow:
    return Follow(Health(JOINT_IDS), [1, 2])


def test_a_goal_is_no_further_than_a_joint_can_be_behind() -> None:
    """Goals are cut to what a joint reaches from where it is, more so if that is old; not the gripper's."""
    goals, here = {1: 4000, 2: 2100, 6: 4000}, {1: 2000, 2: 2000, 6: 2000}
    assert follow().bound(goals, here, 0) == {1: 2000 + REACH_COUNTS, 2: 2100, 6: 4000}
    assert follow().bound(goals, here, 100 * MS)[1] == pytest.approx(2000 + REACH_COUNTS + 205, abs=1)
    assert follow().bound({1: 0}, here, 0) == {1: 2000 - REACH_COUNTS}


def test_half_a_second_far_behind_and_still_is_a_danger() -> None:
    """A joint that does not move although its goal is far is named after half a second."""
    watch = follow()
    for at_ms in range(0, 500, 10):
        watch.heed({1: 2001 + BEHIND_COUNTS, 2: 2000}, {1: 2000, 2: 2000}, at_ms * MS)
    with pytest.raises(SafetyLatch, match=r"shoulder_pan \(servo 1\) does not follow: 30°"):
        watch.heed({1: 2001 + BEHIND_COUNTS, 2: 2000}, {1: 2000, 2: 2000}, 500 * MS)


def test_a_joint_that_moves_is_only_slow() -> None:
    """However far behind, a joint that comes along is not blocked."""
    watch = follow()
    for tick in range(300):
        watch.heed({1: 5000 + 4 * tick}, {1: 2000 + 4 * tick, 2: 0}, tick * 10 * MS)


def test_a_short_lag_is_forgotten() -> None:
    """A joint that caught up starts anew."""
    watch = follow()
    for tick in range(300):
        goal = 2000 if tick % 40 == 0 else 2001 + BEHIND_COUNTS
        watch.heed({1: goal}, {1: 2000, 2: 0}, tick * 10 * MS)


def test_a_lag_of_before_a_sleep_is_forgotten() -> None:
    """A joint that was behind as the computer went to sleep has its half second anew."""
    watch = follow()
    goals, here = {1: 2001 + BEHIND_COUNTS}, {1: 2000, 2: 0}
    watch.heed(goals, here, 0)
    watch.forget()
    watch.heed(goals, here, 15_000 * MS)
    watch.heed(goals, here, 15_490 * MS)
    with pytest.raises(SafetyLatch):
        watch.heed(goals, here, 15_500 * MS)
