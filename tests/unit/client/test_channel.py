from __future__ import annotations

import threading
import time

import grpc
import pytest

from segue.client.channel import CallFailed, PolicyChannel, refused, reply_of
from segue.clock import NS_PER_S, SystemClock
from segue.core.link import LinkEvent
from segue.errors import (
    AuthenticationError,
    LocalProtocolError,
    Overloaded,
    RemoteProtocolError,
    SegueError,
    SpecMismatch,
)
from segue.wire import policy_pb2 as pb
from segue.wire.records import Handshake
from segue.wire.refusal import Reason
from tests.unit.client.toyserver import ROBOT, No, ToyServer

Code = grpc.StatusCode
SHAKE = Handshake("arm", ROBOT)


def nothing() -> None:
    """Is called when a connection breaks that a test does not look at."""


def test_a_server_that_listens_is_connected_to_and_opened(toy: ToyServer) -> None:
    """A handshake brings the welcome, and the shortest of a few round trips."""
    channel = PolicyChannel(toy.address, SystemClock(), nothing)
    assert channel.connect(2 * NS_PER_S)
    session = channel.open(SHAKE, 2 * NS_PER_S)
    assert session.welcome.session_id == "session-1"
    assert 0 < session.round_trip_ns < 2 * NS_PER_S
    channel.close()


def test_a_handshake_that_drips_ends_with_its_time(toy: ToyServer) -> None:
    """Calls that are each answered in time, and take too long together, are given up at the deadline."""
    toy.on_handshake = lambda: time.sleep(0.4)
    channel = PolicyChannel(toy.address, SystemClock(), nothing)
    assert channel.connect(2 * NS_PER_S)
    began = time.monotonic()
    with pytest.raises(CallFailed) as failed:
        channel.open(SHAKE, NS_PER_S // 2)
    assert failed.value.deadline_missed
    assert time.monotonic() - began < 1.0
    channel.close()


def test_on_a_long_way_the_round_trip_is_measured_once(toy: ToyServer) -> None:
    """A server that needs a good part of the handshake's time for each call is still opened."""
    toy.on_handshake = lambda: time.sleep(0.4)
    channel = PolicyChannel(toy.address, SystemClock(), nothing)
    assert channel.connect(2 * NS_PER_S)
    session = channel.open(SHAKE, 3 * NS_PER_S // 2)
    assert session.round_trip_ns >= 2 * NS_PER_S // 5
    assert len(toy.metadata) == 2
    channel.close()


def test_nobody_listening_is_noticed_before_the_timeout() -> None:
    """A refused connection is reported at once, not after the whole connect timeout."""
    clock = SystemClock()
    channel = PolicyChannel("127.0.0.1:1", clock, nothing)
    began_ns = clock.now_ns()
    assert not channel.connect(20 * NS_PER_S)
    assert clock.now_ns() - began_ns < 10 * NS_PER_S
    channel.close()


@pytest.mark.parametrize(
    ("code", "event"),
    [
        (Code.UNAVAILABLE, LinkEvent.FAILED),
        (Code.FAILED_PRECONDITION, LinkEvent.STALE),
        (Code.UNAUTHENTICATED, LinkEvent.REFUSED),
        (Code.UNIMPLEMENTED, LinkEvent.FAILED),
        (Code.INTERNAL, None),
        (Code.RESOURCE_EXHAUSTED, None),
        (Code.ABORTED, None),
        (Code.INVALID_ARGUMENT, None),
    ],
)
def test_a_status_says_what_the_link_has_to_do(
    toy: ToyServer, code: grpc.StatusCode, event: LinkEvent | None
) -> None:
    """Each status of a failed call means one event of the link, or that only this call failed."""
    toy.infers = [No(code)]
    channel = PolicyChannel(toy.address, SystemClock(), nothing)
    call = channel.infer(pb.InferRequest(number=1).SerializeToString(), 2 * NS_PER_S)
    with pytest.raises(CallFailed) as failed:
        reply_of(call)
    assert failed.value.event is event
    assert not failed.value.deadline_missed
    assert str(failed.value).endswith(": no, says the toy")
    channel.close()


def test_a_silent_server_misses_the_deadline(toy: ToyServer) -> None:
    """Without an answer a call ends at its deadline and says so."""
    toy.stuck.set()
    channel = PolicyChannel(toy.address, SystemClock(), nothing)
    with pytest.raises(CallFailed) as failed:
        reply_of(channel.infer(pb.InferRequest().SerializeToString(), NS_PER_S // 5))
    assert failed.value.deadline_missed
    channel.close()


def test_a_call_that_was_given_up_is_a_failed_one(toy: ToyServer) -> None:
    """A cancelled call ends as a failure and not as an exception of gRPC's own."""
    toy.stuck.set()
    channel = PolicyChannel(toy.address, SystemClock(), nothing)
    call = channel.infer(pb.InferRequest().SerializeToString(), 20 * NS_PER_S)
    call.cancel()
    with pytest.raises(CallFailed) as failed:
        reply_of(call)
    assert failed.value.code is Code.CANCELLED
    channel.close()


@pytest.mark.parametrize(
    ("code", "kind", "exit_code"),
    [
        (Code.FAILED_PRECONDITION, SpecMismatch, 76),
        (Code.PERMISSION_DENIED, SpecMismatch, 76),
        (Code.RESOURCE_EXHAUSTED, Overloaded, 75),
        (Code.UNAUTHENTICATED, AuthenticationError, 77),
        (Code.INVALID_ARGUMENT, LocalProtocolError, 70),
        (Code.UNIMPLEMENTED, RemoteProtocolError, 76),
    ],
)
def test_a_refused_handshake_is_an_error_with_its_exit_code(
    code: grpc.StatusCode, kind: type[SegueError], exit_code: int
) -> None:
    """What will never succeed becomes the error that ends the run."""
    error = refused(CallFailed(code, "no"))
    assert type(error) is kind
    assert error.exit_code == exit_code


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL])
def test_what_may_pass_is_no_refusal(code: grpc.StatusCode) -> None:
    """A server that is loading, slow or broken may be asked again."""
    assert refused(CallFailed(code, "later")) is None


def test_a_mismatch_lists_every_difference(toy: ToyServer) -> None:
    """All differences of a refusal arrive, one sentence each."""
    differences = tuple(f"joints: robot has {k}, policy expects {k + 1}" for k in range(40))
    toy.opens = [No(Code.FAILED_PRECONDITION, Reason.MISMATCH, differences)]
    channel = PolicyChannel(toy.address, SystemClock(), nothing)
    with pytest.raises(CallFailed) as failed:
        channel.open(SHAKE, 2 * NS_PER_S)
    error = refused(failed.value)
    assert isinstance(error, SpecMismatch)
    assert error.differences == differences
    channel.close()


def test_a_connection_that_breaks_between_two_calls_is_noticed(toy: ToyServer) -> None:
    """Nobody has to ask to learn that the server is gone."""
    broken = threading.Event()
    channel = PolicyChannel(toy.address, SystemClock(), broken.set)
    assert channel.connect(2 * NS_PER_S)
    assert not channel.broken
    toy.stop()
    assert broken.wait(20)
    assert channel.broken
    channel.close()
