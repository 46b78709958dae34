"""A real server and more robots than it has places for."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import grpc
import pytest

from segue.server.store import PolicyStore
from segue.wire.refusal import Reason
from tests.unit.server.thin_client import WAIT_S, Client, reason_of, until
from tests.unit.server.toy_policy import ToyPolicy

Serve = Callable[..., Client]

ROBOTS = 64
PLACES = 16
REFUSED_MS = 50.0
# On a busy machine a thread is late through no fault of the server's.
NOISE = 5.0
ROUNDS = 20


def test_sixty_four_robots_at_sixteen_places(serve: Serve) -> None:
    """The surplus is refused within 50 ms each, while all requests of the admitted are answered in time."""
    address = serve(max_robots=PLACES).address
    clients = [Client(address) for _ in range(ROBOTS)]
    for client in clients:
        grpc.channel_ready_future(client.channel).result(WAIT_S)
    sessions = [client.open().session_id for client in clients[:PLACES]]
    waits_ms: list[list[float]] = [[] for _ in range(PLACES)]

    def drive(index: int) -> None:
        for number in range(ROUNDS):
            began = time.monotonic()
            clients[index].infer(clients[index].message(sessions[index], number))
            waits_ms[index].append(1000 * (time.monotonic() - began))
            time.sleep(0.1)

    threads = [threading.Thread(target=drive, args=(index,)) for index in range(PLACES)]
    for thread in threads:
        thread.start()
    refusals_ms = []
    for client in clients[PLACES:]:
        began = time.monotonic()
        assert reason_of(client.open) is Reason.FULL
        refusals_ms.append(1000 * (time.monotonic() - began))
    for thread in threads:
        thread.join(WAIT_S)
    assert [len(waits) for waits in waits_ms] == [ROUNDS] * PLACES
    median, slowest = statistics.median(refusals_ms), max(refusals_ms)
    logging.getLogger(__name__).info("refused in %.1f ms (p50), %.1f ms (max)", median, slowest)
    assert slowest <= NOISE * REFUSED_MS, f"refusals took {median:.1f} ms (p50), {slowest:.1f} ms (max)"
    # An admitted robot asks each 333 ms: a wait beyond that would let it run dry.
    assert statistics.median(chain.from_iterable(waits_ms)) < 333


def test_one_host_cannot_open_sessions_without_end(serve: Serve) -> None:
    """A host that opens in a loop is refused after a burst; one that comes back as a fleet is not."""
    client = serve(max_robots=PLACES)
    sessions = [client.open().session_id for _ in range(PLACES)]
    again = [client.open(previous_session_id=each).session_id for each in sessions]
    assert len(again) == PLACES
    until(lambda: "too many sessions" in _details(client))


def _details(client: Client) -> str:
    with pytest.raises(grpc.RpcError) as error:
        client.open()
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return str(error.value.details())


def test_knocking_while_a_named_policy_loads_costs_nothing(serve: Serve, tmp_path: Path) -> None:
    """However often a robot asks for a policy that is still loading, it is let in once it is loaded."""
    may_load = threading.Event()

    def load(path: str, device: str) -> ToyPolicy:
        assert path == "toy" or may_load.wait(WAIT_S)
        return ToyPolicy()

    (tmp_path / "late.safetensors").touch()
    client = serve(PolicyStore(load, ["toy"], "cpu", [tmp_path]), max_robots=1)
    for _ in range(20):  # four at once would be too many openings for one place
        assert reason_of(lambda: client.open(policy="late")) is Reason.NOT_READY
    may_load.set()
    until(lambda: reason_of(lambda: client.open(policy="late")) is None)


def test_a_robot_that_asks_too_often_is_refused_at_the_rate_of_the_configuration(serve: Serve) -> None:
    """Where one request a second is allowed, the next one at once is refused."""
    client = serve(requests_per_s=1.0)
    message = client.message(client.open().session_id)
    until(lambda: reason_of(lambda: client.infer(message)) is Reason.FULL)
