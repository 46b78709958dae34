from __future__ import annotations

import socket
from pathlib import Path

import grpc
import pytest

import segue.client.dialer as dialer_module
from segue.client.channel import PolicyChannel, reply_of
from segue.client.dialer import Dialer, DialFailed
from segue.client.plan import LinkPlan
from segue.client.security import PLAIN, LinkSecurity
from segue.clock import NS_PER_S, SystemClock
from segue.core.link import LinkState
from segue.errors import AuthenticationError, Overloaded, SpecMismatch
from segue.wire import policy_pb2 as pb
from segue.wire.records import Handshake
from segue.wire.refusal import Reason
from tests.key_sets import key_set, robot
from tests.unit.client.toyserver import ROBOT, No, ToyServer

Code = grpc.StatusCode


def dialer_to(address: str, security: LinkSecurity = PLAIN, timeout_ns: int = 2 * NS_PER_S) -> Dialer:
    plan = LinkPlan(address, connect_timeout_ns=timeout_ns, security=security)
    return Dialer(plan, Handshake("arm", ROBOT), SystemClock())


def test_a_dial_ends_ready_with_a_session(toy: ToyServer) -> None:
    """A server that accepts leaves the link READY and its session known."""
    dialer = dialer_to(toy.address)
    session = dialer.dial()
    assert dialer.state is LinkState.READY
    assert dialer.session is session
    dialer.close()


def test_failed_dials_are_counted_and_the_next_is_due_later() -> None:
    """Every failed dial leaves the link DOWN, is counted, and puts the next off by the backoff."""
    dialer = dialer_to("127.0.0.1:1")
    for failures in (1, 2, 3):
        with pytest.raises(DialFailed, match="no connection"):
            dialer.dial()
        assert (dialer.state, dialer.failures) == (LinkState.DOWN, failures)
        wait_ns = dialer.due_ns - SystemClock().now_ns()
        assert 0 < wait_ns <= NS_PER_S // 2
    dialer.close()


def test_a_server_that_is_loading_is_dialled_again(toy: ToyServer) -> None:
    """UNAVAILABLE at the handshake is a failed dial, and the next one succeeds."""
    toy.opens = [No(Code.UNAVAILABLE, Reason.NOT_READY)]
    dialer = dialer_to(toy.address)
    with pytest.raises(DialFailed):
        dialer.dial()
    dialer.dial()
    assert (dialer.state, dialer.failures) == (LinkState.READY, 0)
    dialer.close()


def test_a_mismatch_is_final(toy: ToyServer) -> None:
    """A refusal for a difference raises it and leaves the link REFUSED."""
    toy.opens = [No(Code.FAILED_PRECONDITION, Reason.MISMATCH, ("pan: deg, rad",))]
    dialer = dialer_to(toy.address)
    with pytest.raises(SpecMismatch, match="pan: deg, rad"):
        dialer.dial()
    assert dialer.state is LinkState.REFUSED
    dialer.close()


def test_a_newcomer_is_told_that_the_server_is_full(toy: ToyServer) -> None:
    """Before its first session a robot that finds no place gives up."""
    toy.opens = [No(Code.RESOURCE_EXHAUSTED, Reason.FULL)]
    dialer = dialer_to(toy.address)
    with pytest.raises(Overloaded):
        dialer.dial()
    dialer.close()


def test_a_robot_that_was_let_in_once_waits_for_a_place(toy: ToyServer) -> None:
    """After a session, a full server is dialled again like one that is away."""
    dialer = dialer_to(toy.address)
    dialer.dial()
    dialer.lost()
    toy.opens = [No(Code.RESOURCE_EXHAUSTED, Reason.FULL)]
    with pytest.raises(DialFailed):
        dialer.dial()
    dialer.dial()
    assert dialer.state is LinkState.READY
    dialer.close()


