"""What the two processes say to each other.

A message is one byte that names its kind, a JSON object with its small fields,
and raw bytes (`body`) that are passed on unread: an encoded request, an encoded
chunk, a line of the record. The requests and chunks inside are the wire's own
messages, so nothing is packed twice, and what the link reports is the core's
own vocabulary. JSON because it can be read in a trace and cannot run code;
about 5 microseconds each way.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, fields
from typing import Any, get_args

from segue.core.link.reports import CameraFailed, CameraWorks, Closed, Failed, Opened, Stop

# In place of a level: nothing to execute, and that is as it should be.
WAITING = "WAITING"

_HEAD = struct.Struct("<BI")  # kind, bytes of JSON


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
    """Link to control: a person ends, judges or begins an episode; `wish` is a `client.episodes.Wish`."""

    wish: str


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
    """Returns `message` as bytes."""
    kind = type(message)
    small = json.dumps({name: getattr(message, name) for name in _SMALL_FIELDS[kind]}).encode()
    return _HEAD.pack(_NUMBERS[kind], len(small)) + small + getattr(message, "body", b"")


def decode_message(data: bytes) -> Message:
    """Returns the message in `data`, which `encode_message` made."""
    number, size = _HEAD.unpack_from(data)
    small: dict[str, Any] = json.loads(data[_HEAD.size : _HEAD.size + size])
    kind = _KINDS[number]
    if "body" in kind.__slots__:
        small["body"] = data[_HEAD.size + size :]
    message: Message = kind(**small)
    return message
