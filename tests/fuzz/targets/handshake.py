"""Everything that is said once per session, in both directions, and the refusal beside a status.

The first byte chooses the message. What is decoded fits within the bounds of
`wire.version`, is safe to print, and survives the way back to bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from unicodedata import category

from google.protobuf.message import Message

from segue.errors import RemoteProtocolError
from segue.server.refused import Refused
from segue.server.session import check_version
from segue.wire import policy_pb2 as pb
from segue.wire.handshake import (
    decode_description,
    decode_handshake,
    decode_welcome,
    encode_description,
    encode_handshake,
    encode_welcome,
)
from segue.wire.parse import parse
from segue.wire.refusal import REFUSAL_KEY, encode_refusal, refusal_in

from . import world

_SPEC = world.policy().spec
_MAX_METADATA = 64 * 1024


def _open(message: pb.OpenRequest) -> None:
    check_version(message.protocol_version)
    shake = decode_handshake(message)
    assert decode_handshake(encode_handshake(shake)) == shake
    welcome = world.sessions().open(shake, _SPEC, 0)
    assert decode_welcome(encode_welcome(welcome)) == welcome


def _welcome(message: pb.OpenReply) -> None:
    welcome = decode_welcome(message)
    assert decode_welcome(encode_welcome(welcome)) == welcome
    for text in (*welcome.configuration.keys(), *welcome.configuration.values()):
        _check_harmless(text)


def _describe(message: pb.DescribeReply) -> None:
    description = decode_description(message)
    assert decode_description(encode_description(description)) == description


def _ask(message: pb.DescribeRequest) -> None:
    assert message.ListFields() == []


def check_refusal(data: bytes) -> None:
    """Reads `data` as the metadata of a refusal, which never raises."""
    refusal = refusal_in([("other", "x"), (REFUSAL_KEY, data)])
    _check_size(encode_refusal(refusal))
    for sentence in refusal.differences:
        _check_harmless(sentence)


def _check_size(metadata: bytes) -> None:
    assert len(metadata) * 4 / 3 <= _MAX_METADATA  # it travels as base64


def _check_harmless(text: str) -> None:
    """Checks that `text` can be printed on a terminal as one line."""
    assert not {category(char) for char in text} & {"Cc", "Cs", "Zl", "Zp"}, text[:80].encode()


Handler = Callable[[Message], None]
KINDS: tuple[tuple[type[Message], Handler], ...] = (
    (pb.OpenRequest, _open),  # type: ignore[arg-type]
    (pb.OpenReply, _welcome),  # type: ignore[arg-type]
    (pb.DescribeReply, _describe),  # type: ignore[arg-type]
    (pb.DescribeRequest, _ask),  # type: ignore[arg-type]
)


def kind_of(data: bytes) -> type[Message]:
    """Returns the message that the first byte of `data` chooses."""
    number = data[0] % (len(KINDS) + 1) if data else 0
    return KINDS[number][0] if number < len(KINDS) else pb.Refusal


def check(data: bytes) -> None:
    """Reads all but the first byte as the message that the first byte chooses."""
    number = data[0] % (len(KINDS) + 1) if data else 0
    if number == len(KINDS):
        check_refusal(data[1:])
        return
    kind, handle = KINDS[number]
    try:
        handle(parse(kind, data[1:]))
    except Refused as refused:
        _check_size(encode_refusal(refused.refusal))
    except RemoteProtocolError as error:
        world.check_sentence(str(error))
