"""A recording as a policy: the path from wherever the arm is, whatever was lost or held in between."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from segue.core.specs import Dimension, Kind
from segue.core.types import FloatArray, Guidance, Leftover, Observation, RtcMode
from segue.errors import ConfigError
from segue.policies.base import PolicyInput
from segue.policies.recorded import HORIZON, RecordedPolicy, Recording, slow_line
from segue.testing import check_policy

JOINT = Dimension("shoulder_pan", "deg", low=-110.0, high=110.0, max_speed=120.0)
GRIP = Dimension("suction", "", Kind.DISCRETE)
PATH = np.stack([10.0 + 0.1 * np.arange(200), (np.arange(200) > 100) * 1.0], axis=1)
RECORDING = Recording((JOINT, GRIP), 10.0, PATH)


class Robot:
    """An arm that asks a recorded policy."""

    def __init__(self, recording: Recording = RECORDING) -> None:
        self.ends = 0
        self.policy = RecordedPolicy(recording, self._end)

    def ask(self, step: int, joint: float, moving: bool = False) -> FloatArray:
        """Returns the chunk for `step`, asked at `joint`, held or with a plan."""
        leftover = Leftover(np.zeros((20, 2))) if moving else None
        item = PolicyInput(
            observation=Observation(step, 0, np.array([joint, 0.0])),
            history=(),
            task="",
            leftover=leftover,
            delay_steps=1 if moving else 0,
            chunk_length=HORIZON,
            guidance=Guidance(mode=RtcMode.GUIDED),
            seed=0,
        )
        return self.policy.infer([item])[0].robot_actions

    def _end(self) -> None:
        self.ends += 1


def test_it_is_a_policy_like_any_other() -> None:
    """It keeps every promise of a policy."""
    check_policy(RecordedPolicy(RECORDING, lambda: None))


def test_the_way_begins_with_a_slow_straight_line() -> None:
    """From 40 degrees to 10, at a quarter of 120 degrees a second, takes one second; then comes the path."""
    chunk = Robot().ask(0, 40.0)
    np.testing.assert_allclose(chunk[:10, 0], 40.0 - 3.0 * np.arange(1, 11))
    np.testing.assert_allclose(chunk[10:, 0], PATH[1 : HORIZON - 9, 0])
    assert not chunk[:, 1].any()


def test_chunks_agree_where_they_overlap() -> None:
    """While the arm moves, each step has one action, whichever chunk brings it."""
    robot = Robot()
    first = robot.ask(0, 40.0)
    for step in (3, 9, 10, 11, 30):
        np.testing.assert_array_equal(robot.ask(step, -90.0, moving=True)[: HORIZON - step], first[step:])


@pytest.mark.parametrize("step", [4, 9, 10, 11, 25])
def test_a_hold_loses_nothing(step: int) -> None:
    """After a hold the arm goes slowly from where it is to the action that was due, and on from there."""
    robot = Robot()
    whole = robot.ask(0, 40.0)
    due = whole[max(step, 9)]  # on the line to the path, that is the path's first action
    chunk = robot.ask(step, due[0] + 3.0)
    np.testing.assert_allclose(chunk[0], due)
    np.testing.assert_allclose(chunk[1:20], whole[max(step, 9) + 1 :][:19])
    again = robot.ask(step, due[0] + 5.8)  # the answer was lost: it is held still, a little further off
    np.testing.assert_allclose(again[:2, 0], [due[0] + 2.9, due[0]])
    np.testing.assert_allclose(again[2:20], whole[max(step, 9) + 1 :][:18])


def test_the_end_is_told_once_the_last_action_was_executed() -> None:
    """The last action is begun at step 199; a question at step 200 finds it done, and gets it again."""
    robot = Robot()
    robot.ask(0, 10.0)
    robot.ask(199, 29.9, moving=True)
    assert robot.ends == 0
    chunk = robot.ask(200, 29.9, moving=True)
    assert robot.ends == 1
    np.testing.assert_array_equal(chunk, np.repeat(PATH[-1:], HORIZON, axis=0))


def test_a_slower_recording_is_the_same_path_at_another_rate() -> None:
    """Positions stay, velocities shrink with the pace, and efforts are refused."""
    wheel = Dimension("wheel", "rad/s", Kind.VELOCITY)
    slow = Recording((JOINT, wheel), 10.0, np.array([[1.0, 4.0]])).at_speed(0.25)
    assert slow.action_hz == 2.5
    np.testing.assert_array_equal(slow.actions, [[1.0, 1.0]])
    pushed = Recording((Dimension("push", "N", Kind.EFFORT),), 10.0, np.zeros((1, 1)))
    with pytest.raises(ConfigError, match=r"speed: 0\.5 .*expected 1"):
        pushed.at_speed(0.5)
    assert pushed.at_speed(1.0).action_hz == 10.0


def test_a_joint_without_a_limit_takes_as_long_as_parking() -> None:
    """Where nothing says how fast a joint may go, the line takes 4 s; what need not move takes one step."""
    free = Recording((Dimension("slide", "m"),), 10.0, np.zeros((1, 1)))
    line = slow_line(free, np.array([0.2]), np.array([0.0]))
    assert len(line) == 40
    np.testing.assert_allclose(np.diff(line[:, 0]), -0.005)
    assert len(slow_line(free, np.zeros(1), np.zeros(1))) == 1


def test_it_needs_no_torch() -> None:
    """A robot's host replays without the packages of a server."""
    code = "import sys, segue.policies.recorded, segue.tools.recording; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
