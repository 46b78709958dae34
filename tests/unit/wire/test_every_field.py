"""Every field of the protocol, what it may be, who says so, and what happens when it is something else.

A field is judged twice: by the codec, which knows no robot (`bad`), and then by whoever knows it
(`later`): the server's session and its pictures, or the robot, which compares specs at every open and
drops chunks. On the server either refuses the call with INVALID_ARGUMENT or FAILED_PRECONDITION and a
sentence; on the robot the codec's refusal is an open that ends with 76 or a reply that is none, with
that sentence, and another spec than the run began with is 76 with both sides.
The table below is the list; a field that is added to policy.proto fails here until it has a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from segue.client.messages import Ask, encode_message
from segue.core.facts import ChunkDropped
from segue.core.specs import ActionSpec, Dimension, ObservationSpec, differences, respecified
from segue.core.types import ChunkRequest, Guidance, Leftover, Observation
from segue.errors import RemoteProtocolError, SegueError, SpecMismatch
from segue.server.pictures import with_pictures
from segue.server.refused import Refused
from segue.server.session import check_version
from segue.wire import policy_pb2 as pb
from segue.wire.codec import add_images, decode_chunk, decode_request, encode_request, encoded_images
from segue.wire.handshake import (
    decode_description,
    decode_handshake,
    decode_welcome,
    encode_description,
    encode_welcome,
)
from segue.wire.parse import parse
from segue.wire.records import RequestContext, ServerDescription
from segue.wire.refusal import REFUSAL_KEY, refusal_in
from segue.wire.specs_codec import check_policy_spec, decode_policy_spec
from segue.wire.version import (
    MAX_COUNT,
    MAX_HISTORY,
    MAX_HORIZON,
    MAX_INFERENCE_NS,
    MAX_MODEL_DIM,
    MAX_REQUEST_NUMBERS,
    MAX_STAGE_NS,
    MAX_TASK_CHARS,
)
from tests.fuzz import seeds
from tests.fuzz.targets import reply, world

INT64 = (-(2**63), -1, 0, 2**31, 2**63 - 1)
NAN, INF, BIG = math.nan, math.inf, 2**63 - 1
TRICKS = ("a\0b", "a\nb", "\x1b[2J", "a\u2028b", "\u202eevil", "x" * 10_000)
NO_NAME = ("", *TRICKS)


@dataclass(frozen=True)
class Many:
    """So many copies of a list's first item."""

    count: int


@dataclass(frozen=True)
class Rule:
    """What a field may be.

    Attributes:
        allowed: in words.
        good: values at the edges that the codec takes.
        bad: values that the codec refuses, with a sentence that holds `says` (the field's name by itself).
        later: values that the codec takes and that are refused by whoever knows robot and policy.
    """

    allowed: str
    good: tuple[Any, ...] = ()
    bad: tuple[Any, ...] = ()
    later: tuple[Any, ...] = ()
    says: str = ""


COUNT = Rule("0..2^62", (0, MAX_COUNT), (-1, MAX_COUNT + 1, BIG))
NAME = Rule("a name of 1 to 128 printable characters", ("x" * 128, "größer"), NO_NAME)
DURATION = Rule("0..3600 s", (0, MAX_STAGE_NS), (-1, MAX_STAGE_NS + 1, BIG, -(2**63)))
ARRAY = Rule("see Tensor", (), (None,), says="unknown dtype 0")
SPEC = Rule("see PolicySpec", (), (None,), says="is outside")

