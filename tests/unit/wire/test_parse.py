"""Counting the parts of a message before it is parsed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.errors import RemoteProtocolError
from segue.wire import policy_pb2 as pb
from segue.wire.codec import encode_request
from segue.wire.parse import MAX_PARTS, parse

from .wire_samples import contexts, requests


@given(requests, contexts)
def test_a_request_is_parsed_as_protobuf_parses_it(asked, context) -> None:  # type: ignore[no-untyped-def]
    """Counting changes nothing for a message in order."""
    message = encode_request(asked, context)
    assert parse(pb.InferRequest, message.SerializeToString()) == message


@given(st.binary(max_size=100))
def test_bytes_without_sense_are_parsed_or_refused(data: bytes) -> None:
    """Nothing but a refusal is raised, and what is parsed is what protobuf makes of it."""
    try:
        message = parse(pb.InferRequest, data)
    except RemoteProtocolError:
        return
    assert message == pb.InferRequest.FromString(data)


def _field(number: int, data: bytes) -> bytes:
    size = len(data)
    return bytes([number << 3 | 2, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + data


MANY = {
    "empty observations": b"\x42\x00" * MAX_PARTS,
    "empty pictures": _field(7, b"\x1a\x00" * MAX_PARTS),
    "numbers of a shape, packed": _field(7, _field(1, _field(2, b"\x01" * MAX_PARTS))),
    "numbers of a shape, one by one": _field(7, _field(1, b"\x10\x01" * MAX_PARTS)),
    "fields that nobody knows": b"\x98\x7f\x01" * MAX_PARTS,
}


@pytest.mark.parametrize("what", MANY)
def test_more_parts_than_a_request_can_have_are_refused(what: str) -> None:
    """Many tiny parts, each of which would become an object, are refused before one is made."""
    with pytest.raises(RemoteProtocolError, match=f"more than {MAX_PARTS} parts"):
        parse(pb.InferRequest, MANY[what] + b"\x28\x01")


@pytest.mark.parametrize("data", [b"\x42", b"\x42\x05x", b"\xff" * 20, b"\x3b\x3c", b"\x45\x00", b"\x07"])
def test_a_message_that_is_cut_off_is_refused(data: bytes) -> None:
    """Bytes that end within a field, or hold kinds of field that are no more, are no message."""
    with pytest.raises(RemoteProtocolError, match="no InferRequest"):
        parse(pb.InferRequest, data)
