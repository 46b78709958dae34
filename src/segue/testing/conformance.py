"""Whether somebody's robot, camera or policy keeps the promises that Segue builds on.

`check_robot`, `check_camera` and `check_policy` raise `AssertionError` with one sentence that
says which promise is broken; they return nothing when all hold. They are what
a plug-in's own test should call, and what Segue calls for its own devices.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

from segue.cameras.base import Camera
from segue.clock import NS_PER_S, awake_ns, now_ns
from segue.core.jpeg import whole_jpeg
from segue.core.limits import Limits
from segue.core.specs import ActionSpec, CameraSpec, Kind, PolicySpec
from segue.core.types import FloatArray, Frame, Guidance, Leftover, Observation
from segue.errors import RemoteProtocolError
from segue.policies.base import Policy, PolicyInput, PolicyOutput
from segue.robots.base import Robot, RobotState
from segue.wire.image import pixels
from segue.wire.specs_codec import check_policy_spec


def check_robot(robot: Robot, control_hz: float = 100.0, settle_ticks: int = 60) -> None:
    """Checks a robot that is not connected, joint by joint; each is moved by 2 % of its range and back.

    Args:
        robot: the robot; it is connected, driven and disconnected.
        control_hz: rate at which time passes between ticks.
        settle_ticks: how long a joint may take to answer.

    Raises:
        AssertionError: a promise of `segue.robots.base.Robot` is broken.
    """
    spec = robot.spec
    width = len(spec.action)
    assert width, "the action spec has no dimension"
    assert len(set(spec.action.names)) == width, f"names repeat: {spec.action.names}"
    _check_rest_pose(robot)
    robot.connect()
    try:
        _check_rest_pose(robot)
        _Drive(robot, control_hz, settle_ticks).check_all_joints()
    finally:
        robot.disconnect()
        robot.disconnect()  # may be called twice


def _check_rest_pose(robot: Robot) -> None:
    if robot.rest_pose is None:
        return
    rest, width = np.asarray(robot.rest_pose), len(robot.spec.action)
    assert rest.shape == (width,), f"rest_pose has shape {rest.shape}, not ({width},)"
    assert _within(robot.spec.action, rest), "rest_pose lies outside the position limits"


class _Drive:
    """Drives a connected robot, one tick after the other."""

    def __init__(self, robot: Robot, control_hz: float, settle_ticks: int) -> None:
        self._robot = robot
        self._period_ns = int(NS_PER_S / control_hz)
        self._settle_ticks = settle_ticks
        self._now_ns = 0
        self._names = robot.spec.action.names
        # A driver may refuse to be faster than its own spec says.
        self._reach = Limits(robot.spec.action).max_speed / control_hz
        self._told: FloatArray | None = None
        observed = [d.name for d in robot.spec.observation.state]
        self._column = {name: observed.index(name) for name in self._names if name in observed}

    def check_all_joints(self) -> None:
        """Holds the robot where it is, then moves each position joint that it also observes."""
        seen = self._read()
        pose = np.array([seen[self._column[n]] if n in self._column else 0.0 for n in self._names])
        pose = np.clip(pose, *self._limits())
        self._hold(pose)
        for index, dimension in enumerate(self._robot.spec.action.dimensions):
            if dimension.kind is Kind.POSITION and dimension.name in self._column:
                self._check_joint(index, pose)

    def _check_joint(self, index: int, pose: FloatArray) -> None:
        """Moves one joint towards the farther limit: it must follow, and no other may."""
        low, high = self._limits()
        name, span = self._names[index], high[index] - low[index]
        step = 0.02 * span if np.isfinite(span) else 1.0
        step = step if high[index] - pose[index] >= pose[index] - low[index] else -step
        before = self._read()
        target = pose.copy()
        target[index] += step
        self._hold(target)
        moved = self._read() - before
        share = moved[self._column[name]] / step
        assert share > 0.5, f"{name} was told to move by {step:.3g} and moved by {share * step:.3g}"
        others = {n: c for n, c in self._column.items() if n != name}
        loudest = max(others, key=lambda n: abs(moved[others[n]]), default=None)
        if loudest is not None:
            drift = moved[others[loudest]]
            assert abs(drift) < 0.5 * abs(step), (
                f"{name} was told to move, and {loudest} moved by {drift:.3g}"
            )
        self._hold(pose)

    def _hold(self, target: FloatArray) -> None:
        """Goes to a target within the speed limit, until there was time to reach it."""
        end, before = target, target if self._told is None else self._told
        on_the_way = math.ceil(np.max(np.abs(end - before) / self._reach, initial=0.0))
        for tick in range(1, on_the_way + self._settle_ticks + 1):
            self._now_ns += self._period_ns
            self._told = target = np.clip(end, before - tick * self._reach, before + tick * self._reach)
            applied = self._robot.write(target, self._now_ns)
            assert isinstance(applied, np.ndarray), f"write returned {type(applied).__name__}, not an array"
            assert applied.shape == target.shape, f"write returned shape {applied.shape}, not {target.shape}"
            assert np.isfinite(applied).all(), "write returned a target that is not finite"
            assert np.allclose(applied, target, rtol=0.01, atol=1.0), (
                f"write was told {np.round(target, 2)} and says that it applied {np.round(applied, 2)}"
            )
            self._read()

    def _read(self) -> FloatArray:
        seen = self._robot.read(self._now_ns)
        _check_state(self._robot, seen)
        return seen.state.copy()

    def _limits(self) -> tuple[FloatArray, FloatArray]:
        action = self._robot.spec.action
        return action.array("low"), action.array("high")


def _check_state(robot: Robot, seen: RobotState) -> None:
    observation = robot.spec.observation
    assert isinstance(seen, RobotState), f"read returned {type(seen).__name__}, not a RobotState"
    assert seen.state.dtype == np.float64, f"read returned {seen.state.dtype} joints, not float64"
    assert seen.state.shape == (len(observation.state),), "read returned another number of joints"
    assert np.isfinite(seen.state).all(), "read returned a joint that is not finite"
    expected = (len(observation.environment),)
    assert seen.environment.shape == expected, "read returned another number of environment values"


def check_camera(camera: Camera, frames: int = 6) -> None:
    """Checks a camera that is not open: its pictures, their numbers and stamps, and a reopening.

    Args:
        camera: is opened, looked through and closed, twice.
        frames: pictures looked at each time; some must be new ones.

    Raises:
        AssertionError: a promise of `segue.cameras.base.Camera` is broken.
    """
    seen: list[Frame] = []
    for _ in range(2):
        camera.open()
        try:
            begun_ns = awake_ns()
            seen += [_checked_frame(camera) for _ in range(frames)]
            took_s = (awake_ns() - begun_ns) / NS_PER_S
        finally:
            camera.close()
            camera.close()  # may be called twice
        expected_s = (frames - 1) / camera.spec.fps
        assert took_s > 0.5 * expected_s, (
            f"{frames} pictures came within {took_s:.3g} s: grab must wait for the next one"
        )
        assert seen[-1].number > seen[-frames].number, "no picture has a new number: is the camera frozen?"
    for earlier, later in pairwise(seen):
        assert later.number >= earlier.number, (
            f"the number falls from {earlier.number} to {later.number}; it counts up, over a reopening too"
        )
        ordered = later.captured_ns >= earlier.captured_ns
        assert ordered, "the stamp of a picture is earlier than that of the one before it"


def _checked_frame(camera: Camera) -> Frame:
    frame, spec = camera.grab(), camera.spec
    assert isinstance(frame, Frame), f"grab returned {type(frame).__name__}, not a Frame"
    assert frame.image is not None or frame.jpeg is not None, "a frame holds neither pixels nor a JPEG"
    assert frame.captured_ns <= now_ns(), "a picture is stamped with a time to come"
    if frame.jpeg is not None:
        assert whole_jpeg(frame.jpeg) == frame.jpeg, "a frame's JPEG has no begin or end, or more than that"
        _check_pixels(pixels(replace(frame, image=None)), spec)
    if frame.image is not None:
        _check_pixels(frame.image, spec)
    return frame


def _check_pixels(image: object, spec: CameraSpec) -> None:
    assert isinstance(image, np.ndarray), f"a frame's image is {type(image).__name__}, not an array"
    assert image.dtype == np.uint8, f"pixels are {image.dtype}, not uint8"
    expected = (spec.height or image.shape[0], spec.width or image.shape[1], 3)
    assert image.shape == expected, f"a picture has shape {image.shape}, not {expected}"


def check_policy(policy: Policy, seed: int = 0) -> None:
    """Checks a loaded policy with made-up observations; no robot is needed.

    Args:
        policy: the policy; it is warmed up.
        seed: of the observations and of the noise.

    Raises:
        AssertionError: a promise of `segue.policies.base.Policy` is broken.
    """
    policy.warm_up()
    spec = policy.spec
    assert spec.warm_inference_ns > 0, "warm_up did not measure a warm inference"
    assert spec.horizon >= 1, f"horizon is {spec.horizon}"
    assert spec.action_hz > 0, f"action_hz is {spec.action_hz}"
    _check_offered(spec)
    item = _question(spec, seed)
    alone = policy.infer([item])[0]
    _check_output(spec, alone)
    assert alone.conditioned_delay == 0, "a fresh chunk says that it was conditioned on a leftover"
    again = policy.infer([item])[0]
    assert np.allclose(alone.robot_actions, again.robot_actions), "the same seed gives another chunk"
    if "guided" in spec.rtc_modes:
        _check_continuation(policy, item, alone)
    others = [replace(item, seed=seed + k) for k in (1, 2)]
    batched = policy.infer([others[0], item, others[1]])
    assert len(batched) == 3, f"a batch of 3 gives {len(batched)} chunks"
    same = np.allclose(batched[1].robot_actions, alone.robot_actions, rtol=1e-3, atol=1e-3)
    assert same, "a chunk depends on who shares the batch"


def _check_offered(spec: PolicySpec) -> None:
    """Checks that a robot would take the spec: what it says is within the protocol's bounds."""
    try:
        check_policy_spec(spec)
    except RemoteProtocolError as error:
        raise AssertionError(f"no robot would take this policy: {error}") from None


