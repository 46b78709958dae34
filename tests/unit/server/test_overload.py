"""A real server and more robots than it has places for."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections.abc import Callable
from itertools import chain

import grpc
import pytest

from segue.wire.refusal import Reason
from tests.unit.server.thin_client import WAIT_S, Client, reason_of, until

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
