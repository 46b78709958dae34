from __future__ import annotations

from typing import get_args

import pytest

from segue.client.messages import (
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
    decode_message,
    encode_message,
)

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
    Stop("refused"),
    Mark("next"),
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