def test_a_new_session_takes_the_old_ones_place(toy: ToyServer) -> None:
    """Opening again names the session before, on the same channel or on a fresh one."""
    dialer = dialer_to(toy.address)
    dialer.dial()
    channel = dialer.channel
    dialer.reopen()
    assert dialer.channel is channel
    dialer.lost()
    dialer.dial()
    assert dialer.channel is not channel
    assert [each.previous_session_id for each in toy.opened] == ["", "session-1", "session-2"]
    dialer.close()


def test_a_certain_refusal_of_the_connection_is_final(toy: ToyServer, tmp_path: Path) -> None:
    """A server in plain text is not waited for by a robot that was told to use TLS."""
    dialer = dialer_to(toy.address, robot(key_set(tmp_path / "keys")).read())
    with pytest.raises(AuthenticationError, match="it speaks plain text") as refused:
        dialer.dial()
    assert refused.value.exit_code == 77
    assert dialer.state is LinkState.REFUSED
    dialer.close()


@pytest.mark.parametrize("secure", [False, True])
def test_a_dial_that_times_out_is_not_looked_into(
    tmp_path: Path, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that accepts and says nothing costs no second connect timeout, and is dialled again."""
    looks: list[object] = []
    monkeypatch.setattr(dialer_module, "certain_refusal", lambda *plan: looks.append(plan))
    security = robot(key_set(tmp_path / "keys")).read() if secure else LinkSecurity()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        dialer = dialer_to(address, security, NS_PER_S // 2)
        with pytest.raises(DialFailed, match="no connection"):
            dialer.dial()
        dialer.close()
    assert looks == []
    assert dialer.state is LinkState.DOWN


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collects how long each dial would wait for the connection, in connect timeouts of 100 ms."""
    seen: list[float] = []
    connect = PolicyChannel.connect

    def spy(channel: PolicyChannel, timeout_ns: int) -> bool:
        seen.append(timeout_ns / (NS_PER_S // 10))
        return connect(channel, timeout_ns)

    monkeypatch.setattr(PolicyChannel, "connect", spy)
    return seen


def test_the_first_connection_is_given_more_and_more_time(patience: list[float]) -> None:
    """On a long way the first dials take 1, 2, 4 and 4 connect timeouts, as no arm is waiting yet."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dialer = dialer_to(f"127.0.0.1:{silent.getsockname()[1]}", timeout_ns=NS_PER_S // 10)
        for _ in range(4):
            with pytest.raises(DialFailed):
                dialer.dial()
        dialer.close()
    assert patience == [1, 2, 4, 4]


def test_once_connected_a_dial_takes_no_longer_than_it_needs(toy: ToyServer, patience: list[float]) -> None:
    """After a session every dial waits one connect timeout, or twice what the connection took then."""
    dialer = dialer_to(toy.address, timeout_ns=NS_PER_S // 10)
    began_ns = SystemClock().now_ns()
    dialer.dial()
    most = max(1, 2 * (SystemClock().now_ns() - began_ns) / (NS_PER_S // 10))
    dialer.lost()
    toy.stop()
    with socket.create_server(("127.0.0.1", toy.port)):
        for _ in range(3):
            with pytest.raises(DialFailed):
                dialer.dial()
    assert len(set(patience[1:])) == 1
    assert 1 <= patience[1] <= most
    dialer.close()


def test_every_call_brings_the_token(toy: ToyServer) -> None:
    """Handshake and requests carry the token in their metadata, and without a token nothing of the kind."""
    for token, brought in (("t" * 40, "Bearer " + "t" * 40), ("", None)):
        toy.metadata.clear()
        dialer = dialer_to(toy.address, LinkSecurity(token=token))
        dialer.dial()
        assert dialer.channel is not None
        reply_of(dialer.channel.infer(pb.InferRequest(number=1).SerializeToString(), 2 * NS_PER_S))
        assert {each.get("authorization") for each in toy.metadata} == {brought}
        assert len(toy.metadata) >= 3
        dialer.close()
