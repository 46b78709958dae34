"""What gRPC really does with a route: real servers and proxies on loopback, judged by who was reached."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from segue.client.channel import _make_channel
from segue.client.names import Route, Router
from segue.client.proxies import proxy_use
from segue.client.security import PLAIN, LinkSecurity
from segue.clock import NS_PER_S
from segue.server.lifecycle import PolicyServer
from segue.server.security import ServerSecurity
from segue.server.settings import ServerConfig
from tests.http_proxy import SPELLINGS, HttpProxy
from tests.key_sets import key_set, robot, tls
from tests.unit.server.toy_policy import ToyPolicy

DESCRIBE = "/segue.v1.PolicyService/Describe"


class Ends:
    """Where a test's server listens."""

    def __init__(self, address: str) -> None:
        self.host, _, port = address.rpartition(":")
        self.port = int(port)


@pytest.fixture
def start() -> Iterator[Callable[..., Ends]]:
    """Starts policy servers on loopback, and stops them all."""
    servers: list[PolicyServer] = []

    def started(host: str = "127.0.0.1", security: ServerSecurity | None = None) -> Ends:
        config = ServerConfig(host=host, port=0, security=security or ServerSecurity())
        servers.append(PolicyServer(config, ToyPolicy()))
        return Ends(servers[-1].start())

    yield started
    for server in servers:
        server.stop(0.0)


def answers(way: Route | str, security: LinkSecurity = PLAIN, timeout_s: float = 5.0) -> bool:
    """Returns whether the server at the end of `way` answers a call."""
    channel = _make_channel(way, security)
    try:
        channel.unary_unary(DESCRIBE)(b"", timeout=timeout_s)
    except grpc.RpcError:
        return False
    finally:
        channel.close()
    return True


