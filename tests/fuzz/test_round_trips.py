"""What is valid comes back as it was: every message of the protocol, and every message of the mailbox."""

from __future__ import annotations

import math
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st

from segue.client import messages
from segue.core.types import ActionChunk
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
from segue.wire.handshake import (
    decode_description,
    decode_handshake,
    decode_welcome,
    encode_description,
    encode_handshake,
    encode_welcome,
)
from segue.wire.records import EncodedImage, Encoding, Handshake, ServerDescription, ServerTimings, Welcome
from segue.wire.refusal import REFUSAL_KEY, Reason, Refusal, encode_refusal, refusal_in
from segue.wire.version import MAX_HORIZON
from tests.unit.wire.wire_samples import (
    arrays,
    contexts,
    counts,
    guidances,
    names,
    plain,
    policy_specs,
    requests,
    robot_specs,
)

from .targets import handshake, reply, request, tensor

delays = st.integers(0, MAX_HORIZON)
versions = st.lists(st.integers(0, 2**32 - 1), max_size=3).map(tuple)
chunks = st.builds(
    ActionChunk,
    counts, counts, counts, counts, arrays(4, 3), st.none() | arrays(5, 2), delays, names, st.booleans(),
)  # fmt: skip
timings = st.builds(ServerTimings, counts, counts, counts, counts, counts, counts)
encoded = st.builds(
    EncodedImage, st.sampled_from(Encoding), st.integers(1, 4000), st.integers(1, 4000), st.binary()
)
descriptions = st.builds(
    ServerDescription, names, versions, st.lists(policy_specs, max_size=2).map(tuple), st.booleans()
)
handshakes = st.builds(
    Handshake, names, robot_specs, st.just("") | names, guidances, st.integers(0, 500), st.just("") | names
)


def kinds_below(descriptor: Descriptor) -> set[str]:
    """Returns the names of a message and of all messages within it."""
    found = {descriptor.name}
    for field in descriptor.fields:
        if field.message_type is not None:
            found |= kinds_below(field.message_type)
    return found


def test_every_message_of_the_protocol_is_fuzzed() -> None:
    """A message that is added to policy.proto fails here until a target reads it."""
    tops = [request.KIND, reply.KIND, tensor.KIND, pb.Refusal, *(kind for kind, _ in handshake.KINDS)]
    reached = set().union(*(kinds_below(kind.DESCRIPTOR) for kind in tops))
    assert reached >= set(pb.DESCRIPTOR.message_types_by_name)


@given(requests, contexts, st.dictionaries(names, encoded, max_size=3))
def test_a_request_comes_back_as_it_was(asked, context, pictures) -> None:  # type: ignore[no-untyped-def]
    """Whatever a robot can ask is what the server reads, through the bytes."""
    message = encode_request(asked, context)
    add_images(message, pictures)
    message = pb.InferRequest.FromString(message.SerializeToString())
    assert plain(decode_request(message)) == plain((context, asked))
    assert encoded_images(message.observation) == pictures


@given(chunks, timings)
def test_a_chunk_comes_back_as_it_was(chunk: ActionChunk, spent: ServerTimings) -> None:
    """Whatever a server can answer is what the robot reads, through the bytes."""
    message = encode_chunk(chunk)
    set_timings(message, spent)
    again = pb.InferReply.FromString(message.SerializeToString())
    assert plain(decode_chunk(again)) == plain((chunk, spent))


@given(handshakes)
def test_a_handshake_comes_back_as_it_was(shake: Handshake) -> None:
    """Whatever a robot says of itself is what the server reads."""
    assert decode_handshake(pb.OpenRequest.FromString(encode_handshake(shake).SerializeToString())) == shake


@given(names, policy_specs, st.dictionaries(names, names, max_size=4))
def test_a_welcome_comes_back_as_it_was(session, spec, facts) -> None:  # type: ignore[no-untyped-def]
    """Whatever a server accepts with is what the robot reads."""
    welcome = Welcome(session, spec, spec.spec_hash(), facts)
    assert decode_welcome(pb.OpenReply.FromString(encode_welcome(welcome).SerializeToString())) == welcome


@given(
    st.builds(
        ServerDescription, names, versions, st.lists(policy_specs, max_size=2).map(tuple), st.booleans()
    )
)
def test_a_description_comes_back_as_it_was(description: ServerDescription) -> None:
    """Whatever a server says of itself is what the robot reads."""
    data = encode_description(description).SerializeToString()
    assert decode_description(pb.DescribeReply.FromString(data)) == description


@given(st.builds(Refusal, st.sampled_from(Reason), st.lists(names, max_size=3).map(tuple), versions))
def test_a_refusal_comes_back_as_it_was(refusal: Refusal) -> None:
    """Whatever a server refuses with is what the robot reads."""
    assert refusal_in([(REFUSAL_KEY, encode_refusal(refusal))]) == refusal


# What a field may hold; its reader refuses the rest.
FIELDS: dict[object, st.SearchStrategy[object]] = {
    int: st.integers(0, messages.MAX_NUMBER),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=200),
    bytes: st.binary(),
    int | None: st.none() | st.integers(0, messages.MAX_NUMBER),
}


def _named(hint: Any) -> st.SearchStrategy[Any]:
    """Returns what a field of an enumeration may hold, or None where it may be left out."""
    if get_origin(hint) in (Union, types.UnionType):
        return st.none() | st.sampled_from(get_args(hint)[0])
    return st.sampled_from(hint)


def of_kind(kind: type) -> st.SearchStrategy[object]:
    """Returns what makes any message of `kind` that may be written."""
    hints = get_type_hints(kind).items()
    fields = {name: FIELDS[hint] if hint in FIELDS else _named(hint) for name, hint in hints}
    return st.builds(kind, **fields)


mail = st.one_of(*map(of_kind, get_args(messages.Message)))


@given(mail)
def test_a_message_between_the_processes_comes_back_as_it_was(message: messages.Message) -> None:
    """Any message with any numbers, texts and bytes that its fields may hold crosses unchanged."""
    assert messages.decode_message(messages.encode_message(message)) == message


@given(arrays(3, 2))
def test_an_array_that_is_not_finite_travels_as_it_is(array: np.ndarray) -> None:
    """Infinities are not made numbers on the way: whether they may pass is for the core to say."""
    chunk = ActionChunk(1, 1, 1, 1, np.where(array > 0, math.inf, array), None, 0, "hash")
    again, _ = decode_chunk(encode_chunk(chunk))
    assert np.array_equal(again.robot_actions, chunk.robot_actions)