RULES: dict[str, Rule] = {
    "Tensor.dtype": Rule("1 float32, 2 float64", (2,), (0, 3, -1, 2**31 - 1)),
    "Tensor.shape": Rule(
        "the field's rank, sides of 1..65536",
        (),
        ([], [0], [-1], [2**62], [1, 1, 1]),
        says="shape|dimensions",
    ),
    "Tensor.data": Rule("as long as shape and dtype say", (), (b"", b"\x80\x04K*.", bytes(99)), says="bytes"),
    "Image.camera": Rule("a name, announced, once", (), NO_NAME, ("side",)),
    "Image.encoding": Rule("1 JPEG, 2 raw", (), (0, 3, -1)),
    "Image.height": Rule("1..8192, as announced", (8192,), (0, -1, 8193, BIG), (17,)),
    "Image.width": Rule("1..8192, as announced", (8192,), (0, -1, 8193, BIG), (17,)),
    "Image.data": Rule("a whole picture of that size", (), (), (b"", b"\xff\xd8\xff", bytes(100))),
    "Dimension.name": Rule(NAME.allowed, NAME.good, NAME.bad, ("base",)),
    "Dimension.unit": Rule("0 to 128 printable characters", ("", "x" * 128), TRICKS, ("rad",)),
    "Dimension.kind": Rule("1..4", (1, 2, 3, 4), (0, 5, -1), (2,)),
    "Dimension.low": Rule("-inf..high, not +inf or NaN", (-INF,), (NAN, INF, 1e300)),
    "Dimension.high": Rule("low..+inf, not -inf or NaN", (INF,), (NAN, -INF, -1e300), says="high|low"),
    "Dimension.max_speed": Rule("above 0, +inf too", (INF, 5e-324), (NAN, 0.0, -0.0, -1.0, -INF)),
    "CameraSpec.name": Rule(NAME.allowed, NAME.good, NAME.bad, ("side",)),
    "CameraSpec.height": Rule("0 or 1..8192", (), (-1, 8193, BIG)),
    "CameraSpec.width": Rule("0 or 1..8192", (), (-1, 8193, BIG)),
    "CameraSpec.fps": Rule("0..1000", (0.0, 1000.0), (NAN, INF, -1.0, 1e9)),
    "CameraSpec.fit": Rule("any; unknown is as it comes", (0, 4, 5, -1)),
    "ObservationSpec.state": Rule("1..256 dimensions", (), (Many(0), Many(257)), says="state: count"),
    "ObservationSpec.environment": Rule("0..256 names, once each", (), (["x"] * 257, ["x", "x"], ["\n"])),
    "ObservationSpec.cameras": Rule("0..16, 16 million pixels", (), (Many(17), Many(2)), says="cameras"),
    "RobotSpec.robot_type": NAME,
    "RobotSpec.observation": Rule("see ObservationSpec", (), (None,), says="state: count"),
    "RobotSpec.action": Rule("1..256 dimensions", (), (Many(0), Many(257)), says="action: count"),
    "PolicySpec.name": Rule(NAME.allowed, NAME.good, NAME.bad, ("other",)),
    "PolicySpec.observation": Rule("see ObservationSpec", (), (None,), says="state: count"),
    "PolicySpec.action": Rule("1..256 dimensions", (), (Many(0), Many(257)), says="action: count"),
    "PolicySpec.action_hz": Rule(
        "0.01..1000 Hz", (0.01, 1000.0), (0.0, NAN, INF, -INF, -30.0, 1e-9, 5e-324, 1e9), (10.5,)
    ),
    "PolicySpec.horizon": Rule("1..4096", (1, MAX_HORIZON), (0, -1, MAX_HORIZON + 1, 65_536, BIG), (9,)),
    "PolicySpec.model_action_dim": Rule("0..1024", (0, MAX_MODEL_DIM), (-1, MAX_MODEL_DIM + 1, BIG), (4,)),
    "PolicySpec.history_steps": Rule("0..64", (0, MAX_HISTORY), (-1, MAX_HISTORY + 1, 65_536, BIG), (0,)),
    "PolicySpec.rtc_modes": Rule(
        "0..8 names, once each", ([], ["new"]), (["a"] * 2, [""], list("abcdefghi")), ([],)
    ),
    "PolicySpec.warm_inference_ns": Rule(
        "0..600 s", (0, MAX_INFERENCE_NS), (-1, MAX_INFERENCE_NS + 1, BIG, -(2**63))
    ),
    "PolicySpec.policy_hash": Rule(NAME.allowed, NAME.good, NAME.bad, ("other",)),
    "Guidance.strategy": Rule("1..3", (1, 2, 3), (0, 4, -1)),
    "Guidance.mode": Rule("1..2, one that the policy has", (1, 2), (0, 3, -1), (2,)),
    "Guidance.schedule": Rule("1..4", (1, 4), (0, 5, -1)),
    "Guidance.prefix_end": Rule("1..horizon", (1, MAX_HORIZON), (0, -1, MAX_HORIZON + 1, BIG), (9,)),
    "Guidance.max_weight": Rule("0..1e6", (0.0, 1e6), (NAN, INF, -1.0, 1e7)),
    "Guidance.jacobian": Rule("1..2", (1, 2), (0, 3, -1)),
    "DescribeReply.server_version": Rule("0 to 128 printable characters", ("",), TRICKS),
    "DescribeReply.protocol_versions": Rule("0..256 numbers", ([], [2**32 - 1]), ([1] * 257,)),
    "DescribeReply.policies": Rule("0..256", (Many(0),), (Many(257),), says="policies: count|parts"),
    "DescribeReply.ready": Rule("any", (False, True)),
    "OpenRequest.protocol_version": Rule("one that this side speaks", (1,), (), (0, 2, 2**32 - 1)),
    "OpenRequest.robot_id": NAME,
    "OpenRequest.robot": Rule("see RobotSpec", (), (None,), says="count"),
    "OpenRequest.policy": Rule("0 to 1024 printable characters", ("", "x" * 1024), TRICKS),
    "OpenRequest.guidance": Rule("see Guidance", (), (None,), says="guidance.strategy"),
    "OpenRequest.chunk_length": Rule("0..4096", (0, MAX_HORIZON), (-1, MAX_HORIZON + 1, BIG)),
    "OpenRequest.previous_session_id": Rule("0 to 128 printable characters", ("", "x" * 128), TRICKS),
    "OpenReply.protocol_version": Rule("one that this side speaks", (1,), (0, 2, 2**32 - 1)),
    "OpenReply.session_id": NAME,
    "OpenReply.policy": SPEC,
    "OpenReply.spec_hash": Rule("that of `policy`, computed anew", (), ("", "0" * 16, "x" * 10_000, "\x1b")),
    "OpenReply.configuration": Rule(
        "0..64 entries, a name and 0 to 1024 printable characters",
        ({}, {"x": "x" * 1024}),
        ({str(i): "" for i in range(65)}, {"": "x"}, {"x": "\x1b[2J"}, {"x\n": ""}, {"x": "x" * 1025}),
    ),
    "Observation.state": ARRAY,
    "Observation.environment": Rule("see Tensor; absent where there is none", (None,)),
    "Observation.images": Rule("0..16, each camera once", (), (Many(17), Many(2)), (Many(0),)),
    "Observation.step": COUNT,
    "Observation.captured_ns": Rule("any: it only comes back", INT64),
    "Leftover.robot_actions": ARRAY,
    "Leftover.model_actions": Rule("see Tensor; absent or as long as the other", (None,)),
    "InferRequest.robot_id": NAME,
    "InferRequest.session_id": Rule("one that is open here", (), TRICKS, ("", "other")),
    "InferRequest.spec_hash": Rule("that of the session's policy", (), TRICKS, ("", "other")),
    "InferRequest.epoch": COUNT,
    "InferRequest.number": COUNT,
    "InferRequest.start_step": COUNT,
    "InferRequest.observation": Rule("see Observation", (), (None,), says="observation.state"),
    "InferRequest.history": Rule("0..history_steps", (Many(0),), (Many(65),), (Many(3),)),
    "InferRequest.task": Rule("0 to 1024 printable characters", ("", "x" * 1024), TRICKS),
    "InferRequest.leftover": Rule("see Leftover; absent where there is none", (None,)),
    "InferRequest.delay_steps": Rule(
        "0..length of the leftover", (0, MAX_HORIZON), (-1, MAX_HORIZON + 1, BIG), (0, 5)
    ),
    "InferRequest.guidance": Rule("see Guidance", (), (None,), says="guidance.strategy"),
    "InferRequest.seed": Rule("0..2^63-1", (0, BIG), (-1, -(2**63))),
    "InferRequest.chunk_length": Rule("0..horizon", (0, MAX_HORIZON), (-1, MAX_HORIZON + 1, BIG), (9,)),
    "InferRequest.slack_ns": Rule("any: brought to 0..10 s", INT64),
    "Timings.queue_ns": DURATION,
    "Timings.decoding_ns": DURATION,
    "Timings.preprocessing_ns": DURATION,
    "Timings.inference_ns": DURATION,
    "Timings.postprocessing_ns": DURATION,
    "Timings.total_ns": DURATION,
    "InferReply.request_number": Rule("that of the request; else dropped", INT64, (), (-1, 2, BIG)),
    "InferReply.epoch": Rule("that of the request; else dropped", INT64, (), (-1, 0, 2, BIG)),
    "InferReply.start_step": Rule("that of the request; else dropped", INT64, (), (-1, 1, BIG, -(2**63))),
    "InferReply.captured_ns": Rule("that of the request; else dropped", INT64, (), (-1, 1, BIG, -(2**63))),
    "InferReply.robot_actions": ARRAY,
    "InferReply.model_actions": Rule("see Tensor; absent or 1..horizon long", (None,)),
    "InferReply.conditioned_delay": Rule("0..4096", (0, MAX_HORIZON), (-1, MAX_HORIZON + 1, BIG)),
    "InferReply.policy_hash": Rule("a name: that of the session's policy", (), NO_NAME, ("other",)),
    "InferReply.cold": Rule("any", (False, True)),
    "InferReply.timings": Rule("see Timings; absent is all 0", (None,)),
    "Refusal.reason": Rule("any; unknown is unspecified", (0, 1, 999, -1)),
    "Refusal.differences": Rule("any: 64 of them, cut and made printable", (["\x1b"], ["x" * 9999] * 99)),
    "Refusal.protocol_versions": Rule("any: 256 of them", ([2**32 - 1] * 999,)),
}


