"""A whole server in this process: from bind to drain, and what strangers on its port get."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from segue.errors import ConfigError, Overloaded
from segue.server.lifecycle import PolicyServer, run_until_signalled
from segue.server.security import ServerSecurity
from segue.server.service import SERVICE_NAME
from segue.server.settings import ServerConfig
from segue.server.store import PolicyStore
from segue.wire import policy_pb2 as pb
from segue.wire.handshake import decode_description
from segue.wire.refusal import Reason
from tests.unit.server.thin_client import WAIT_S, Client, reason_of, refused, until
from tests.unit.server.toy_policy import SPEC, SlowPolicy, ToyPolicy

Serve = Callable[..., Client]


def test_health_is_serving_only_when_loaded_and_warm() -> None:
    """While the policy warms up health says NOT_SERVING and calls are UNAVAILABLE; then it is SERVING."""
    may_warm, warming = threading.Event(), threading.Event()

    class Cold(ToyPolicy):
        def warm_up(self) -> None:
            warming.set()
            assert may_warm.wait(WAIT_S)
            super().warm_up()

    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    server = PolicyServer(ServerConfig(port=port), Cold())
    ready: list[str] = []
    starter = threading.Thread(target=lambda: server.start(ready.append))
    starter.start()
    assert warming.wait(WAIT_S)
    client = Client(f"127.0.0.1:{port}")
    assert client.health() == health_pb2.HealthCheckResponse.NOT_SERVING
    with refused(grpc.StatusCode.UNAVAILABLE) as refusals:
        client.open()
    assert refusals[0].reason is Reason.NOT_READY
    description = decode_description(client.stub.Describe(pb.DescribeRequest(), timeout=WAIT_S))
    assert not description.ready
    assert ready == []
    may_warm.set()
    starter.join(WAIT_S)
    assert ready == [f"127.0.0.1:{port}"]
    assert client.health() == client.health("") == health_pb2.HealthCheckResponse.SERVING
    assert client.open().session_id
    server.stop(0.0)


def test_a_stop_says_so_first_and_lets_what_is_in_flight_finish() -> None:
    """Told to stop under eight robots: health first, then UNAVAILABLE, and all in flight is answered."""
    policy = SlowPolicy()
    server = PolicyServer(ServerConfig(port=0), policy)
    client = Client(server.start())
    sessions = [client.open().session_id for _ in range(8)]
    # One alone first: two that come together would share a batch, and fewer would wait.
    calls = [client.stub.Infer.future(client.message(sessions[0]), timeout=WAIT_S)]
    assert policy.began.acquire(timeout=WAIT_S)
    calls += [client.stub.Infer.future(client.message(s), timeout=WAIT_S) for s in sessions[1:]]
    until(lambda: len(server._worker._batcher) == 7)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    until(lambda: client.health() == health_pb2.HealthCheckResponse.NOT_SERVING)
    until(lambda: reason_of(client.open) is Reason.DRAINING)
    assert reason_of(lambda: client.infer(client.message(sessions[0]))) is Reason.DRAINING
    policy.may_end.release(8)
    assert [call.result().policy_hash for call in calls] == [SPEC.policy_hash] * 8
    stopper.join(WAIT_S)
    server.wait()
    with pytest.raises(grpc.RpcError):
        Client(client.address).open()


def test_a_drain_has_an_end() -> None:
    """What does not finish within the grace is ended as UNAVAILABLE, and the server stops all the same."""
    policy = SlowPolicy()
    server = PolicyServer(ServerConfig(port=0), policy)
    client = Client(server.start())
    call = client.stub.Infer.future(client.message(client.open().session_id), timeout=WAIT_S)
    assert policy.began.acquire(timeout=WAIT_S)
    began = time.monotonic()
    server.stop(0.2)
    assert time.monotonic() - began < 5.0
    with pytest.raises(grpc.RpcError):
        call.result()
    policy.may_end.release()


@pytest.mark.parametrize("latency_s", [0.0, 30.0])
def test_nobody_waits_on_after_the_drain(latency_s: float) -> None:
    """Threads that wait for the policy or wait out a rehearsed latency stop doing so with the server."""
    policy = SlowPolicy()
    server = PolicyServer(ServerConfig(port=0, inference_latency_s=latency_s), policy)
    client = Client(server.start())
    call = client.stub.Infer.future(client.message(client.open().session_id), timeout=WAIT_S)
    assert policy.began.acquire(timeout=WAIT_S)
    if latency_s:
        policy.may_end.release()
    began = time.monotonic()
    server.stop(0.2)
    assert server._traffic.wait_idle(1.0)
    assert time.monotonic() - began < 0.2 + 1.0
    with pytest.raises(grpc.RpcError):
        call.result()
    policy.may_end.release()


def test_the_device_is_told_only_by_a_policy_that_knows_it(serve: Serve) -> None:
    """The handshake's answer names the device that the policy is on, and none when it does not say."""
    assert "device" not in serve().open().configuration

    class Placed(ToyPolicy):
        device = "abacus:1"

    assert serve(Placed()).open().configuration["device"] == "abacus:1"


def test_a_server_that_comes_back_serves_after_a_new_handshake() -> None:
    """After a restart on the same port the old session is unknown and a new one works."""
    first = PolicyServer(ServerConfig(port=0), ToyPolicy())
    address = first.start()
    session_id = Client(address).open().session_id
    first.stop(0.0)
    second = PolicyServer(ServerConfig(port=int(address.split(":")[1])), ToyPolicy())
    second.start()
    client = Client(address)
    with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusals:
        client.infer(client.message(session_id))
    assert refusals[0].reason is Reason.UNKNOWN_SESSION
    client.infer(client.message(client.open(previous_session_id=session_id).session_id))
    second.stop(0.0)


