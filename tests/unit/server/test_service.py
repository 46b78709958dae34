"""Calls over real gRPC on loopback: what a robot gets for what it sends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import numpy as np
import pytest

from segue.core.specs import ActionSpec, Dimension, ObservationSpec
from segue.policies.base import PolicyInput, PolicyOutput
from segue.server.service import SERVICE_NAME
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_chunk
from segue.wire.handshake import decode_description
from segue.wire.refusal import Reason, Refusal
from tests.unit.server.thin_client import PICTURE, WAIT_S, Client, reason_of, refused, resident_bytes, until
from tests.unit.server.toy_policy import HORIZON, ROBOT, SPEC, SlowPolicy, ToyPolicy

Serve = Callable[..., Client]


def test_a_robot_opens_asks_and_gets_its_chunk(serve: Serve) -> None:
    """From handshake to chunk over a real channel, every echoed field is the robot's own."""
    client = serve()
    welcome = client.open()
    chunk, timings = client.infer(client.message(welcome.session_id, number=4))
    assert (chunk.request_number, chunk.epoch, chunk.start_step, chunk.captured_ns) == (4, 3, 5, 123_456_789)
    assert np.array_equal(chunk.robot_actions[:, 0], 1.0 + np.arange(HORIZON))
    assert chunk.model_actions is not None
    assert chunk.model_actions.shape == (HORIZON, 3)
    assert (chunk.conditioned_delay, chunk.policy_hash, chunk.cold) == (2, SPEC.policy_hash, False)
    stages = timings.queue_ns + timings.decoding_ns + timings.preprocessing_ns
    stages += timings.inference_ns + timings.postprocessing_ns
    assert 0 < timings.inference_ns < stages <= timings.total_ns


def test_the_chunk_is_as_long_as_the_robot_will_use(serve: Serve) -> None:
    """A shorter chunk length cuts the robot's actions and not the policy's own."""
    client = serve()
    chunk, _ = client.infer(client.message(client.open().session_id, chunk_length=3))
    assert len(chunk.robot_actions) == 3
    assert chunk.model_actions is not None
    assert len(chunk.model_actions) == HORIZON


def test_describe_says_what_is_offered(serve: Serve) -> None:
    """Version, protocol and policies are told without a session."""
    client = serve()
    description = decode_description(client.stub.Describe(pb.DescribeRequest(), timeout=WAIT_S))
    assert description.ready
    assert description.protocol_versions == (1,)
    assert [spec.name for spec in description.policies] == ["toy"]
    assert description.policies[0].spec_hash() == SPEC.spec_hash()


def test_another_replica_asks_to_open(serve: Serve) -> None:
    """A replica that never saw the handshake says so, and serves the robot once it has opened there."""
    first, second = serve(), serve()
    session_id = first.open().session_id
    with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusals:
        second.infer(second.message(session_id))
    assert refusals[0].reason is Reason.UNKNOWN_SESSION
    second.infer(second.message(second.open().session_id))


def test_a_robot_that_does_not_fit_gets_both_lists(serve: Serve) -> None:
    """A robot with other joints is refused with both sides of every difference."""
    radians = (Dimension("a", "rad"), Dimension("b", "rad"))
    stranger = replace(ROBOT, observation=ObservationSpec(radians, ("cube_x",)), action=ActionSpec(radians))
    with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusals:
        serve().open(robot=stranger)
    assert refusals[0].reason is Reason.MISMATCH
    assert [text.split(":")[0] for text in refusals[0].differences] == ["joints", "actions"]
    assert "a [rad, position]" in refusals[0].differences[0]
    assert "pan [deg, position]" in refusals[0].differences[0]


def test_a_robot_of_many_joints_gets_the_whole_list(serve: Serve) -> None:
    """A refusal of a hundred joints reaches our client in full."""
    many = tuple(Dimension(f"joint_{index:03}", "rad") for index in range(100))
    stranger = replace(ROBOT, observation=ObservationSpec(many), action=ActionSpec(many))
    with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusals:
        serve().open(robot=stranger)
    assert "joint_099" in refusals[0].differences[0]
    assert "joint_099" in refusals[0].differences[1]


def test_a_path_for_a_policy_is_denied(serve: Serve) -> None:
    """A client that names a path as its policy is denied."""
    with refused(grpc.StatusCode.PERMISSION_DENIED) as refusals:
        serve().open(policy="../../etc/passwd")
    assert refusals[0].reason is Reason.FORBIDDEN


