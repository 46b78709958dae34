"""Valid messages made wrong: one field changed to anything its type can hold, or the bytes damaged.

A random byte string hardly ever gets past the parser of protobuf; a valid
message with one lie in it gets as deep as the lie allows. Everything is drawn
from `dice`, so that a seed repeats it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

_INT64 = (
    0,
    1,
    -1,
    2,
    3,
    8,
    64,
    65,
    255,
    4096,
    4097,
    65_535,
    65_536,
    65_537,
    2**31,
    2**32,
    2**62,
    2**62 + 1,
    2**63 - 1,
    -(2**63),
)
_UINT32 = (0, 1, 2, 255, 2**31, 2**32 - 1)
_ENUM = (0, 1, 2, 3, 4, 5, 99, -1, 2**31 - 1, -(2**31))
_INFINITE = float("inf")
_DOUBLE = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.01,
    1000.0,
    1e-9,
    5e-324,
    1e9,
    1e30,
    1e308,
    -1.7e308,
    _INFINITE,
    -_INFINITE,
    float("nan"),
)
_TEXT = (
    "", "x", "front", "guided", "builtin:scripted", "../../etc/passwd", "https://example.org/x", "a\0b",
    "a\nb", "\x1b[2J", "\u2028", "\u202e", "é" * 64, "x" * 129, "x" * 1025, "\U0010ffff", "y" * 70_000,
)  # fmt: skip
_BYTES = (
    b"", b"\0", b"\x80\x04K*.", b"\xff\xd8\xff\xe0", b"\xff" * 64, b"\0" * 96, b"\0" * 192,
    b"\0\0\0\0\0\0\xf8\x7f" * 12, b"\1\0\0\0\0\0\xf0\x7f" * 24, b"\xff\xff\xff\xff\xff\xff\xef\x7f" * 24,
)  # fmt: skip
_VALUES: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.CPPTYPE_INT64: _INT64,
    FieldDescriptor.CPPTYPE_UINT32: _UINT32,
    FieldDescriptor.CPPTYPE_ENUM: _ENUM,
    FieldDescriptor.CPPTYPE_DOUBLE: _DOUBLE,
    FieldDescriptor.CPPTYPE_BOOL: (False, True),
}


def twisted(message: Message, dice: random.Random) -> None:
    """Changes one field of `message`, at any depth, in place."""
    if not message.DESCRIPTOR.fields:
        return
    field = dice.choice(message.DESCRIPTOR.fields)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name)[_value(None, dice)] = _value(None, dice)
    elif hasattr(getattr(message, field.name), "extend"):
        _twist_list(getattr(message, field.name), field, dice)
    elif dice.random() < 0.1:
        message.ClearField(field.name)
    elif field.message_type is not None:
        twisted(getattr(message, field.name), dice)
    else:
        setattr(message, field.name, _value(field, dice))


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Returns `data` with a few bytes flipped, cut off, put in or doubled."""
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data) + 1)
        data = dice.choice(_DAMAGES)(data, at, dice)
    return data


def twisted_bytes(kind: type[Message], data: bytes, dice: random.Random) -> bytes:
    """Returns `data`, a message of `kind`, with some of its fields changed."""
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError:
        message.Clear()
    for _ in range(dice.randint(1, 3)):
        twisted(message, dice)
    return message.SerializeToString()


def _twist_list(items: Any, field: FieldDescriptor, dice: random.Random) -> None:
    act = dice.choice(("change", "change", "add", "remove", "double", "many"))
    if act == "add" or not items:
        _append(items, field, dice)
    elif act == "remove":
        del items[dice.randrange(len(items))]
    elif act == "double":
        items.append(items[dice.randrange(len(items))])
    elif act == "many":
        items.extend([items[0]] * 300)
    elif field.message_type is not None:
        twisted(items[dice.randrange(len(items))], dice)
    else:
        items[dice.randrange(len(items))] = _value(field, dice)


def _append(items: Any, field: FieldDescriptor, dice: random.Random) -> None:
    if field.message_type is not None:
        twisted(items.add(), dice)
    else:
        items.append(_value(field, dice))


def _value(field: FieldDescriptor | None, dice: random.Random) -> Any:
    """Returns anything that `field` can hold; a text where there is no field."""
    if field is not None and field.cpp_type in _VALUES:
        return dice.choice(_VALUES[field.cpp_type])
    if field is not None and field.type == FieldDescriptor.TYPE_BYTES:
        return dice.choice(_BYTES)
    return dice.choice(_TEXT)


_DAMAGES: tuple[Callable[[bytes, int, random.Random], bytes], ...] = (
    lambda data, at, dice: data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :],
    lambda data, at, dice: data[:at],
    lambda data, at, dice: data[:at] + dice.randbytes(dice.randint(1, 9)) + data[at:],
    lambda data, at, dice: data[:at] + data[max(0, at - 16) :],
    lambda data, at, dice: data[:at] + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + data[at:],
)
