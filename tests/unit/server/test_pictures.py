"""The pictures of a request held against the robot's cameras."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segue.core.specs import CameraSpec
from segue.errors import RemoteProtocolError
from segue.server.pictures import with_pictures
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