def test_an_unknown_version_is_refused_before_anything_is_read(serve: Serve) -> None:
    """A later client is told the versions spoken here, whatever else its message holds."""
    with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusals:
        serve().stub.Open(pb.OpenRequest(protocol_version=2), timeout=WAIT_S)
    assert refusals[0] == Refusal(Reason.VERSION, (), (1,))


def test_overload_is_refused_at_the_handshake(serve: Serve) -> None:
    """Of 64 robots that come at once as many as there are places are let in, the others are refused."""
    client = serve(max_robots=16)

    def come(_: int) -> Reason | None:
        return reason_of(client.open)

    with ThreadPoolExecutor(16) as crowd:
        answers = list(crowd.map(come, range(64)))
    assert answers.count(None) == 16
    assert answers.count(Reason.FULL) == 48


BAD_BYTES = {"pickle": b"\x80\x04K\x01.", "noise": bytes(range(256)), "half a message": b"\x0a\xff"}


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES)
@pytest.mark.parametrize("method", ["Describe", "Open", "Infer"])
def test_bytes_that_are_no_message_are_invalid(serve: Serve, method: str, data: bytes) -> None:
    """Bytes that are no message are INVALID_ARGUMENT, and the next good call works."""
    client = serve()
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusals:
        client.raw(method, data)
    assert refusals[0].reason is Reason.BAD_FIELD
    assert client.open().session_id


def _text(field: bytes, value: bytes) -> bytes:
    """Returns one field of bytes that protobuf takes for a string, whatever they are."""
    return field + len(value).to_bytes(1, "big") + value


BAD_FIELDS: dict[str, Callable[[pb.InferRequest], bytes]] = {
    "task of invalid UTF-8": lambda m: m.SerializeToString() + _text(b"\x4a", b"lift \xff\xfe"),
    "task of pickle": lambda m: m.SerializeToString() + _text(b"\x4a", b"\x80\x04K\x01."),
    "task with newline": lambda m: _changed(m, "task", "a\nb"),
    "task of 1 MB": lambda m: _changed(m, "task", "a" * 2**20),
    "delay of 2^31": lambda m: _changed(m, "delay_steps", 2**31),
    "delay negative": lambda m: _changed(m, "delay_steps", -1),
    "state of pickle": lambda m: _changed(m.observation.state, "data", b"\x80\x04K\x01.", m),
    "state of huge shape": lambda m: _changed(m.observation.state, "shape", [2**40], m),
    "picture of pickle": lambda m: _changed(m.observation.images[0], "data", b"\x80\x04K\x01.", m),
    "picture truncated": lambda m: _changed(m.observation.images[0], "data", PICTURE.data[:-40], m),
    "picture of 65535": lambda m: _changed(m.observation.images[0], "width", 65_535, m),
}


def _changed(part: object, field: str, value: object, message: pb.InferRequest | None = None) -> bytes:
    if isinstance(value, list):
        getattr(part, field)[:] = value
    else:
        setattr(part, field, value)
    return (message or part).SerializeToString()  # type: ignore[attr-defined]