def all_fields() -> set[str]:
    return {
        f"{message.name}.{field.name}"
        for message in pb.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    }


def test_every_field_of_the_protocol_has_its_rule() -> None:
    """A field that is added to policy.proto fails here until somebody says what it may be."""
    assert set(RULES) == all_fields()
    assert all(rule.allowed and (rule.good or rule.bad or rule.later) for rule in RULES.values())


# ---------------------------------------------------------------- the doors

_TOY = world.policy().spec
POLICY = replace(_TOY, observation=replace(_TOY.observation, cameras=(world.CAMERA,)))
DESCRIPTION = ServerDescription("0.1.0", (1,), (POLICY,), ready=True)


def _request() -> bytes:
    message = pb.InferRequest.FromString(seeds.requests()[1])
    message.spec_hash = POLICY.spec_hash()
    add_images(message, {}, [{}, {"front": seeds.jpeg()}])
    return message.SerializeToString()


def _infer_request(message: Any) -> None:
    decode_request(message)
    encoded_images(message.observation)


def _refusal(message: Any) -> None:
    refusal = refusal_in([(REFUSAL_KEY, message.SerializeToString())])
    assert len(refusal.differences) <= 64
    assert sum(map(len, refusal.differences)) <= 13_000
    assert all(each.isprintable() for each in refusal.differences)


