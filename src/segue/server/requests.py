"""Checks one request against the robot and the policy of its session, and makes the policy's input of it.

The codec has made sure that arrays are arrays; here their widths, lengths and
numbers are held against the specs, and every refusal names the field, and the
joint where there is one. Pure functions; they change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segue.core.specs import PolicySpec, RobotSpec, guidance_difference
from segue.core.types import ChunkRequest, FloatArray, Guidance, Leftover, Observation
from segue.policies.base import PolicyInput
from segue.wire.checks import brief, check_range, wrong
from segue.wire.records import RequestContext


def check_request(
    request: ChunkRequest, context: RequestContext, robot: RobotSpec, policy: PolicySpec
) -> None:
    """Refuses a request that does not fit robot and policy.

    Args:
        request: without pictures.
        context: as it came with the request.
        robot: as announced at the handshake.
        policy: the one that the session was opened with.

    Raises:
        RemoteProtocolError: a field is wrong; the text names it, and the joint.
    """
    _check_observation(request.observation, robot, "observation")
    check_range(len(request.history), "history: count", 0, policy.history_steps)
    for earlier in request.history:
        _check_observation(earlier, robot, "history")
    check_range(context.chunk_length, "chunk_length", 0, policy.horizon)
    check_guidance(context.guidance, policy)
    _check_leftover(request, policy)


def check_guidance(guidance: Guidance, policy: PolicySpec) -> None:
    """Refuses a window beyond the horizon and a mode that the policy does not know.

    Raises:
        RemoteProtocolError: one of them.
    """
    if guidance.prefix_end is not None:
        check_range(guidance.prefix_end, "guidance.prefix_end", 1, policy.horizon)
    missing = guidance_difference(guidance, policy)
    if missing is not None:
        field, _, says = missing.partition(": ")
        raise wrong(field, says)


def policy_input(request: ChunkRequest, context: RequestContext, policy: PolicySpec) -> PolicyInput:
    """Returns what the policy is given for a request that was checked.

    Args:
        request: with its pictures, decoded.
        context: as it came with the request.
        policy: the one that answers.
    """
    return PolicyInput(
        observation=request.observation,
        history=request.history,
        task=context.task,
        leftover=request.leftover,
        delay_steps=request.delay_steps,
        chunk_length=context.chunk_length or policy.horizon,
        guidance=context.guidance,
        seed=context.seed,
    )


def _check_observation(observation: Observation, robot: RobotSpec, field: str) -> None:
    spec = robot.observation
    joints = [dimension.name for dimension in spec.state]
    _check_numbers(observation.state, joints, f"{field}.state")
    _check_numbers(observation.environment, spec.environment, f"{field}.environment")


def _check_leftover(request: ChunkRequest, policy: PolicySpec) -> None:
    leftover = request.leftover
    if leftover is None:
        check_range(request.delay_steps, "delay_steps without leftover", 0, 0)
        return
    check_range(len(leftover), "leftover: length", 1, policy.horizon)
    check_range(request.delay_steps, "delay_steps", 1, len(leftover))
    _check_numbers(leftover.robot_actions, policy.action.names, "leftover.robot_actions")
    _check_model_actions(leftover, policy)


def _check_model_actions(leftover: Leftover, policy: PolicySpec) -> None:
    if leftover.model_actions is not None:
        names = [str(index) for index in range(policy.model_action_dim)]
        _check_numbers(leftover.model_actions, names, "leftover.model_actions")


def _check_numbers(array: FloatArray, names: Sequence[str], field: str) -> None:
    """Refuses an array, shape (..., len(names)), of another width or with a number that is not finite."""
    if array.shape[-1] != len(names):
        listed = ", ".join(names) or "none"
        raise wrong(field, f"{array.shape[-1]} numbers, expected {len(names)} ({listed})")
    finite = np.isfinite(array)
    if not finite.all():
        column = int(np.argwhere(~finite)[0][-1])
        raise wrong(field, f"{brief(names[column])} is not finite")
