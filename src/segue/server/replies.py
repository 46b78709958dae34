"""From what the policy returned to the chunk that travels, for the real server and the simulated one."""

from __future__ import annotations

from dataclasses import replace

from segue.core.specs import PolicySpec
from segue.core.types import ActionChunk, ChunkRequest
from segue.policies.base import PolicyOutput
from segue.wire.records import RequestContext


def declared(spec: PolicySpec, latency_ns: int) -> PolicySpec:
    """Returns `spec` with the inference time that clients will see, a rehearsed latency included."""
    return replace(spec, warm_inference_ns=max(spec.warm_inference_ns, latency_ns))


def chunk_of(
    request: ChunkRequest, asked: RequestContext, policy: PolicySpec, output: PolicyOutput, cold: bool
) -> ActionChunk:
    """Returns the answer to `request`.

    Args:
        request: what was asked.
        asked: how long a chunk is to be.
        policy: that of the session.
        output: of the policy, for this request.
        cold: the time that it took says nothing of the next one.
    """
    return ActionChunk(
        request_number=request.number,
        epoch=request.epoch,
        start_step=request.start_step,
        captured_ns=request.observation.captured_ns,
        robot_actions=output.robot_actions[: asked.chunk_length or policy.horizon],
        model_actions=output.model_actions,
        conditioned_delay=output.conditioned_delay,
        policy_hash=policy.policy_hash,
        cold=cold,
    )