DOORS: dict[type[Message], tuple[bytes, Callable[[Any], object]]] = {
    pb.OpenRequest: (seeds.handshakes()[0][1:], decode_handshake),
    pb.OpenReply: (encode_welcome(world.opened(POLICY)[1]).SerializeToString(), decode_welcome),
    pb.DescribeReply: (encode_description(DESCRIPTION).SerializeToString(), decode_description),
    pb.InferRequest: (_request(), _infer_request),
    pb.InferReply: (seeds.replies()[0], decode_chunk),
    pb.Refusal: (seeds.handshakes()[4][1:], _refusal),
}


def opened_at_the_server(message: Any) -> None:
    check_version(message.protocol_version)
    world.sessions().open(decode_handshake(message), POLICY, 0)


def asked_at_the_server(message: Any) -> None:
    context, request = decode_request(message)
    session = world.opened(POLICY)[0].admit(context, request, 1)
    with_pictures(request, message, session.robot, session.policy)


def opened_at_the_robot(message: Any) -> None:
    now = decode_welcome(message).policy
    found = differences(world.ROBOT, now) + respecified(POLICY, now)
    if found:
        raise SpecMismatch(found)


def taken_by_the_robot(message: Any) -> None:
    ticks = reply.execute([decode_chunk(message)[0]])
    if any(isinstance(event, ChunkDropped) for tick in ticks for event in tick.events):
        raise SegueError("dropped")


