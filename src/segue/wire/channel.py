"""gRPC channel options of both ends, as plain pairs.

Keepalive is housekeeping: it frees sockets whose peer vanished. Whether a
server is alive is decided by deadlines alone. This file does not import grpc,
so that whoever only reads the numbers stays light.
"""

from __future__ import annotations

from segue.wire.version import MAX_MESSAGE_BYTES

Options = list[tuple[str, int]]

_KEEPALIVE_MS = 10_000


def client_options() -> Options:
    """Returns the options of a robot's channel."""
    return [
        *_common(),
        # An observation is never sent twice: by then it is old.
        ("grpc.enable_retries", 0),
        # Without this, a "fresh" channel to the same address shares the old one's socket and backoff.
        ("grpc.use_local_subchannel_pool", 1),
    ]


def server_options(max_connections: int) -> Options:
    """Returns the options of the server.

    Args:
        max_connections: sockets accepted at once.
    """
    return [
        *_common(),
        ("grpc.so_reuseport", 0),  # a second server on the same port must fail, not share it
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _KEEPALIVE_MS // 2),
        ("grpc.server_handshake_timeout_ms", 5_000),
        ("grpc.max_connection_idle_ms", 300_000),
        ("grpc.max_allowed_incoming_connections", max_connections),
    ]


def _common() -> Options:
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # A refusal lists every difference; gRPC's default of 8 kB would cut off a long list.
        ("grpc.max_metadata_size", 64 * 1024),
        ("grpc.absolute_max_metadata_size", 128 * 1024),
    ]
