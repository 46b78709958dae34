"""gRPC's options of both ends."""

from __future__ import annotations

import pytest

from segue.wire.channel import Options, client_options, server_options
from segue.wire.version import MAX_MESSAGE_BYTES


@pytest.mark.parametrize("options", [client_options(), server_options(max_connections=9)])
def test_both_ends_have_the_same_limits_and_name_no_option_twice(options: Options) -> None:
    """Both ends take and send at most 8 MiB, and no option contradicts another."""
    values = dict(options)
    assert len(values) == len(options)
    assert values["grpc.max_receive_message_length"] == MAX_MESSAGE_BYTES == 8 * 2**20
    assert values["grpc.max_send_message_length"] == MAX_MESSAGE_BYTES


def test_a_server_puts_up_with_its_clients_keepalive() -> None:
    """Pings come less often than the server allows, so that no idle robot is cut off for them."""
    client, server = dict(client_options()), dict(server_options(max_connections=9))
    allowed_ms = server["grpc.http2.min_recv_ping_interval_without_data_ms"]
    assert client["grpc.keepalive_time_ms"] >= 2 * allowed_ms


def test_an_observation_is_never_sent_twice() -> None:
    """The retries of gRPC itself are off on a robot's channel."""
    assert dict(client_options())["grpc.enable_retries"] == 0
