"""Requests and chunks on the wire."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from segue.core.types import ActionChunk, ChunkRequest, Guidance, Leftover, Observation
from segue.errors import RemoteProtocolError
from segue.wire import policy_pb2 as pb
from segue.wire.codec import (
    add_images,
    decode_chunk,
    decode_request,
    encode_chunk,
    encode_request,
    encoded_images,
    set_timings,
)
from segue.wire.records import EncodedImage, Encoding, RequestContext, ServerTimings
from segue.wire.version import MAX_HORIZON
from tests.unit.wire.wire_samples import arrays, contexts, counts, names, plain, requests

CONTEXT = RequestContext("arm", "session", "hash", "lift", Guidance(), 8, 7)
OBSERVATION = Observation(5, 99, np.array([1.0, 2.0]))
LEFTOVER = Leftover(np.zeros((4, 2)), np.zeros((4, 3)))
REQUEST = ChunkRequest(1, 3, 5, OBSERVATION, (OBSERVATION,), LEFTOVER, 2, 0, 0, 200)
CHUNK = ActionChunk(1, 3, 5, 99, np.zeros((8, 2)), np.zeros((8, 3)), 2, "ab12")
PICTURE = EncodedImage(Encoding.JPEG, 48, 64, b"jpeg")

chunks = st.builds(
    ActionChunk,
    counts,
    counts,
    counts,
    counts,
    arrays(4, 2),
    st.none() | arrays(6, 3),
    st.integers(0, MAX_HORIZON),
    names,
    st.booleans(),
)
timings = st.builds(ServerTimings, counts, counts, counts, counts, counts, counts)


@given(requests, contexts)
def test_a_request_arrives_as_it_was(request: ChunkRequest, context: RequestContext) -> None:
    """A request and its context come back equal, whatever they hold."""
    message = pb.InferRequest.FromString(encode_request(request, context).SerializeToString())
    decoded_context, decoded = decode_request(message)
    assert decoded_context == context
    assert plain(decoded) == plain(request)


@given(chunks, timings)
def test_a_chunk_arrives_as_it_was(chunk: ActionChunk, spent: ServerTimings) -> None:
    """A chunk and the server's durations come back equal."""
    message = encode_chunk(chunk)
    set_timings(message, spent)
    decoded, decoded_spent = decode_chunk(pb.InferReply.FromString(message.SerializeToString()))
    assert plain(decoded) == plain(chunk)
    assert decoded_spent == spent


def test_the_clients_own_clock_stays_with_the_client() -> None:
    """The times of request and deadline do not travel; the stamp of the observation comes back."""
    timed = ChunkRequest(1, 3, 5, OBSERVATION, (), None, 0, 111_111, 222_222, 0)
    _, decoded = decode_request(encode_request(timed, CONTEXT))
    assert (decoded.requested_ns, decoded.deadline_ns) == (0, 0)
    assert decoded.observation.captured_ns == 99


def test_pictures_are_added_later_and_arrive_by_camera() -> None:
    """Pictures added to an encoded request arrive under their cameras' names, in history too."""
    message = encode_request(REQUEST, CONTEXT)
    add_images(message, {"front": PICTURE}, history=[{"side": PICTURE}])
    assert encoded_images(message.observation) == {"front": PICTURE}
    assert encoded_images(message.history[0]) == {"side": PICTURE}


def test_the_codec_is_light() -> None:
    """Importing the codec loads neither gRPC nor the JPEG library."""
    code = "import sys, segue.wire.codec; print({'grpc', 'simplejpeg'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


def _spoil(path: str, value: object) -> Callable[[pb.InferRequest], None]:
    *parents, field = path.split(".")

    def spoil(message: pb.InferRequest) -> None:
        target: object = message
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, field, value)

    return spoil


def _shape(path: str, shape: list[int]) -> Callable[[pb.InferRequest], None]:
    def spoil(message: pb.InferRequest) -> None:
        target: object = message
        for parent in path.split("."):
            target = getattr(target, parent)
        target.shape[:] = shape  # type: ignore[attr-defined]

    return spoil


