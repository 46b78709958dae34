"""Phases and calls in flight."""

from __future__ import annotations

import threading

import pytest

from segue.server.rate import Rate
from segue.server.refused import Refused, Status
from segue.server.traffic import MAX_CALLS_PER_ROBOT, Phase, Traffic


def serving() -> Traffic:
    traffic = Traffic()
    traffic.enter(Phase.SERVING)
    return traffic


@pytest.mark.parametrize("phase", [Phase.LOADING, Phase.DRAINING])
def test_calls_are_let_through_only_while_serving(phase: Phase) -> None:
    """A server that loads or drains answers UNAVAILABLE."""
    traffic = Traffic()
    traffic.enter(phase)
    with pytest.raises(Refused) as refused, traffic.call("a"):
        pytest.fail("was let through")
    assert refused.value.status is Status.UNAVAILABLE


def test_there_is_no_way_back_from_draining() -> None:
    """A policy that becomes ready after the stop does not open the server again."""
    traffic = Traffic()
    traffic.enter(Phase.DRAINING)
    traffic.enter(Phase.SERVING)
    assert traffic.phase is Phase.DRAINING


def test_one_robot_has_a_bounded_number_of_calls() -> None:
    """Beyond its share a robot is refused; another robot is not, and the share comes back."""
    traffic = serving()
    calls = [traffic.call("a") for _ in range(MAX_CALLS_PER_ROBOT)]
    for call in calls:
        call.__enter__()
    with pytest.raises(Refused, match="in flight already"), traffic.call("a"):
        pytest.fail("was let through")
    with traffic.call("b"):
        assert not traffic.wait_idle(0.0)
    for call in calls:
        call.__exit__(None, None, None)
    with traffic.call("a"):
        assert not traffic.wait_idle(0.0)
    assert traffic.wait_idle(0.0)


def test_a_call_that_fails_is_counted_out() -> None:
    """An exception inside a call leaves nothing in flight."""
    traffic = serving()
    with pytest.raises(ZeroDivisionError), traffic.call("a"):
        raise ZeroDivisionError
    assert traffic.wait_idle(0.0)


def test_a_stop_waits_for_the_last_call() -> None:
    """Waiting for idleness ends when the last call leaves, not before."""
    traffic = serving()
    idle = threading.Event()
    call = traffic.call("a")
    call.__enter__()
    waiter = threading.Thread(target=lambda: traffic.wait_idle(20.0) and idle.set())
    waiter.start()
    assert not idle.is_set()
    call.__exit__(None, None, None)
    waiter.join(20.0)
    assert idle.is_set()


def test_a_host_that_opens_without_end_is_refused_and_a_fleet_is_not() -> None:
    """Of a thousand handshakes at once a burst is let through; another host, and a later one, are welcome."""
    traffic = Traffic(Rate(per_s=4.0, burst=64))

    def refused(host: str, now_ns: int) -> bool:
        try:
            traffic.count_open(host, now_ns)
        except Refused as error:
            return error.status is Status.RESOURCE_EXHAUSTED
        return False

    assert sum(refused("ipv4:10.0.0.1", 0) for _ in range(1000)) == 1000 - 64
    assert not refused("ipv4:10.0.0.2", 0)
    assert not refused("ipv4:10.0.0.1", 1_000_000_000)