def test_bad_fields_are_invalid_and_leave_no_trace(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Each bad field is INVALID_ARGUMENT and one log line, memory stays, and the next good call works."""
    caplog.set_level(logging.INFO, "segue.server")
    client = serve()
    session_id = client.open().session_id
    client.infer(client.message(session_id))
    before = resident_bytes()
    for name, spoil in BAD_FIELDS.items():
        caplog.clear()
        with refused(grpc.StatusCode.INVALID_ARGUMENT):
            client.raw("Infer", spoil(client.message(session_id)))
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 1, (name, lines)
        assert lines[0].isprintable(), name
        client.infer(client.message(session_id))
    assert resident_bytes() - before < 50 * 2**20


def test_nan_in_the_state_names_the_joint(serve: Serve) -> None:
    """A state with NaN is INVALID_ARGUMENT, and the text names the joint."""
    client = serve()
    message = client.message(client.open().session_id)
    message.observation.state.data = np.array([1.0, np.nan]).tobytes()
    with pytest.raises(grpc.RpcError) as error:
        client.infer(message)
    assert error.value.details() == "observation.state: grip is not finite"


def test_messages_over_the_limit_and_bombs_are_refused_at_no_cost(serve: Serve) -> None:
    """A message over 8 MiB, and a small one that inflates to 100 MB, are RESOURCE_EXHAUSTED; memory stays."""
    client = serve()
    loose = [("grpc.max_send_message_length", -1)]
    plain = grpc.insecure_channel(client.address, options=loose)
    squeezed = grpc.insecure_channel(client.address, options=loose, compression=grpc.Compression.Gzip)
    zeros = bytes(100_000_000)
    before = resident_bytes()
    for channel, data in ((plain, zeros[: 9 * 2**20]), (squeezed, zeros)):
        call = channel.unary_unary(f"/{SERVICE_NAME}/Infer")
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
            call(data, timeout=WAIT_S)
    assert resident_bytes() - before < 50 * 2**20
    assert client.open().session_id


def test_a_policy_that_fails_says_one_sentence_and_goes_on(serve: Serve) -> None:
    """An exception and a NaN in the policy are INTERNAL without traceback; the next request is served."""

    class Moody(ToyPolicy):
        def before(self, batch: Sequence[PolicyInput]) -> None:
            if batch[0].task == "raise":
                raise RuntimeError("secret /src/detail\nTraceback")

        def answer(self, item: PolicyInput) -> PolicyOutput:
            output = super().answer(item)
            nan = np.full((HORIZON, 2), np.nan)
            return replace(output, robot_actions=nan) if item.task == "nan" else output

    client = serve(Moody())
    session_id = client.open().session_id
    for task in ("raise", "nan"):
        with refused(grpc.StatusCode.INTERNAL) as refusals:
            client.infer(client.message(session_id, task=task))
        assert refusals[0].reason is Reason.POLICY_FAILED
        client.infer(client.message(session_id))


def test_the_newest_request_of_a_robot_wins(serve: Serve) -> None:
    """While one request runs, an older one that waits is ABORTED and the newest is served."""
    policy = SlowPolicy()
    client = serve(policy)
    session_id = client.open().session_id
    first = client.stub.Infer.future(client.message(session_id, 1, task="first"), timeout=WAIT_S)
    assert policy.began.acquire(timeout=WAIT_S)
    old = client.stub.Infer.future(client.message(session_id, 2, task="old"), timeout=WAIT_S)
    until(lambda: len(client.server._worker._batcher) == 1)
    new = client.stub.Infer.future(client.message(session_id, 3, task="new"), timeout=WAIT_S)
    with refused(grpc.StatusCode.ABORTED) as refusals:
        old.result()
    assert refusals[0].reason is Reason.SUPERSEDED
    policy.may_end.release(2)
    assert first.result().request_number == 1
    assert new.result().request_number == 3
    assert policy.tasks == ["first", "new"]


def test_a_request_whose_caller_went_away_costs_no_inference(serve: Serve) -> None:
    """A waiting request that is cancelled, or whose deadline passes, is never given to the policy."""
    policy = SlowPolicy()
    client = serve(policy)
    ours, other = client.open().session_id, client.open().session_id
    first = client.stub.Infer.future(client.message(ours, task="first"), timeout=WAIT_S)
    assert policy.began.acquire(timeout=WAIT_S)
    cancelled = client.stub.Infer.future(client.message(ours, task="cancelled"), timeout=WAIT_S)
    with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
        client.stub.Infer(client.message(other, task="late"), timeout=0.2)
    cancelled.cancel()
    until(lambda: len(client.server._worker._batcher) == 0)
    policy.may_end.release(2)
    first.result()
    client.infer(client.message(ours, task="next"))
    assert policy.tasks == ["first", "next"]


def test_a_rehearsed_latency_holds_for_each_request_and_not_for_the_policy(serve: Serve) -> None:
    """With 300 ms rehearsed, four robots at once each wait 300 ms and not four times as long."""
    client = serve(inference_latency_s=0.3)
    welcomes = [client.open() for _ in range(4)]
    assert welcomes[0].policy.warm_inference_ns == 300_000_000
    began = time.monotonic()
    calls = [client.stub.Infer.future(client.message(w.session_id), timeout=WAIT_S) for w in welcomes]
    timings = [decode_chunk(call.result())[1] for call in calls]
    assert 0.3 <= time.monotonic() - began < 1.0
    for spent in timings:
        assert spent.total_ns >= 300_000_000
        assert spent.inference_ns >= 200_000_000
