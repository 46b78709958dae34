from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.robots import so101_model
from segue.robots.so101_kinematics import ArmKinematics, wrap_quarter

PAN = np.array(so101_model.JOINTS[0].offset)
ARM = ArmKinematics()


def reached(place: np.ndarray, yaw: float, calls: int = 3) -> np.ndarray:
    """Joints after a few decisions that each start where the last one ended."""
    state = so101_model.REST_POSE.copy()
    for _ in range(calls):
        state[:5] = ARM.reach(place, yaw, state)
    return state


@settings(max_examples=60, deadline=None)
@given(st.floats(0.13, 0.25), st.floats(-1.0, 1.0), st.floats(-0.78, 0.78))
def test_top_down_reach_on_the_table(radius: float, angle: float, yaw: float) -> None:
    """Between 0.13 and 0.25 m the fingers come straight down on a cube, turned as it is."""
    place = np.array([PAN[0] + radius * math.cos(angle), radius * math.sin(angle), 0.033])
    position, rotation = ARM.pinch(reached(place, yaw))
    assert np.linalg.norm(position - place) < 0.001
    assert rotation[2, 0] < -0.999
    assert abs(wrap_quarter(math.atan2(rotation[1, 2], rotation[0, 2]) - yaw)) < 0.01


def test_out_of_reach_comes_near_and_stays_in_range() -> None:
    """A place that no pose reaches gives joints within their range, pointing that way."""
    state = reached(np.array([0.6, 0.3, 0.3]), 0.0, calls=20)
    for value, d in zip(state, so101_model.dimensions(), strict=True):
        assert d.low - 1e-9 <= value <= d.high + 1e-9
    position, _ = ARM.pinch(state)
    assert position[0] > 0.2
    assert position[1] > 0.05


def test_wrist_turns_back_to_the_middle() -> None:
    """A far turned wrist takes a cube the way that leads back, even where the other way is shorter."""
    state = so101_model.REST_POSE.copy()
    state[4] = 100.0
    for _ in range(5):
        state[:5] = ARM.reach(np.array([0.19, 0.0, 0.07]), math.radians(50), state)
    assert 40.0 < state[4] < 60.0  # not 140, though that is 40 degrees away and this is 50


def test_same_question_same_answer() -> None:
    """What was asked before does not change an answer."""
    place, state = np.array([0.2, 0.05, 0.05]), so101_model.REST_POSE
    first = ARM.reach(place, 0.3, state)
    ARM.reach(np.array([0.15, -0.1, 0.08]), -0.5, state)
    np.testing.assert_array_equal(ARM.reach(place, 0.3, state), first)
