from __future__ import annotations

import json
import struct
from typing import Any, get_args

import pytest

from segue.client.episodes import Wish
from segue.client.messages import (
    MAX_NUMBER,
    MAX_SMALL_BYTES,
    Answer,
    Ask,
    Begin,
    CameraFailed,
    CameraWorks,
    Closed,
    Commands,
    Ended,
    Failed,
    Hello,
    Make,
    Mark,
    Message,
    Opened,
    Record,
    Say,
    Status,
    Stop,
    Task,
    _reader_of,
    decode_message,
    encode_message,
)
from segue.core.facts import ExitReason
from segue.errors import LocalProtocolError

EXAMPLES: tuple[Message, ...] = (
    Make(b'{"factory": "a:b"}'),
    Hello(b"{}"),
    Begin(b"plan"),
    Ask(7, 10**18, bytes(range(256))),
    Answer(1, 2, 3, b""),
    Opened(1, 2, "cafe"),
    Closed("réseau coupé"),
    Failed(3, "deadline"),
    CameraFailed("front"),
    CameraWorks(),
    Stop(ExitReason.REFUSED),
    Mark(Wish.NEXT),
    Task("räum den Tisch ab"),
    Record(b'{"event": "x"}'),
    Commands(b"1,RUN\n"),
    Say("two\nlines"),
    Status(1.5, "RUN", 3, None, 0, "fine"),
    Ended(130, "signalled", "", b"{}"),
)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    """Encoding and decoding change nothing, bytes and letters beyond ASCII included."""
    assert decode_message(encode_message(message)) == message


def test_every_kind_has_an_example() -> None:
    """No kind of message is left untried."""
    assert {type(message) for message in EXAMPLES} == set(get_args(Message))


def written(kind: type, small: Any, body: bytes = b"") -> bytes:
    """Returns a message of `kind` with any JSON for its fields."""
    text = small if isinstance(small, bytes) else json.dumps(small).encode()
    return struct.pack("<BI", get_args(Message).index(kind), len(text)) + text + body


WHOLE = {"number": 3, "cause": "deadline"}
STATUS = {
    "t_s": 1.5,
    "level": "RUN",
    "queue_steps": 3,
    "delay_steps": None,
    "chunks": 0,
    "why": "",
    "detail": "",
}
DAMAGED: dict[str, bytes] = {
    "nothing": b"",
    "a cut head": b"\0\0\0",
    "of no kind": struct.pack("<BI", len(get_args(Message)), 2) + b"{}",
    "cut off in its fields": encode_message(Failed(3, "deadline"))[:-2],
    "more fields than bytes": struct.pack("<BI", 9, 1 << 31) + b"{}",
    "too much JSON": written(Closed, {"cause": "x" * MAX_SMALL_BYTES}),
    "no JSON": written(Failed, b"{number: 3}"),
    "no UTF-8": written(Closed, b'{"cause": "\xff"}'),
    "nested without end": written(Failed, b"[" * 50_000),
    "JSON that is no object": written(Failed, [3, "deadline"]),
    "a field that is missing": written(Failed, {"number": 3}),
    "a field too many": written(Failed, WHOLE | {"body": "x"}),
    "another field": written(Failed, {"number": 3, "why": "x"}),
    "a text for a number": written(Failed, WHOLE | {"number": "3"}),
    "a truth for a number": written(Failed, WHOLE | {"number": True}),
    "a fraction for a number": written(Failed, WHOLE | {"number": 3.5}),
    "no value for a number": written(Failed, WHOLE | {"number": None}),
    "a number below 0": written(Failed, WHOLE | {"number": -1}),
    "a huge number": written(Failed, WHOLE | {"number": MAX_NUMBER + 1}),
    "a number of 5000 digits": written(Failed, b'{"number": ' + b"9" * 5000 + b', "cause": "x"}'),
    "a number for a text": written(Failed, WHOLE | {"cause": 7}),
    "a list for a text": written(Failed, WHOLE | {"cause": ["x"]}),
    "half a character": written(Closed, b'{"cause": "\\ud800"}'),
    "NaN": written(Status, json.dumps(STATUS | {"t_s": float("nan")}).encode()),
    "infinity": written(Status, json.dumps(STATUS | {"t_s": float("inf")}).encode()),
    "a number that overflows": written(Status, json.dumps(STATUS).replace("1.5", "1e999").encode()),
    "a whole number that overflows a float": written(Status, STATUS | {"t_s": 10**400}),
    "a text for a number that may be missing": written(Status, STATUS | {"delay_steps": "4"}),
    "a reason that is none": written(Stop, {"reason": "because"}),
    "a reason that is a list": written(Stop, {"reason": []}),
    "a wish that is none": written(Mark, {"wish": "dance"}),
    "bytes where there are none": written(CameraWorks, {}, b"x"),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_what_is_damaged_is_no_message(data: bytes) -> None:
    """Every kind of damage is one error, in a sentence of a line that could be printed."""
    with pytest.raises(LocalProtocolError) as error:
        decode_message(data)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 200


def test_a_whole_number_may_stand_for_a_real_one() -> None:
    """JSON knows one kind of number; what is read is of the field's type."""
    status = decode_message(written(Status, STATUS | {"t_s": 2}))
    assert isinstance(status, Status)
    assert type(status.t_s) is float
    stop = decode_message(encode_message(Stop(ExitReason.DONE)))
    assert isinstance(stop, Stop)
    assert stop.reason is ExitReason.DONE


def test_fields_that_no_reader_takes_are_not_written() -> None:
    """A sentence without an end is an error of the writer, and not of the reader's neighbour."""
    with pytest.raises(LocalProtocolError, match=r"Say has \d+ bytes"):
        encode_message(Say("x" * MAX_SMALL_BYTES))


def test_a_field_of_a_type_that_cannot_travel_is_noticed_at_once() -> None:
    """A message with a list in it fails as it is written down, not when it is sent."""
    with pytest.raises(TypeError, match="cannot have a field"):
        _reader_of(list[int])