LATER: dict[type[Message], Callable[[Any], None]] = {
    pb.OpenRequest: opened_at_the_server,
    pb.OpenReply: opened_at_the_robot,
    pb.InferRequest: asked_at_the_server,
    pb.InferReply: taken_by_the_robot,
}


def path_to(descriptor: Descriptor, message: str) -> list[str] | None:
    """Returns the names of the fields that lead from a message to the first one called `message`."""
    if descriptor.name == message:
        return []
    for field in descriptor.fields:
        below = field.message_type and path_to(field.message_type, message)
        if below is not None:
            return [field.name, *below]
    return None


def changed(kind: type[Message], name: str, value: object) -> Any | None:
    """Returns a valid message of class `kind` with one field changed; None where it has no such field."""
    of, field = name.split(".")
    path = path_to(kind.DESCRIPTOR, of)  # type: ignore[arg-type]
    if path is None:
        return None
    top: Any = kind()
    top.ParseFromString(DOORS[kind][0])
    at = top
    for step in path:
        at = getattr(at, step)
        at = at[0] if hasattr(at, "extend") else at
    put(at, field, value)
    if kind is pb.OpenReply and name != "OpenReply.spec_hash":
        rehash(top)
    return top


def put(message: Any, field: str, value: object) -> None:
    present = getattr(message, field)
    if value is None:
        message.ClearField(field)
    elif isinstance(value, Many):
        copies = [present[0]] * value.count
        copies = [type(copy).FromString(copy.SerializeToString()) for copy in copies]
        del present[:]
        present.extend(copies)
    elif isinstance(value, list):
        present[:] = value
    elif isinstance(value, dict):
        present.clear()
        present.update(value)
    else:
        setattr(message, field, value)


def rehash(message: Any) -> None:
    """Gives a changed spec its own hash, as a server that lies would."""
    try:
        message.spec_hash = decode_policy_spec(message.policy).spec_hash()
    except RemoteProtocolError:
        return


def cases(which: str) -> Iterator[Any]:
    """Yields door, field and value for every door that the field comes through."""
    doors = LATER if which == "later" else DOORS
    for kind, (name, rule) in product(doors, RULES.items()):
        values = getattr(rule, which) if path_to(kind.DESCRIPTOR, name.split(".")[0]) is not None else ()  # type: ignore[arg-type]
        for number, value in enumerate(values):
            yield pytest.param(kind, name, value, id=f"{kind.__name__}-{name}-{number}")


def beyond_the_field(kind: type[Message], name: str, value: object) -> bool:
    """Whether another rule speaks first: a camera of any size is for policies alone."""
    return kind is pb.OpenRequest and name.startswith("CameraSpec.") and value == 0


