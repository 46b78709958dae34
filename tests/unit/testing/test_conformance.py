from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg

from segue.core.specs import CameraSpec, PolicySpec
from segue.core.types import FloatArray, Frame
from segue.policies.base import Policy, PolicyInput, PolicyOutput
from segue.policies.registry import load_policy
from segue.robots.base import RobotState
from segue.robots.goals import GoalLimit
from segue.testing.cameras import FakeCamera
from segue.testing.conformance import check_camera, check_policy, check_robot
from segue.testing.robots import FakeRobot


class _Wrapped:
    """A policy that does everything right but for what a test changes."""

    def __init__(self) -> None:
        self.inner: Policy = load_policy("builtin:scripted")

    @property
    def spec(self) -> PolicySpec:
        return self.inner.spec

    def warm_up(self) -> None:
        self.inner.warm_up()

    def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        return [self.spoil(k, output) for k, output in enumerate(self.inner.infer(batch))]

    def spoil(self, index: int, output: PolicyOutput) -> PolicyOutput:
        return output


class _NotFinite(_Wrapped):
    def spoil(self, index: int, output: PolicyOutput) -> PolicyOutput:
        return replace(output, robot_actions=output.robot_actions * np.nan)


class _NoisyNeighbour(_Wrapped):
    def spoil(self, index: int, output: PolicyOutput) -> PolicyOutput:
        return replace(output, robot_actions=output.robot_actions + index)


class _LeansOnNothing(_Wrapped):
    def spoil(self, index: int, output: PolicyOutput) -> PolicyOutput:
        return replace(output, conditioned_delay=2)


class _LooksBackForHours(_Wrapped):
    @property
    def spec(self) -> PolicySpec:
        return replace(self.inner.spec, history_steps=65_536)


@pytest.mark.parametrize("name", ["builtin:scripted", "builtin:belt"])
def test_our_own_policies_conform(name: str) -> None:
    """Every built-in policy keeps the promises of the `Policy` protocol."""
    policy = load_policy(name, "cpu")
    check_policy(policy)
    assert policy.spec.warm_inference_ns > 0


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (_NotFinite, "not finite"),
        (_NoisyNeighbour, "shares the batch"),
        (_LeansOnNothing, "conditioned"),
        (_LooksBackForHours, r"no robot would take .*history_steps: 65536 is outside 0\.\.64"),
    ],
)
def test_a_broken_policy_is_told_what_it_breaks(broken: type[_Wrapped], promise: str) -> None:
    """`check_policy` fails on a policy that breaks a promise, and names the promise."""
    with pytest.raises(AssertionError, match=promise):
        check_policy(broken())


def test_our_own_fake_robot_conforms() -> None:
    """The fake robot keeps the promises of the `Robot` protocol."""
    robot = FakeRobot()
    check_robot(robot)
    assert robot.spec.action.names


class _Careful(FakeRobot):
    """No faster than its own spec says, whatever it is told."""

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        limit = GoalLimit(self.spec.action.array("max_speed") / 100, self._position)
        return super().write(limit.within(action), now_ns)


def test_a_driver_that_keeps_to_its_speed_limit_conforms() -> None:
    """Nobody is told to be faster than its spec, so who is not does what it is told."""
    check_robot(_Careful())


class _Forgetful(FakeRobot):
    def read(self, now_ns: int) -> RobotState:
        return RobotState(super().read(now_ns).state[:-1])


class _Wild(FakeRobot):
    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        super().write(action, now_ns)
        return action * np.nan


class _Deaf(FakeRobot):
    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        return action


class _Boaster(FakeRobot):
    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        return super().write(action, now_ns) + 50.0


class _Crossed(FakeRobot):
    """Its first two joints are swapped on the way to the motors."""

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        super().write(action[[1, 0, 2, 3, 4, 5]], now_ns)
        return action


class _Coarse(FakeRobot):
    def read(self, now_ns: int) -> RobotState:
        return RobotState(super().read(now_ns).state.astype(np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (_Forgetful, "joints"),
        (_Wild, "not finite"),
        (_Deaf, "shoulder_pan was told to move"),
        (_Boaster, "says that it applied"),
        (_Crossed, "told to move"),
        (_Coarse, "float64"),
    ],
)
def test_a_broken_robot_is_told_what_it_breaks(broken: type[FakeRobot], promise: str) -> None:
    """`check_robot` fails on a robot that breaks a promise, and names the promise."""
    with pytest.raises(AssertionError, match=promise):
        check_robot(broken())


def test_the_simulated_arm_conforms() -> None:
    """The simulated SO-101 keeps the promises of the `Robot` protocol, with its physics."""
    pytest.importorskip("mujoco")
    from segue.robots.mujoco import SimSO101

    robot = SimSO101()
    check_robot(robot)
    assert robot.spec.robot_type == "sim_so101"


CAMERA = CameraSpec("front", 48, 64, fps=200.0)


def test_our_own_drawn_camera_conforms() -> None:
    """The camera that draws its pictures keeps the promises of the `Camera` protocol."""
    camera = FakeCamera(CAMERA)
    check_camera(camera)
    assert camera.grabbed == 12


class _Spoiled(FakeCamera):
    """A camera that does everything right but for what a subclass changes."""

    def __init__(self) -> None:
        super().__init__(CAMERA)

    def grab(self) -> Frame:
        return self.spoil(super().grab())

    def spoil(self, frame: Frame) -> Frame:
        return frame


class _Small(_Spoiled):
    def spoil(self, frame: Frame) -> Frame:
        return replace(frame, image=frame.image[:40])  # type: ignore[index]


class _Frozen(_Spoiled):
    def spoil(self, frame: Frame) -> Frame:
        return replace(frame, number=1)


class _Backward(_Spoiled):
    def spoil(self, frame: Frame) -> Frame:
        return replace(frame, number=(frame.number - 1) % 6)


class _Prophet(_Spoiled):
    def spoil(self, frame: Frame) -> Frame:
        return replace(frame, captured_ns=frame.captured_ns + 10**10)


class _Shuffled(_Spoiled):
    def spoil(self, frame: Frame) -> Frame:
        return replace(frame, captured_ns=frame.captured_ns - 10**9 * (frame.number % 2))


class _Empty(_Spoiled):
    def spoil(self, frame: Frame) -> Frame:
        return replace(frame, image=None)


class _CutOff(_Spoiled):
    def spoil(self, frame: Frame) -> Frame:
        return replace(frame, image=None, jpeg=simplejpeg.encode_jpeg(frame.image)[:-2])


class _OtherJpeg(_Spoiled):
    def spoil(self, frame: Frame) -> Frame:
        return replace(frame, jpeg=simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8)))


class _Hasty(_Spoiled):
    def grab(self) -> Frame:
        self._due_s = 0.0
        return super().grab()


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (_Small, "shape"),
        (_Frozen, "frozen"),
        (_Backward, "the number falls from"),
        (_Prophet, "a time to come"),
        (_Shuffled, "earlier than"),
        (_Empty, "neither pixels nor a JPEG"),
        (_CutOff, "begin or end"),
        (_OtherJpeg, "shape"),
        (_Hasty, "grab must wait"),
    ],
)
def test_a_broken_camera_is_told_what_it_breaks(broken: type[_Spoiled], promise: str) -> None:
    """`check_camera` fails on a camera that breaks a promise, and names the promise."""
    with pytest.raises(AssertionError, match=promise):
        check_camera(broken())
