"""Valid messages made wrong, damaged bytes and random bytes: every target keeps its promise on all."""

from __future__ import annotations

import json
import random
import struct
import warnings
from dataclasses import fields
from functools import cache
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segue.client.messages import MAX_NUMBER, Message
from segue.wire import policy_pb2 as pb

from . import seeds
from .mutate import damaged, twisted_bytes
from .targets import NAMES, handshake, load, mailbox, reply, request, spec, tensor

KINDS = {
    "request": (0, request.KIND),
    "reply": (0, reply.KIND),
    "tensor": (1, tensor.KIND),
    "handshake Refusal": (1, pb.Refusal),
    **{f"spec {kind.DESCRIPTOR.name}": (1, kind) for kind in spec.KINDS},
    **{f"handshake {kind.DESCRIPTOR.name}": (1, kind) for kind, _ in handshake.KINDS},
}
# A chunk is executed for a second by each strategy, a spec for fifty ticks; the others only decode.
EXAMPLES = {"reply": 150, "config": 100, "spec": 100, "mailbox": 100}
quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
dice = st.integers(0, 2**32 - 1).map(random.Random)


@pytest.fixture(autouse=True)
def _warnings_are_errors():  # type: ignore[no-untyped-def]
    with warnings.catch_warnings(), np.errstate(divide="raise", over="raise", invalid="raise"):
        warnings.simplefilter("error")
        yield


@cache
def starts(target: str) -> tuple[bytes, ...]:
    return tuple(data for name, data in seeds.seeds() if name == target)


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_of_any_value_is_taken_or_refused(kind: str) -> None:
    """One to three fields set to anything that their type can hold never break a promise."""
    target, (head, message) = kind.split(maxsplit=1)[0], KINDS[kind]
    check = load(target)
    kinds = {"handshake": handshake.kind_of, "spec": spec.kind_of}
    fitting = [d for d in starts(target) if target not in kinds or kinds[target](d) is message]

    @settings(quick, max_examples=EXAMPLES.get(target, 300))
    @given(dice, st.sampled_from(fitting))
    def try_one(luck: random.Random, start: bytes) -> None:
        check(start[:head] + twisted_bytes(message, start[head:], luck))

    try_one()


@pytest.mark.parametrize("target", NAMES)
def test_damaged_bytes_are_taken_or_refused(target: str) -> None:
    """Valid inputs with bytes flipped, cut, put in or doubled never break a promise."""
    check = load(target)

    @settings(quick, max_examples=EXAMPLES.get(target, 200))
    @given(dice, st.sampled_from(starts(target)))
    def try_one(luck: random.Random, start: bytes) -> None:
        check(damaged(start, luck))

    try_one()


ODD = (
    0, 1, -1, 2**31, 2**53, MAX_NUMBER, MAX_NUMBER + 1, 2**63, 1e308, -1.5, None, True, "", "x", "go", "next",
    "refused", "done", "robot", "other_policy", "cafe", "deadline", "RUN", "a\0b", "\x1b[2J", "é" * 200, [],
)  # fmt: skip


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Returns a packet of any kind whose fields hold anything."""
    kinds = get_args(Message)
    number = draw(st.integers(0, len(kinds)))
    names = [each.name for each in fields(kinds[number % len(kinds)]) if each.name != "body"]
    text = json.dumps({name: draw(st.sampled_from(ODD)) for name in names}).encode()
    body = draw(st.sampled_from((b"", b"body", starts("reply")[0])))
    return struct.pack("<BI", number, len(text)) + text + body


@settings(quick, max_examples=300)
@given(st.lists(packets() | st.sampled_from(starts("mailbox")), min_size=1, max_size=12))
def test_mail_with_any_values_brings_an_arm_to_rest_at_worst(mail: list[bytes]) -> None:
    """Valid and wrong messages in any order, tick by tick, raise nothing and move nothing wrongly."""
    load("mailbox")(mailbox.BETWEEN.join(mail))


@pytest.mark.parametrize("target", NAMES)
def test_random_bytes_are_taken_or_refused(target: str) -> None:
    """Bytes without any sense never break a promise."""
    check = load(target)

    @settings(quick, max_examples=100)
    @given(st.binary(max_size=300))
    def try_one(data: bytes) -> None:
        check(data)

    try_one()


@pytest.mark.parametrize("target", NAMES)
def test_inputs_that_once_broke_a_promise_keep_it_now(target: str) -> None:
    """Corpus and regressions of every target are replayed, and at least the seeds are there."""
    here = seeds.CORPUS.parent
    paths = [p for place in ("corpus", "regressions") for p in sorted((here / place / target).glob("*"))]
    assert len(paths) >= len(set(starts(target)))
    check = load(target)
    for path in paths:
        check(path.read_bytes())