@pytest.mark.parametrize(("kind", "name", "value"), list(cases("good")))
def test_a_field_at_its_edge_is_taken(kind: type[Message], name: str, value: object) -> None:
    """What a field may be at most and at least passes the codec, at every door that it comes through."""
    message = changed(kind, name, value)
    if not beyond_the_field(kind, name, value):
        DOORS[kind][1](parse(kind, message.SerializeToString()))


@pytest.mark.parametrize(("kind", "name", "value"), list(cases("bad")))
def test_a_field_beyond_its_edge_is_refused_in_a_sentence(
    kind: type[Message], name: str, value: object
) -> None:
    """The codec refuses it, and says field and value in one printable line of at most 200 characters."""
    message = changed(kind, name, value)
    with pytest.raises(RemoteProtocolError, match=RULES[name].says or name.split(".")[1]) as refused:
        DOORS[kind][1](parse(kind, message.SerializeToString()))
    assert len(str(refused.value)) <= 200
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(("kind", "name", "value"), list(cases("later")))
def test_a_field_at_odds_with_robot_or_policy_is_refused_by_who_knows_them(
    kind: type[Message], name: str, value: object
) -> None:
    """What the codec cannot judge is refused by the server's session, or dropped by the robot's executor."""
    message = changed(kind, name, value)
    with pytest.raises((SegueError, Refused)):
        LATER[kind](message)


def test_the_messages_themselves_pass() -> None:
    """The valid messages that the table's values are put into are taken at every door, and later, too."""
    for kind, (data, decode) in DOORS.items():
        decode(parse(kind, data))
        LATER.get(kind, lambda message: None)(parse(kind, data))


@pytest.mark.parametrize(
    ("joints", "changes"),
    [
        (100, {"horizon": 4096}),
        (100, {"horizon": 400, "model_action_dim": 100}),
        (6, {"horizon": 4096, "model_action_dim": 6}),
        (256, {"horizon": 50, "history_steps": 64, "model_action_dim": 400}),
        (1, {"horizon": 48, "model_action_dim": 1024}),
    ],
)
def test_numbers_that_pass_alone_are_refused_where_a_request_of_all_is_too_large(
    joints: int, changes: dict[str, int]
) -> None:
    """Horizon, width and history within their bounds make no request that the robot's mailbox cannot take."""
    dimensions = tuple(Dimension(f"joint{number}", "deg") for number in range(joints))
    seen = ObservationSpec(dimensions)
    policy = replace(_TOY, observation=seen, action=ActionSpec(dimensions), model_action_dim=0)
    check_policy_spec(policy)
    with pytest.raises(RemoteProtocolError, match=f"horizon {changes['horizon']}, .* numbers a request"):
        check_policy_spec(replace(policy, **changes))  # type: ignore[arg-type]


def test_the_largest_request_of_any_policy_fits_into_the_mailbox_of_an_untuned_kernel() -> None:
    """Numbers, names, task and frames of it stay below the 416 KiB that such a kernel grants."""
    joints, horizon = 100, 207
    wide = np.zeros((horizon, joints))
    seen = Observation(MAX_COUNT, BIG, np.zeros(joints))
    numbers = (1 + MAX_HISTORY) * joints + 2 * wide.size
    assert MAX_REQUEST_NUMBERS - 2 * joints < numbers <= MAX_REQUEST_NUMBERS
    request = ChunkRequest(
        MAX_COUNT, MAX_COUNT, MAX_COUNT, seen, (seen,) * MAX_HISTORY, Leftover(wide, wide), horizon, 0, 0, BIG
    )
    long = "\U0001f9be" * 128
    context = RequestContext(long, long, long, "\U0001f9be" * MAX_TASK_CHARS, Guidance(), horizon, BIG)
    ask = Ask(MAX_COUNT, BIG, encode_request(request, context).SerializeToString())
    assert len(encode_message(ask)) <= 2 * 212_992 - 32
