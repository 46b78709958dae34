"""An `InferRequest` on its way through the server, below gRPC: decoded, admitted, pictured, answered.

Bytes that a robot may not send end in `Refused` or `RemoteProtocolError`; all
others get an answer that is finite and of the policy's shape.
"""

from __future__ import annotations

import numpy as np

from segue.core.types import ChunkRequest, Observation
from segue.errors import RemoteProtocolError
from segue.policies.base import PolicyOutput
from segue.server.inference import serve
from segue.server.pictures import with_pictures
from segue.server.refused import Refused
from segue.server.requests import policy_input
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_request
from segue.wire.parse import parse

from . import world

KIND = pb.InferRequest
_POLICY = world.policy()
_SPEC = _POLICY.spec
_SLACK_LIMIT_NS = 10_000_000_000


def check(data: bytes) -> None:
    """Serves `data` as the server does."""
    try:
        message = parse(pb.InferRequest, data)
        context, request = decode_request(message)
    except RemoteProtocolError as error:
        world.check_sentence(str(error))
        return
    table, _ = world.opened(_SPEC)
    try:
        session = table.admit(context, request, 1)
        request = with_pictures(request, message, session.robot, session.policy)
    except (Refused, RemoteProtocolError) as error:
        world.check_sentence(str(error))
        return
    _check_admitted(request)
    assert 0 <= table.clamp_slack(request.slack_ns) <= _SLACK_LIMIT_NS
    # The policy itself must not object either: what it cannot use is refused above.
    given = policy_input(request, context, session.policy)
    _POLICY.infer([given])
    (output,) = serve(_POLICY, [given]).results
    _check_output(output)


def _check_admitted(request: ChunkRequest) -> None:
    for seen in (request.observation, *request.history):
        _check_seen(seen)
    leftover = request.leftover
    if leftover is None:
        assert request.delay_steps == 0
        return
    assert 1 <= request.delay_steps <= len(leftover) <= world.HORIZON
    assert np.isfinite(leftover.robot_actions).all()
    assert leftover.model_actions is None or np.isfinite(leftover.model_actions).all()


def _check_seen(seen: Observation) -> None:
    assert seen.state.shape == (len(world.DIMENSIONS),)
    assert np.isfinite(seen.state).all()
    for image in seen.images.values():
        assert image.shape == (world.CAMERA.height, world.CAMERA.width, 3)


def _check_output(output: PolicyOutput | Refused) -> None:
    # A leftover of absurd but finite numbers is the robot's own plan; continuing it may be refused.
    if isinstance(output, PolicyOutput):
        assert output.robot_actions.shape == (world.HORIZON, len(world.DIMENSIONS))
        assert np.isfinite(output.robot_actions).all()
