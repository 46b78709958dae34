"""The pictures of a request, decoded and held against the robot's cameras.

All that travelled is decoded, also for a policy that looks at none: what a
robot sends must be right, and what decoding costs must be seen. The library
releases the GIL, so pictures of several robots are decoded at the same time.
"""

from __future__ import annotations

from dataclasses import replace

from segue.core.specs import PolicySpec, RobotSpec
from segue.core.types import ChunkRequest, ImageArray, Observation
from segue.errors import RemoteProtocolError
from segue.wire import policy_pb2 as pb
from segue.wire.codec import encoded_images
from segue.wire.image import decode


def with_pictures(
    request: ChunkRequest, message: pb.InferRequest, robot: RobotSpec, policy: PolicySpec
) -> ChunkRequest:
    """Returns `request` with the pictures of `message`, decoded.

    Args:
        request: as decoded from `message`.
        message: holds the pictures as they travelled.
        robot: whose cameras they must be of.
        policy: whose cameras must be among them.

    Raises:
        RemoteProtocolError: a picture is not what its camera was announced to take, or is missing.
    """
    observation = replace(request.observation, images=_decoded(message.observation, robot, policy))
    if not request.history:
        return replace(request, observation=observation)
    history: list[Observation] = []
    for earlier, travelled in zip(request.history, message.history, strict=True):
        history.append(replace(earlier, images=_decoded(travelled, robot, policy)))
    return replace(request, observation=observation, history=tuple(history))


def _decoded(message: pb.Observation, robot: RobotSpec, policy: PolicySpec) -> dict[str, ImageArray]:
    cameras = {camera.name: camera for camera in robot.observation.cameras}
    travelled = encoded_images(message)
    unknown = sorted(travelled.keys() - cameras.keys())
    if unknown:
        raise RemoteProtocolError(f"observation.images: {', '.join(unknown)} was not announced")
    missing = [camera.name for camera in policy.observation.cameras if camera.name not in travelled]
    if missing:
        raise RemoteProtocolError(f"observation.images: {', '.join(missing)} is missing")
    return {name: decode(image, cameras[name]) for name, image in travelled.items()}
