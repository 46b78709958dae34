"""The pictures of a request, decoded and held against the robot's cameras.

All that travelled is decoded, also for a policy that looks at none: what a
robot sends must be right, and what decoding costs must be seen. A picture comes
in the camera's size or, where the policy's spec says how it is fitted, in the
policy's; the policy always gets its own. The library releases the GIL, so
pictures of several robots are decoded at the same time.
"""

from __future__ import annotations

from dataclasses import replace

from segue.core.resize import Geometry, resized
from segue.core.specs import CameraSpec, PolicySpec, RobotSpec
from segue.core.types import ChunkRequest, ImageArray, Observation
from segue.wire import policy_pb2 as pb
from segue.wire.checks import wrong
from segue.wire.codec import encoded_images
from segue.wire.image import decode
from segue.wire.records import EncodedImage


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
        raise wrong("observation.images", f"{', '.join(unknown)} was not announced")
    missing = [camera.name for camera in policy.observation.cameras if camera.name not in travelled]
    if missing:
        raise wrong("observation.images", f"{', '.join(missing)} is missing")
    sizes = policy.geometries
    return {name: _picture(image, cameras[name], sizes.get(name)) for name, image in travelled.items()}


def _picture(image: EncodedImage, camera: CameraSpec, geometry: Geometry | None) -> ImageArray:
    """Returns a picture as the policy wants it."""
    if geometry is None:
        return decode(image, camera)
    if (image.height, image.width) == geometry.size:
        return decode(image, replace(camera, height=geometry.height, width=geometry.width))
    return resized(decode(image, camera), geometry)