def test_a_taken_port_is_refused_by_key(serve: Serve) -> None:
    """A second server on the same port does not start, and says which key is wrong."""
    port = int(serve().address.split(":")[1])
    with pytest.raises(ConfigError, match="port"):
        PolicyServer(ServerConfig(port=port), ToyPolicy()).start()


def test_an_open_address_needs_a_word() -> None:
    """An address that others can reach is refused before anything is bound, and warned about when allowed."""
    with pytest.raises(ConfigError, match="--insecure"):
        PolicyServer(ServerConfig(host="0.0.0.0", port=0), ToyPolicy())
    allowed = ServerSecurity(insecure=True)
    assert PolicyServer(ServerConfig(host="0.0.0.0", port=0, security=allowed), ToyPolicy()).warning


def test_what_a_person_should_know_is_logged_at_the_start(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Warnings about an open address and about exposed secrets are one log line each."""
    security = ServerSecurity(warnings=("others may read it",), insecure=True)
    with caplog.at_level("WARNING", "segue.server"):
        serve(host="127.0.0.1", security=security)
    assert [record.getMessage() for record in caplog.records] == ["others may read it"]


def test_a_policy_that_cannot_be_loaded_stops_the_server() -> None:
    """The loader's own error comes out of `start`, and the port is free again."""

    def load(path: str, device: str) -> ToyPolicy:
        raise ConfigError(f"policy.path: {path} on {device} does not exist")

    server = PolicyServer(ServerConfig(port=0), PolicyStore(load, ["x"], "cpu"))
    with pytest.raises(ConfigError, match="x on cpu"):
        server.start()
    server.wait()


def test_a_stop_while_loading_ends_the_start() -> None:
    """A server told to stop before its policy is loaded does not begin to serve."""
    loading, may_load = threading.Event(), threading.Event()

    def load(path: str, device: str) -> ToyPolicy:
        loading.set()
        assert may_load.wait(WAIT_S)
        return ToyPolicy()

    server = PolicyServer(ServerConfig(port=0), PolicyStore(load, ["x"], "cpu"))
    stopper = threading.Thread(target=lambda: loading.wait(WAIT_S) and server.stop(0.0))
    stopper.start()
    with pytest.raises(Overloaded):
        server.start()
    may_load.set()
    stopper.join(WAIT_S)
    server.wait()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("loaded", [True, False])
def test_a_signal_that_another_thread_takes_ends_the_server(loaded: bool) -> None:
    """Whichever thread the kernel hands a signal to, the server obeys it at once, also while it loads."""
    warming, may_warm, told = threading.Event(), threading.Event(), []

    class Cold(ToyPolicy):
        def warm_up(self) -> None:
            warming.set()
            assert loaded or may_warm.wait(WAIT_S)
            super().warm_up()

    server = PolicyServer(ServerConfig(port=0), Cold())
    ready = threading.Event()

    def stranger() -> None:
        assert (ready if loaded else warming).wait(WAIT_S)
        time.sleep(0.5)  # by then the main thread waits
        told.append(time.monotonic())
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    thread = threading.Thread(target=stranger)
    thread.start()
    assert run_until_signalled(server, lambda address: ready.set()) == signal.SIGTERM
    assert time.monotonic() - told[0] < 5.0
    may_warm.set()
    thread.join()


def test_reflection_names_the_services(serve: Serve) -> None:
    """A standard tool can list the services and read the policy service's description."""
    client = serve()
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    asks = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE_NAME),
    ]
    services, description = stub.ServerReflectionInfo(iter(asks), timeout=WAIT_S)
    names = {service.name for service in services.list_services_response.service}
    assert {SERVICE_NAME, "grpc.health.v1.Health"} <= names
    assert b"PolicyService" in description.file_descriptor_response.file_descriptor_proto[0]


@pytest.mark.parametrize("greeting", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(255, 0, -1)) * 4])
def test_another_protocol_is_hung_up_on(serve: Serve, greeting: bytes) -> None:
    """HTTP/1.1 and noise on the port end in a closed connection, and the next good call works."""
    client = serve()
    host, port = client.address.split(":")
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as stranger:
        stranger.sendall(greeting)
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(4096):
                continue
    assert client.open().session_id


def test_tls_to_the_plain_port_is_hung_up_on(serve: Serve) -> None:
    """A TLS client is hung up on, and the next good call works."""
    client = serve()
    host, port = client.address.split(":")
    tls = ssl.create_default_context()
    with (
        socket.create_connection((host, int(port)), timeout=WAIT_S) as stranger,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        tls.wrap_socket(stranger, server_hostname="localhost")
    assert client.open().session_id


def test_silent_and_surplus_connections_are_closed(serve: Serve) -> None:
    """Connections beyond the cap are closed at once and silent ones after a while; robots are served."""
    client = serve(max_robots=1)
    host, port = client.address.split(":")
    with contextlib.ExitStack() as stack:
        sockets = (socket.create_connection((host, int(port)), timeout=WAIT_S) for _ in range(60))
        strangers = [stack.enter_context(stranger) for stranger in sockets]
        until(lambda: sum(_is_closed(stranger) for stranger in strangers) > 30)
        until(lambda: all(_is_closed(stranger) for stranger in strangers))
    assert client.open().session_id


def _is_closed(stranger: socket.socket) -> bool:
    stranger.setblocking(False)
    try:
        return stranger.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
