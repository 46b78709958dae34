from __future__ import annotations

import grpc
import pytest

from segue.client.dialer import Dialer, DialFailed
from segue.client.plan import LinkPlan
from segue.clock import NS_PER_S, SystemClock
from segue.core.link import LinkState
from segue.errors import Overloaded, SpecMismatch
from segue.wire.records import Handshake
from segue.wire.refusal import Reason
from tests.unit.client.toyserver import ROBOT, No, ToyServer

Code = grpc.StatusCode


def dialer_to(address: str) -> Dialer:
    plan = LinkPlan(address, connect_timeout_ns=2 * NS_PER_S)
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
