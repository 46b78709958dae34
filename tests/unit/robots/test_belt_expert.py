from __future__ import annotations

import numpy as np
import pytest

from segue.robots import so101_model
from segue.robots.base import RobotState
from segue.robots.belt import WAITING_SPOT
from segue.robots.belt_cubes import BeltConfig
from segue.robots.belt_expert import BeltExpert, Phase
from segue.robots.belt_rollout import run_expert
from segue.robots.mujoco import SimSO101Config
from segue.robots.so101_kinematics import ArmKinematics

TWENTY = SimSO101Config(seed=11, belt=BeltConfig(max_cubes=20))
EMPTY = np.array([*WAITING_SPOT, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0])


class Pauses:
    """Ten steps of work, then nine (300 ms) in which the arm stands still and waits for an answer."""

    def __init__(self) -> None:
        self._step = 0

    def target(self, seen: RobotState, wanted: np.ndarray, last: np.ndarray) -> np.ndarray | None:
        self._step += 1
        return last if self._step % 19 > 10 or self._step % 19 == 0 else None


@pytest.fixture(scope="module")
def twenty():
    return run_expert(TWENTY)


def test_nearly_every_cube_is_lifted(twenty) -> None:
    """Executed at 30 Hz through interpolation and speed limit, it lifts at least 19 of 20 cubes."""
    assert twenty.summary["cubes_offered"] == 20
    assert twenty.summary["successes"] >= 19
    assert twenty.world_s < 60.0


def test_a_seed_repeats_a_run(twenty) -> None:
    """The same seed gives the same decisions to the last bit, another seed others."""
    again = run_expert(TWENTY)
    np.testing.assert_array_equal(again.action, twenty.action)
    np.testing.assert_array_equal(again.environment, twenty.environment)
    other = run_expert(SimSO101Config(seed=12, belt=BeltConfig(max_cubes=2)))
    assert not np.array_equal(other.action[:200], twenty.action[:200])


def test_an_arm_that_waits_for_answers_misses_many() -> None:
    """The belt tells methods apart: pausing 300 ms after every ten steps costs at least one cube in ten."""
    paused = run_expert(SimSO101Config(seed=11, belt=BeltConfig(max_cubes=40)), Pauses())
    assert paused.summary["successes"] <= 36


def test_a_faster_belt_and_a_swinging_one_are_mastered() -> None:
    """It is not tuned to one speed: at 5 and 10 cm/s with a quarter of swing it lifts 9 of 10."""
    for speed in (0.05, 0.10):
        belt = BeltConfig(speed_m_s=speed, speed_swing=0.25, max_cubes=10)
        assert run_expert(SimSO101Config(seed=3, belt=belt)).summary["successes"] >= 9


def test_targets_respect_range_and_speed(twenty) -> None:
    """No target lies outside the joints' range or further away than a joint turns in one decision."""
    dimensions = so101_model.dimensions()
    low, high = (np.array([getattr(d, end) for d in dimensions]) for end in ("low", "high"))
    assert (twenty.action >= low - 1e-9).all()
    assert (twenty.action <= high + 1e-9).all()
    reach = np.array([d.max_speed for d in dimensions]) / 30.0
    # Measured joints may stand past their end by what the stop gives way.
    assert (np.abs(twenty.action - twenty.state) <= reach + 0.5).all()


def test_without_a_cube_it_goes_to_the_waiting_spot_and_opens() -> None:
    """From anywhere it ends above the spot where cubes come from, jaws open, and stays there."""
    expert, state = BeltExpert(), np.array([-40.0, 10.0, 5.0, 80.0, 60.0, 2.0])
    for _ in range(90):
        state = expert.act(state, EMPTY)
    assert expert.phase is Phase.APPROACH
    hand, _ = ArmKinematics().pinch(state)
    np.testing.assert_allclose(hand[:2], WAITING_SPOT[:2], atol=0.003)
    assert 0.04 < hand[2] - WAITING_SPOT[2] < 0.06
    assert state[5] > 30.0
    np.testing.assert_allclose(expert.act(state, EMPTY), state, atol=0.5)


def test_a_closed_hand_with_nothing_in_it_tries_again() -> None:
    """Jaws that shut further than a cube allows lead back to the approach, upwards and open."""
    expert = BeltExpert()
    above = np.array([0.19, 0.0, WAITING_SPOT[2] + 0.001])
    state = so101_model.REST_POSE.copy()
    state[5] = 4.0
    arm = ArmKinematics()
    for _ in range(4):
        state[:5] = arm.reach(above, 0.0, state)
    expert.phase = Phase.CLOSE
    cube = np.array([*above, 0.0, 0.08, 0.0, 1.0, 0.0, 1.0])
    action = expert.act(state, cube)
    assert expert.phase is Phase.APPROACH
    assert action[5] > state[5]
    assert arm.pinch(action)[0][2] > above[2]