BAD_REQUESTS: dict[str, tuple[str, Callable[[pb.InferRequest], None]]] = {
    "state of pickle": (
        "observation.state: .* bytes",
        _spoil("observation.state.data", pickle.dumps([1.0, 2.0])),
    ),
    "state of unknown dtype": ("observation.state: unknown dtype", _spoil("observation.state.dtype", 9)),
    "state of negative shape": ("observation.state: shape", _shape("observation.state", [-2])),
    "state of huge shape": ("observation.state: shape", _shape("observation.state", [2**40])),
    "state of zero shape": ("observation.state: shape", _shape("observation.state", [0])),
    "state of two dimensions": ("observation.state: 2 dimensions", _shape("observation.state", [1, 2])),
    "no state": ("observation.state", lambda m: m.observation.ClearField("state")),
    "no observation": ("observation.state", lambda m: m.ClearField("observation")),
    "no guidance": ("guidance.strategy", lambda m: m.ClearField("guidance")),
    "leftover at odds with its bytes": ("leftover.robot_actions", _shape("leftover.robot_actions", [4, 3])),
    "leftover of two lengths": (
        "leftover: 4 robot actions and 3 model",
        lambda m: m.leftover.model_actions.CopyFrom(pb.Tensor(dtype=2, shape=[3, 3], data=bytes(72))),
    ),
    "task of 10 MB": ("task: 10485760 characters", _spoil("task", "a" * 10 * 2**20)),
    "task with NUL": ("task: .*control", _spoil("task", "lift\0")),
    "task with newline": ("task: .*control", _spoil("task", "lift\nINFO forged line")),
    "robot without name": ("robot_id: empty", _spoil("robot_id", "")),
    "delay negative": ("delay_steps: -1", _spoil("delay_steps", -1)),
    "delay of 2^31": ("delay_steps: 2147483648", _spoil("delay_steps", 2**31)),
    "step negative": ("start_step", _spoil("start_step", -1)),
    "number negative": ("number", _spoil("number", -1)),
    "epoch negative": ("epoch", _spoil("epoch", -1)),
    "seed negative": ("seed", _spoil("seed", -1)),
    "length negative": ("chunk_length", _spoil("chunk_length", -1)),
    "history of 1000": ("history: count", lambda m: m.history.extend([m.observation] * 1000)),
}


@pytest.mark.parametrize(("text", "spoil"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_bad_request_is_refused_by_name(text: str, spoil: Callable[[pb.InferRequest], None]) -> None:
    """A request with a bad field is refused, the field is named, and the refusal is one short line."""
    message = encode_request(REQUEST, CONTEXT)
    spoil(message)
    with pytest.raises(RemoteProtocolError, match=text) as refusal:
        decode_request(message)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 500


def _add_twice(message: pb.InferRequest) -> None:
    message.observation.images.extend([pb.Image(camera="front", encoding=1, height=1, width=1)] * 2)


BAD_PICTURES: dict[str, tuple[str, Callable[[pb.InferRequest], object]]] = {
    "twice": ("front appears more than once", _add_twice),
    "unknown encoding": ("encoding: unknown", lambda m: m.observation.images.add(camera="a", encoding=9)),
    "no camera": ("camera: empty", lambda m: m.observation.images.add(encoding=1, height=1, width=1)),
    "no height": ("height", lambda m: m.observation.images.add(camera="a", encoding=1, width=1)),
    "too many": ("count", lambda m: m.observation.images.extend([pb.Image()] * 100)),
    "newline in a camera": ("control", lambda m: m.observation.images.extend([pb.Image(camera="a\nb")] * 2)),
}


@pytest.mark.parametrize(("text", "spoil"), BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_bad_pictures_are_refused_by_name(text: str, spoil: Callable[[pb.InferRequest], object]) -> None:
    """Pictures that cannot be are refused before anybody looks at their bytes."""
    message = encode_request(REQUEST, CONTEXT)
    spoil(message)
    with pytest.raises(RemoteProtocolError, match=text):
        encoded_images(message.observation)


@pytest.mark.parametrize(
    ("text", "spoil"),
    [
        ("robot_actions", lambda m: m.ClearField("robot_actions")),
        ("robot_actions: shape", lambda m: m.robot_actions.shape.__setitem__(0, 1_000_000)),
        ("robot_actions: shape", lambda m: m.robot_actions.shape.__setitem__(0, 0)),
        ("model_actions", lambda m: setattr(m.model_actions, "data", b"")),
        ("policy_hash", lambda m: m.ClearField("policy_hash")),
        ("timings.total_ns", lambda m: setattr(m.timings, "total_ns", -1)),
    ],
)
def test_a_bad_chunk_is_refused_by_name(text: str, spoil: Callable[[pb.InferReply], None]) -> None:
    """A reply with a bad field is refused, and the field is named."""
    message = encode_chunk(CHUNK)
    spoil(message)
    with pytest.raises(RemoteProtocolError, match=text):
        decode_chunk(message)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_request_or_a_refusal(data: bytes) -> None:
    """Random bytes are no message, or a message that is refused; nothing else happens."""
    with pytest.raises((DecodeError, RemoteProtocolError)):
        decode_request(pb.InferRequest.FromString(data))


@given(st.data())
def test_a_damaged_request_is_a_request_or_a_refusal(data: st.DataObject) -> None:
    """A request with one byte changed decodes or is refused; nothing else happens."""
    sent = bytearray(encode_request(REQUEST, CONTEXT).SerializeToString())
    sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    try:
        context, request = decode_request(pb.InferRequest.FromString(bytes(sent)))
    except (DecodeError, RemoteProtocolError):
        return
    assert len(context.task) <= 1024
    assert request.observation.state.ndim == 1
