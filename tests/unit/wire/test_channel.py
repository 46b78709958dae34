"""gRPC's options of both ends."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from segue.wire.channel import Options, client_options, server_options
from segue.wire.version import MAX_MESSAGE_BYTES

HOUR_MS = 3_600_000


@pytest.mark.parametrize("options", [client_options(), server_options(max_connections=9)])
def test_both_ends_have_the_same_limits_and_name_no_option_twice(options: Options) -> None:
    """Both ends take and send at most 8 MiB, and no option contradicts another."""
    values = dict(options)
    assert len(values) == len(options)
    assert values["grpc.max_receive_message_length"] == MAX_MESSAGE_BYTES == 8 * 2**20
    assert values["grpc.max_send_message_length"] == MAX_MESSAGE_BYTES


def _library() -> bytes:
    """Returns gRPC's compiled library."""
    (path,) = (Path(grpc.__file__).parent / "_cython").glob("cygrpc*.so")
    return path.read_bytes()


def test_the_installed_grpc_knows_every_option() -> None:
    """Each option's name stands in gRPC's own library: one that it does not know is taken without a word."""
    library = _library()
    wrong = "grpc.http2.min_recv_ping_interval_without_data_ms"
    names = {name for name, _ in [*client_options(), *server_options(max_connections=9)]}
    # Where one name ends and the next begins only the end can be told by.
    assert [name for name in sorted(names | {wrong}) if name.encode() + b"\0" not in library] == [wrong]


def test_a_server_puts_up_with_its_clients_keepalive() -> None:
    """Pings come less often than the server allows, so that no idle robot is cut off for them."""
    client, server = dict(client_options()), dict(server_options(max_connections=9))
    allowed_ms = server["grpc.http2.min_ping_interval_without_data_ms"]
    assert client["grpc.keepalive_time_ms"] >= 2 * allowed_ms


def test_neither_end_hangs_up_on_a_robot_that_rests_for_an_hour() -> None:
    """No idle limit is below an hour, and a stranger's connection ends some time all the same."""
    client, server = dict(client_options()), dict(server_options(max_connections=9))
    assert client["grpc.client_idle_timeout_ms"] > HOUR_MS
    assert HOUR_MS < server["grpc.max_connection_idle_ms"] <= 24 * HOUR_MS


@pytest.mark.parametrize("options", [client_options(), server_options(max_connections=9)])
def test_a_silent_peer_is_let_go_and_a_slow_upload_is_not(options: Options) -> None:
    """A ping waits longer than 3 MB take at 200 kB/s, since its answer may be behind them, but no minute."""
    assert 15_000 < dict(options)["grpc.http2.ping_timeout_ms"] <= 30_000


def test_an_observation_is_never_sent_twice() -> None:
    """The retries of gRPC itself are off on a robot's channel."""
    assert dict(client_options())["grpc.enable_retries"] == 0
