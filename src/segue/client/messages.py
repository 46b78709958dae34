"""What the two processes say to each other.

A message is one byte that names its kind, a JSON object with its small fields,
and raw bytes (`body`) that are passed on unread: an encoded request, an encoded
chunk, a line of the record. The requests and chunks inside are the wire's own
messages, so nothing is packed twice, and what the link reports is the core's
own vocabulary. JSON because it can be read in a trace and cannot run code;
about 5 microseconds each way.

Both ends are ours, and still nothing that comes is believed: a process whose
memory is damaged, or whose version is another one, must not take its neighbour
with it. Every field is held against its type; what is no message is an error,
and whoever reads it treats the writer as gone.
"""

from __future__ import annotations

import json
import math
import struct
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from segue.client.episodes import Wish
from segue.core.link.reports import CameraFailed, CameraWorks, Closed, Failed, Opened, Stop
from segue.errors import LocalProtocolError

# In place of a level: nothing to execute, and that is as it should be.
WAITING = "WAITING"

_HEAD = struct.Struct("<BI")  # kind, bytes of JSON
# The longest sentence of ours has some thousand characters; JSON that is read at a tick must be short.
MAX_SMALL_BYTES = 64 * 1024
# In ns 36 years, and three times of it still fits into 64 bits.
MAX_NUMBER = 1 << 60


@dataclass(frozen=True, slots=True)
class Make:
    """Link to control, first of all: which robot to make, a `RobotPart` as JSON in `body`."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """Control to link: the robot's spec as JSON in `body`; it is not connected yet."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Begin:
    """Link to control: connect and tick, by the `ControlPlan` as JSON in `body`."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """Control to link: an encoded `InferRequest`, still without pictures and session."""

    number: int
    deadline_ns: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Link to control: an encoded `InferReply`.

    Attributes:
        call_ns: duration of the call.
        arrived_ns: monotonic time at which it was put into the mailbox.
        observation_bytes: size of the request as sent.
    """

    call_ns: int
    arrived_ns: int
    observation_bytes: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """Link to control: a person ends, judges or begins an episode, or says go."""

    wish: Wish


@dataclass(frozen=True, slots=True)
class Task:
    """Link to control: what to do from now on, in words."""

    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """To the recorder: one JSON line of the run's record in `body`, without its newline."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Commands:
    """To the recorder: some rows of the log of commands in `body`."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Say:
    """To the recorder: a sentence for the person at the terminal."""

    text: str


@dataclass(frozen=True, slots=True)
class Status:
    """To the recorder: how things stand.

    Attributes:
        t_s: since the first tick.
        level: name of the safety level, or `WAITING`.
        queue_steps: planned actions.
        delay_steps: what the newest round trip took; None before the first.
        chunks: merged so far.
        why: the cause of the level, one word.
        detail: what is behind that cause, such as a camera's name; may be empty.
    """

    t_s: float
    level: str
    queue_steps: int
    delay_steps: int | None
    chunks: int
    why: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """To the recorder, last of all: how the run ended, with its summary as JSON in `body`."""

    exit_code: int
    reason: str
    detail: str
    body: bytes


Message = (
    Make
    | Hello
    | Begin
    | Ask
    | Answer
    | Opened
    | Closed
    | Failed
    | CameraFailed
    | CameraWorks
    | Stop
    | Mark
    | Task
    | Record
    | Commands
    | Say
    | Status
    | Ended
)

_KINDS: tuple[type[Message], ...] = get_args(Message)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
_SMALL_FIELDS = {kind: tuple(f.name for f in fields(kind) if f.name != "body") for kind in _KINDS}


def encode_message(message: Message) -> bytes:
    """Returns `message` as bytes.

    Raises:
        LocalProtocolError: its small fields are larger than a reader takes.
    """
    kind = type(message)
    small = json.dumps({name: getattr(message, name) for name in _SMALL_FIELDS[kind]}).encode()
    if len(small) > MAX_SMALL_BYTES:
        raise LocalProtocolError(
            f"{kind.__name__} has {len(small)} bytes of fields; {MAX_SMALL_BYTES} are allowed"
        )
    return _HEAD.pack(_NUMBERS[kind], len(small)) + small + getattr(message, "body", b"")


def decode_message(data: bytes) -> Message:
    """Returns the message in `data`, which `encode_message` made.

    Raises:
        LocalProtocolError: it is none: cut off, of no kind, or a field is missing, wrong or too much.
    """
    if len(data) < _HEAD.size:
        raise LocalProtocolError(f"message: {len(data)} bytes are no message")
    number, size = _HEAD.unpack_from(data)
    end = _HEAD.size + size
    if number >= len(_KINDS) or size > MAX_SMALL_BYTES or end > len(data):
        raise LocalProtocolError(f"message: kind {number} with {size} of {len(data)} bytes of fields is none")
    kind = _KINDS[number]
    made = _made(kind, _parsed(kind, data[_HEAD.size : end]))
    if "body" in kind.__slots__:
        made["body"] = data[end:]
    elif end < len(data):
        raise LocalProtocolError(f"{kind.__name__}: {len(data) - end} bytes too many")
    message: Message = kind(**made)
    return message


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


_JSON = json.JSONDecoder(parse_constant=_refused)


def _parsed(kind: type[Message], text: bytes) -> Any:
    try:
        return _JSON.decode(text.decode())
    except (ValueError, RecursionError) as error:
        raise LocalProtocolError(f"{kind.__name__}: no JSON: {error}") from None


def _made(kind: type[Message], small: Any) -> dict[str, Any]:
    """Returns the small fields of a message of `kind`, each of its own type."""
    readers = _READERS[kind]
    if type(small) is not dict or small.keys() != readers.keys():
        raise LocalProtocolError(f"{kind.__name__}: expected the fields {', '.join(readers) or 'none'}")
    try:
        return {name: read(small[name]) for name, read in readers.items()}
    except ValueError as error:
        raise LocalProtocolError(f"{kind.__name__}: {error}") from None


# --- one reader for each type that a field may have; raises ValueError -----------------------------

Reader = Callable[[Any], Any]


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise ValueError(f"{_shown(value)} is no whole number from 0 to 2^60")
    return value


def _real(value: Any) -> float:
    if type(value) is int:
        return float(_whole(value))
    if type(value) is not float or not math.isfinite(value):
        raise ValueError(f"{_shown(value)} is no finite number")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"{_shown(value)} is no text")
    if not value.isascii():
        value.encode()  # half a character cannot be written down, nor sent to a server
    return value


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{_shown(value)} is neither true nor false")
    return value


_PLAIN: Mapping[Any, Reader] = {int: _whole, float: _real, str: _text, bool: _truth}


def _reader_of(hint: Any) -> Reader:
    """Returns what reads a field with this type.

    Raises:
        TypeError: a message has a field of a type that cannot travel.
    """
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = (each for each in get_args(hint) if each is not types.NoneType)
        read = _reader_of(inner)
        return lambda value: None if value is None else read(value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint
    if hint not in _PLAIN:
        raise TypeError(f"a message cannot have a field of type {hint}")
    return _PLAIN[hint]


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"


_READERS: Mapping[type[Message], Mapping[str, Reader]] = {
    kind: {name: _reader_of(get_type_hints(kind)[name]) for name in names}
    for kind, names in _SMALL_FIELDS.items()
}
