"""Whether somebody's robot or policy keeps the promises that Segue builds on.

`check_robot` and `check_policy` raise `AssertionError` with one sentence that
says which promise is broken; they return nothing when all hold. They are what
a plug-in's own test should call, and what Segue calls for its own devices.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segue.clock import NS_PER_S
from segue.core.specs import ActionSpec, PolicySpec
from segue.core.types import FloatArray, Guidance, Leftover, Observation
from segue.policies.base import Policy, PolicyInput, PolicyOutput
from segue.robots.base import Robot, RobotState


def check_robot(robot: Robot, control_hz: float = 100.0, ticks: int = 50) -> None:
    """Checks a robot that is not connected; it is moved by at most 1 % of each joint's range.

    Args:
        robot: the robot; it is connected, driven and disconnected.
        control_hz: rate at which virtual time passes between ticks.
        ticks: how many ticks it is driven.

    Raises:
        AssertionError: a promise of `segue.robots.base.Robot` is broken.
    """
    spec = robot.spec
    width = len(spec.action)
    assert width, "the action spec has no dimension"
    assert len(set(spec.action.names)) == width, f"names repeat: {spec.action.names}"
    assert robot.rest_pose.shape == (width,), f"rest_pose has shape {robot.rest_pose.shape}, not ({width},)"
    assert _within(spec.action, robot.rest_pose), "rest_pose lies outside the position limits"
    robot.connect()
    try:
        _drive(robot, control_hz, ticks)
    finally:
        robot.disconnect()
        robot.disconnect()  # may be called twice


def _drive(robot: Robot, control_hz: float, ticks: int) -> None:
    spec, period_ns = robot.spec, int(NS_PER_S / control_hz)
    first = robot.read(0)
    _check_state(robot, first)
    start = first.state[: len(spec.action)].copy()
    span = np.where(np.isfinite(spec.action.array("high")), spec.action.array("high") - start, 0.0)
    for tick in range(1, ticks + 1):
        target = start + 0.01 * span * np.sin(np.pi * tick / ticks)
        applied = robot.write(target, tick * period_ns)
        assert applied.shape == target.shape, f"write returned shape {applied.shape}, not {target.shape}"
        assert np.isfinite(applied).all(), "write returned a target that is not finite"
        _check_state(robot, robot.read(tick * period_ns))


def _check_state(robot: Robot, seen: RobotState) -> None:
    observation = robot.spec.observation
    assert seen.state.shape == (len(observation.state),), "read returned another number of joints"
    assert np.isfinite(seen.state).all(), "read returned a joint that is not finite"
    expected = (len(observation.environment),)
    assert seen.environment.shape == expected, "read returned another number of environment values"


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
