"""Calls whose message does not come take no thread from the robots for long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

import grpc
import pytest

from segue.server import arrivals as arrivals_module
from segue.server.lifecycle import PolicyServer
from segue.server.service import SERVICE_NAME
from segue.server.settings import ServerConfig

from .thin_client import Client, reason_of, until
from .toy_policy import ToyPolicy

PLACES = 2
THREADS = 4 * PLACES + 8


class Silent:
    """A connection that opens calls and never sends their message."""

    def __init__(self, address: str, path: str) -> None:
        self._channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self._method = self._channel.stream_unary(path)
        self._streams = self._channel.stream_stream(path)
        self._over = threading.Event()

    def _never(self) -> Iterator[bytes]:
        self._over.wait()
        yield from ()

    def call(self) -> grpc.Future:
        return self._method.future(self._never())

    def stream(self) -> grpc.Future:
        return cast(grpc.Future, self._streams(self._never()))

    def close(self) -> None:
        self._over.set()
        self._channel.close()


@pytest.fixture
def address() -> Iterator[str]:
    """Runs a server with places for two robots; the value is its address."""
    server = PolicyServer(ServerConfig(port=0, max_robots=PLACES), ToyPolicy())
    yield server.start()
    server.stop(0.0)


def test_one_connection_cannot_take_all_threads(address: str) -> None:
    """Beyond a share of the threads its calls are refused, and a robot is served beside it."""
    silent = Silent(address, f"/{SERVICE_NAME}/Infer")
    calls = [silent.call() for _ in range(3 * THREADS)]
    until(lambda: sum(call.done() for call in calls) >= 2 * THREADS)
    assert {call.code() for call in calls if call.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    client = Client(address)
    welcome = client.open()
    client.infer(client.message(welcome.session_id))
    silent.close()


def test_a_message_that_does_not_come_ends_the_call(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is given up when its message has not come in time, and its thread is free again."""
    monkeypatch.setattr(arrivals_module, "PATIENCE_S", 0.2)
    silent = Silent(address, f"/{SERVICE_NAME}/Open")
    call = silent.call()
    with pytest.raises(grpc.RpcError) as ended:
        call.result(timeout=20)
    assert ended.value.code() is grpc.StatusCode.CANCELLED
    silent.close()


def test_silent_streams_of_reflection_give_their_threads_back(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams that take every thread and never ask are ended in time, and a robot is served again."""
    monkeypatch.setattr(arrivals_module, "PATIENCE_S", 0.2)
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    strangers = [Silent(address, path) for _ in range(2)]
    streams = [stranger.stream() for _ in range(THREADS // 2) for stranger in strangers]
    client = Client(address)
    until(lambda: reason_of(client.open) is None and all(stream.done() for stream in streams))
    assert {stream.code() for stream in streams} == {grpc.StatusCode.CANCELLED}
    for stranger in strangers:
        stranger.close()


def test_probes_wait_for_no_message(address: str) -> None:
    """Hundreds of probes without a message are answered at once and take nothing from a robot."""
    silent = Silent(address, "/grpc.health.v1.Health/Check")
    for call in [silent.call() for _ in range(200)]:
        assert _ended(call)
    client = Client(address)
    client.infer(client.message(client.open().session_id))
    silent.close()


def test_watching_the_health_is_not_offered(address: str) -> None:
    """A stream for each who asks is not kept open."""
    with grpc.insecure_channel(address) as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
        with pytest.raises(grpc.RpcError) as ended:
            next(watch)
    assert ended.value.code() is grpc.StatusCode.UNIMPLEMENTED


def _ended(call: grpc.Future) -> bool:
    """Returns whether a call ends soon, however it does."""
    over = threading.Event()
    call.add_done_callback(lambda _: over.set())
    return over.wait(2.0)
