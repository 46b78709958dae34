"""Position and speed limits, and what is not finite."""

from __future__ import annotations

import numpy as np
import pytest

from segue.core.limits import Limits, finite
from segue.core.specs import ActionSpec, Dimension, Kind

LIMITS = Limits(
    ActionSpec(
        (
            Dimension("joint", "deg", low=-10.0, high=20.0, max_speed=30.0),
            Dimension("gripper", "", Kind.DISCRETE, low=0.0, high=1.0, max_speed=1.0),
            Dimension("wheel", "m/s", Kind.VELOCITY, max_speed=5.0),
        )
    )
)


def test_clip_keeps_within_the_position_limits() -> None:
    """Each dimension is cut at its own limits, for one action and for many."""
    one = np.array([25.0, 2.0, 1e9])
    assert LIMITS.clip(one).tolist() == [20.0, 1.0, 1e9]
    assert LIMITS.clip(np.stack([one, -one])).tolist() == [[20.0, 1.0, 1e9], [-10.0, 0.0, -1e9]]


@pytest.mark.parametrize("control_hz", [10.0, 100.0, 1000.0])
def test_the_speed_limit_is_per_second(control_hz: float) -> None:
    """30 deg/s are 30 deg after a second at every control rate, in either direction."""
    for sign in (1.0, -1.0):
        pose = np.zeros(3)
        for _ in range(int(control_hz)):
            pose = LIMITS.slew(pose, np.array([sign * 1e6, 0.0, 0.0]), 1.0 / control_hz)
        assert pose[0] == pytest.approx(sign * 30.0)


def test_a_command_within_reach_is_left_alone() -> None:
    """What is slow enough passes unchanged, to the last bit."""
    wanted = np.array([0.1 + 0.2, 1.0, 0.01])
    assert (LIMITS.slew(np.zeros(3), wanted, 0.1) == wanted).all()


def test_a_discrete_dimension_is_never_slowed_down() -> None:
    """A gripper jumps: a speed limit would make values of it that mean nothing."""
    assert LIMITS.slew(np.zeros(3), np.ones(3), 0.001).tolist() == [0.03, 1.0, 0.005]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_finite(value: float) -> None:
    """One number that is not finite is enough."""
    actions = np.zeros((3, 2))
    assert finite(actions)
    actions[1, 1] = value
    assert not finite(actions)
