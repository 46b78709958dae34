"""The pictures of a request held against the robot's cameras."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segue.core.resize import Fit, Geometry, resized
from segue.core.specs import CameraSpec
from segue.errors import RemoteProtocolError
from segue.server.pictures import with_pictures
from segue.testing.cameras import natural_frames
from segue.wire import policy_pb2 as pb
from segue.wire.codec import add_images, encode_request
from segue.wire.image import encode, encode_raw
from segue.wire.records import EncodedImage
from tests.unit.server.toy_policy import ROBOT, SPEC, context, request

PICTURE = np.full((48, 64, 3), 77, dtype=np.uint8)
SEEING = replace(SPEC, observation=replace(SPEC.observation, cameras=(CameraSpec("front"),)))


def message(**images: EncodedImage) -> pb.InferRequest:
    sent = encode_request(request(), context("s"))
    add_images(sent, images)
    return sent


def test_every_picture_that_travelled_is_decoded() -> None:
    """Pictures are decoded for a policy that sees and for one that looks at none."""
    for policy in (SPEC, SEEING):
        decoded = with_pictures(request(), message(front=encode(PICTURE)), ROBOT, policy)
        assert np.abs(decoded.observation.images["front"].astype(int) - 77).max() <= 2


def test_pictures_of_the_history_are_decoded_too() -> None:
    """Each earlier observation gets its own pictures."""
    asked = request(history=(request().observation,))
    sent = encode_request(asked, context("s"))
    add_images(sent, {"front": encode_raw(PICTURE)}, [{"front": encode_raw(PICTURE + 1)}])
    decoded = with_pictures(asked, sent, ROBOT, SEEING)
    assert decoded.observation.images["front"][0, 0, 0] == 77
    assert decoded.history[0].images["front"][0, 0, 0] == 78


def test_a_camera_that_was_not_announced_is_refused() -> None:
    """A picture of an unknown camera is refused by name, also when the policy is blind."""
    with pytest.raises(RemoteProtocolError, match="side was not announced"):
        with_pictures(request(), message(side=encode(PICTURE)), ROBOT, SPEC)


def test_a_picture_that_the_policy_needs_must_be_there() -> None:
    """A policy that sees is not asked without its picture; a blind one is."""
    with pytest.raises(RemoteProtocolError, match="front is missing"):
        with_pictures(request(), message(), ROBOT, SEEING)
    assert with_pictures(request(), message(), ROBOT, SPEC).observation.images == {}


def test_a_damaged_picture_is_refused_although_nobody_looks() -> None:
    """A blind policy's request with a damaged picture is refused: all that travels must be right."""
    damaged = replace(encode(PICTURE), data=b"\x80\x04K\x01.")
    with pytest.raises(RemoteProtocolError, match="front"):
        with_pictures(request(), message(front=damaged), ROBOT, SPEC)


NATURAL = natural_frames(48, 64, 1, 3)[0]


@pytest.mark.parametrize("fit", list(Fit))
def test_a_policy_gets_its_own_size_whoever_resizes(fit: Fit) -> None:
    """Raw pictures resized by the client and by the server give the policy the same pixels."""
    geometry = Geometry(24, 40, fit)
    camera = CameraSpec("front", 24, 40, fit=fit)
    policy = replace(SPEC, observation=replace(SPEC.observation, cameras=(camera,)))
    by_client = message(front=encode_raw(resized(NATURAL, geometry)))
    by_server = message(front=encode_raw(NATURAL))
    images = [
        with_pictures(request(), sent, ROBOT, policy).observation.images["front"]
        for sent in (by_client, by_server)
    ]
    assert images[0].shape == images[1].shape == (24, 40, 3)
    assert np.abs(images[0].astype(int) - images[1]).max() <= 1


def test_a_size_that_is_neither_the_camera_s_nor_the_policy_s_is_refused() -> None:
    """A policy's own size is accepted beside the announced one, and no third."""
    camera = CameraSpec("front", 24, 40, fit=Fit.STRETCH)
    policy = replace(SPEC, observation=replace(SPEC.observation, cameras=(camera,)))
    with pytest.raises(RemoteProtocolError, match="front: 40x23"):
        with_pictures(request(), message(front=encode_raw(NATURAL[:23, :40])), ROBOT, policy)
    with pytest.raises(RemoteProtocolError, match="front: 40x24"):
        with_pictures(request(), message(front=encode_raw(NATURAL[:24, :40])), ROBOT, SEEING)
