from __future__ import annotations

import numpy as np

from segue.robots.base import RobotState
from segue.robots.belt_cubes import BeltConfig
from segue.robots.belt_rollout import run_expert
from segue.robots.mujoco import SimSO101Config

CONFIG = SimSO101Config(seed=2, belt=BeltConfig(max_cubes=3))


class Grabber:
    """Holds the arm still during some steps and notes when it was asked."""

    def __init__(self, steps: range) -> None:
        self.steps, self.asked = steps, 0

    def target(self, seen: RobotState, wanted: np.ndarray, last: np.ndarray) -> np.ndarray | None:
        self.asked += 1
        return last if self.asked - 1 in self.steps else None


def test_a_run_of_its_own_is_one_episode() -> None:
    """Undisturbed, every step is recorded at 30 Hz and only the first begins an episode."""
    recording = run_expert(CONFIG)
    steps = len(recording.action)
    assert recording.state.shape == recording.action.shape == (steps, 6)
    assert recording.environment.shape == (steps, 15)
    assert recording.episode_start.tolist() == [True] + [False] * (steps - 1)
    assert abs(steps / recording.world_s - 30.0) < 0.5


def test_steps_in_foreign_hands_are_executed_but_not_recorded() -> None:
    """What a meddler did is missing from the record, and where it let go a new episode begins."""
    meddler = Grabber(range(40, 60))
    recording = run_expert(CONFIG, meddler)
    assert len(recording.action) == meddler.asked - 20
    assert np.flatnonzero(recording.episode_start).tolist() == [0, 40]
    # Held still, the arm is at the second start where the last command before had led it.
    np.testing.assert_allclose(recording.state[40], recording.action[39], atol=1.5)


def test_time_limit_ends_a_run() -> None:
    """A belt without end stops at the given world time."""
    recording = run_expert(SimSO101Config(seed=0), time_limit_s=2.0)
    assert 2.0 <= recording.world_s < 2.1