def _check_continuation(policy: Policy, item: PolicyInput, chunk: PolicyOutput) -> None:
    """Checks that a policy that says it can continue a leftover does, three chunks in a row."""
    for _ in range(3):
        length = max(1, policy.spec.horizon // 2)
        model = None if chunk.model_actions is None else chunk.model_actions[:length]
        leftover = Leftover(chunk.robot_actions[:length], model)
        asked = replace(item, leftover=leftover, delay_steps=min(3, length), seed=item.seed + 1)
        chunk = policy.infer([asked])[0]
        _check_output(policy.spec, chunk)
        d = chunk.conditioned_delay
        assert 1 <= d <= length, f"conditioned delay {d} is not within 1..{length}"


def _check_output(spec: PolicySpec, output: PolicyOutput) -> None:
    expected = (spec.horizon, len(spec.action))
    assert output.robot_actions.shape == expected, (
        f"chunk has shape {output.robot_actions.shape}, not {expected}"
    )
    assert np.isfinite(output.robot_actions).all(), "chunk is not finite"
    if output.model_actions is not None:
        expected = (spec.horizon, spec.model_action_dim)
        assert output.model_actions.shape == expected, f"model chunk has shape {output.model_actions.shape}"


def _question(spec: PolicySpec, seed: int) -> PolicyInput:
    rng = np.random.default_rng(seed)
    images = {
        c.name: rng.integers(0, 255, (c.height or 240, c.width or 320, 3), dtype=np.uint8)
        for c in spec.observation.cameras
    }
    observation = Observation(
        step=0,
        captured_ns=0,
        state=rng.normal(size=len(spec.observation.state)),
        environment=rng.normal(size=len(spec.observation.environment)),
        images=images,
    )
    return PolicyInput(
        observation=observation,
        history=(observation,) * spec.history_steps,
        task="",
        leftover=None,
        delay_steps=0,
        chunk_length=spec.horizon,
        guidance=Guidance(),
        seed=seed,
    )


def _within(spec: ActionSpec, pose: FloatArray) -> bool:
    return bool(((pose >= spec.array("low")) & (pose <= spec.array("high"))).all())
