"""Bytes to a message, after a look at how many parts they claim to have.

The parser of protobuf makes an object of every empty sub-message of two bytes:
8 MiB of them take 300 MiB before anybody can count them. So they are counted
first, in the bytes, with the message's own description as the map. That costs
about a microsecond a field, and a request has fewer than a hundred.
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from segue.errors import RemoteProtocolError

AnyMessage = TypeVar("AnyMessage", bound=Message)

# A request with 64 earlier observations of 16 cameras each has about 6 000.
MAX_PARTS = 10_000

# What is long because it is text, and not because it has many parts.
_WHOLE = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def parse(kind: type[AnyMessage], data: bytes) -> AnyMessage:
    """Returns the message of class `kind` in `data`.

    Raises:
        RemoteProtocolError: the bytes are no such message, or one of more than `MAX_PARTS` parts.
    """
    try:
        _count(memoryview(data), kind.DESCRIPTOR, 0)  # type: ignore[arg-type]  # the class has a twin in C
        return kind.FromString(data)
    except (DecodeError, IndexError):
        raise RemoteProtocolError(f"these {len(data)} bytes are no {kind.DESCRIPTOR.name}") from None


def _count(data: memoryview, descriptor: Descriptor, parts: int) -> int:
    """Returns `parts` and the number of fields and packed numbers in `data`.

    Raises:
        RemoteProtocolError: there are too many.
        IndexError: `data` ends within a field.
        DecodeError: a field is of a kind that protobuf does not have any more.
    """
    below, at = _below(descriptor), 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        size, inner = 0, None
        if wire == _BYTES:
            size, at = _varint(data, at)
            inner = below.get(number)
        else:
            at = _after(data, at, wire)
        packed = isinstance(inner, FieldDescriptor)
        parts += 1 + (size if packed else 0)
        if parts > MAX_PARTS:
            raise RemoteProtocolError(f"{descriptor.name}: more than {MAX_PARTS} parts")
        if isinstance(inner, Descriptor):
            parts = _count(data[at : at + size], inner, parts)
        at += size
    return parts


def _after(data: memoryview, at: int, wire: int) -> int:
    if wire == _VARINT:
        return _varint(data, at)[1]
    if wire not in (_FIXED64, _FIXED32):
        raise DecodeError
    return at + (8 if wire == _FIXED64 else 4)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Returns a number of up to ten bytes and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DecodeError


@cache
def _below(descriptor: Descriptor) -> dict[int, Descriptor | FieldDescriptor]:
    """Returns by number what may have parts of its own: a message, or numbers that may be packed."""
    return {
        field.number: field.message_type or field for field in descriptor.fields if field.type not in _WHOLE
    }