def named(host: str, port: int, *addresses: str) -> Route:
    """Returns the way to a server called `host` that this computer knows by `addresses`."""

    def look_up(host: str, port: int, **wishes: object) -> list[tuple[object, ...]]:
        found = []
        for each in addresses:
            found += socket.getaddrinfo(each, port, type=socket.SOCK_STREAM)
        return found

    route = Router(f"{host}:{port}", look_up=look_up).find(NS_PER_S)
    assert isinstance(route, Route)
    return route


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("addresses", [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_the_second_address_serves_when_the_first_is_dead(
    host: str, addresses: tuple[str, ...], start: Callable[..., Ends]
) -> None:
    """A name of both families reaches a server on either of them, whichever comes first."""
    assert answers(named("gpu-box.local", start(host).port, *addresses))


def test_a_silent_address_does_not_hold_the_next_one_up(start: Callable[..., Ends]) -> None:
    """An address that swallows costs a fraction of a second before the next one is tried."""
    end = start()
    with socket.create_server(("127.0.0.9", end.port), backlog=0) as full:
        fill = [socket.socket() for _ in range(2)]
        for each in fill:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        assert answers(named("gpu-box.local", end.port, "127.0.0.9", "127.0.0.1"), timeout_s=2.0)
        for each in fill:
            each.close()


@pytest.mark.parametrize("address", ["localhost", "LOCALHOST", "localhost.", "127.1", "[::ffff:127.0.0.1]"])
def test_what_getaddrinfo_knows_is_reached(address: str, start: Callable[..., Ends]) -> None:
    """Names in any case, with a dot, and numbers in odd notations are looked up as everywhere else."""
    assert answers(f"{address}:{start().port}")


def test_a_zone_is_dialled(start: Callable[..., Ends]) -> None:
    """An address with a zone reaches a server on IPv6."""
    assert answers(Route((("::1%1", start("::1").port),), "[::1]:1"))


def test_a_server_is_known_by_its_name_and_not_by_its_number(
    tmp_path: Path, start: Callable[..., Ends]
) -> None:
    """A certificate must be for the name that is dialled, whatever its case and dot, or that is asked for."""
    keys = key_set(tmp_path / "keys", "gpu-box.local")
    port = start(security=tls(keys).read()).port
    security = robot(keys).read()
    for name in ("gpu-box.local", "GPU-Box.Local", "gpu-box.local."):
        assert answers(named(name, port, "127.0.0.1"), security)
    assert not answers(named("other.local", port, "127.0.0.1"), security)
    assert not answers(f"127.0.0.1:{port}", security)
    asked = replace(security, server_name="gpu-box.local")
    assert answers(named("other.local", port, "127.0.0.1"), asked)
    assert not answers(named("gpu-box.local", port, "127.0.0.1"), replace(security, server_name="other"))


def test_a_server_is_called_by_its_name(start: Callable[..., Ends]) -> None:
    """What stands between, such as a balancer, is told the name and port that were dialled."""
    seen: list[str] = []

    class Look(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
                seen.append(context._rpc_event.call_details.host.decode())  # type: ignore[attr-defined]
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((Look(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    assert answers(named("GPU-Box.local.", port, "127.0.0.1"))
    server.stop(0)
    assert seen == [f"gpu-box.local:{port}"]


@pytest.mark.parametrize("variable", SPELLINGS)
def test_no_proxy_sees_anything_unasked(
    variable: str, start: Callable[..., Ends], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever variable names a proxy, in either case, the server is reached and the proxy sees nobody."""
    with HttpProxy() as proxy:
        monkeypatch.setenv(variable, f"http://{proxy.address}")
        assert answers(f"127.0.0.1:{start().port}")
        assert answers(f"localhost:{start().port}")
    assert proxy.heads == []


def test_grpcs_own_proxy_variable_is_not_obeyed(
    start: Callable[..., Ends], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that gRPC would put before numeric addresses sees nobody either."""
    with HttpProxy() as proxy:
        monkeypatch.setenv("GRPC_ADDRESS_HTTP_PROXY", proxy.address)
        monkeypatch.setenv("GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES", "127.0.0.0/8,::1/128")
        assert answers(f"127.0.0.1:{start().port}")
        assert answers(f"[::1]:{start('::1').port}")
    assert proxy.heads == []


@pytest.mark.parametrize("variable", SPELLINGS)
def test_a_proxy_is_used_when_asked(variable: str, start: Callable[..., Ends]) -> None:
    """Asked for, the proxy in any variable is told the server's name and port, and its own password."""
    end = start()
    with HttpProxy(f"127.0.0.1:{end.port}") as proxy:
        address = f"GPU-Box.local:{end.port}"
        use = proxy_use(address, {variable: f"http://me:secret@{proxy.address}"}, wanted=True)
        assert answers(address, LinkSecurity(proxy=use))
    assert proxy.asked_for == [f"CONNECT gpu-box.local:{end.port} HTTP/1.1"]
    assert "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in proxy.heads[0]


def test_tls_goes_through_a_proxy_to_the_server(tmp_path: Path, start: Callable[..., Ends]) -> None:
    """Behind a proxy the certificate is still the server's, for the server's name."""
    keys = key_set(tmp_path / "keys", "gpu-box.local")
    end = start(security=tls(keys).read())
    with HttpProxy(f"127.0.0.1:{end.port}") as proxy:
        environment = {"http_proxy": f"http://{proxy.address}"}
        for name, right in (("gpu-box.local", True), ("other.local", False)):
            use = proxy_use(f"{name}:1", environment, wanted=True)
            security = replace(robot(keys).read(), proxy=use)
            assert answers(f"{name}:{end.port}", security) == right
    assert proxy.asked_for[0] == f"CONNECT gpu-box.local:{end.port} HTTP/1.1"


def test_an_excepted_server_is_reached_past_the_proxy(start: Callable[..., Ends]) -> None:
    """With the flag and no_proxy the proxy sees nobody."""
    end = start()
    with HttpProxy() as proxy:
        environment = {"http_proxy": f"http://{proxy.address}", "no_proxy": "127.0.0.0/8"}
        use = proxy_use(f"127.0.0.1:{end.port}", environment, wanted=True)
        assert answers(f"127.0.0.1:{end.port}", LinkSecurity(proxy=use))
    assert proxy.heads == []
