"""A server that is far away: what a connection and a call take, and that nothing of gRPC's cuts them off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from segue.client.channel import _make_channel
from segue.client.security import LinkSecurity
from segue.server.lifecycle import PolicyServer
from segue.server.settings import ServerConfig
from segue.testing.proxy import FaultProxy
from tests.faults.report import Row
from tests.key_sets import key_set, mutual_tls, robot
from tests.unit.server.toy_policy import ToyPolicy

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(120)]

ROUND_TRIP_MS = 2_000
MS = 1_000_000


@pytest.fixture
def far(tmp_path: Path) -> Callable[[], tuple[PolicyServer, str, LinkSecurity]]:
    """Starts a server that asks for a certificate."""

    def start() -> tuple[PolicyServer, str, LinkSecurity]:
        keys = key_set(tmp_path / "keys")
        server = PolicyServer(ServerConfig(port=0, security=mutual_tls(keys).read()), ToyPolicy())
        return server, server.start(), robot(keys, keys).read()

    return start


@pytest.mark.fault("4b", "far server, round trip 2 s, TLS", "connected in 3 round trips, a call in 1")
def test_a_far_server_is_reached(row: Row, far: Callable[[], tuple[PolicyServer, str, LinkSecurity]]) -> None:
    """Two seconds away a connection with certificates takes three round trips on the first try, and lasts."""
    server, address, security = far()
    with FaultProxy(address, far=True) as proxy:
        proxy.delay(ROUND_TRIP_MS / 2)
        ready, began_ns = threading.Event(), time.monotonic_ns()
        channel = _make_channel(proxy.address, security)
        channel.subscribe(
            lambda state: ready.set() if state is grpc.ChannelConnectivity.READY else None,
            try_to_connect=True,
        )
        assert ready.wait(60.0)
        row.within("connected after", (time.monotonic_ns() - began_ns) / MS, 3 * ROUND_TRIP_MS + 250)
        for _ in range(2):
            began_ns = time.monotonic_ns()
            channel.unary_unary("/segue.v1.PolicyService/Describe")(b"", timeout=60.0)
            row.within("a call takes", (time.monotonic_ns() - began_ns) / MS, ROUND_TRIP_MS + 250)
        assert proxy.counts.connections == 1
        channel.close()
    server.stop(0.0)
