"""gRPC channel options of both ends, as plain pairs.

Keepalive is housekeeping: it frees sockets whose peer vanished, and keeps the
routers on the way from forgetting an idle connection. Whether a server is alive
is decided by deadlines alone. gRPC takes an option whose name it does not know
without a word: `tests/unit/wire` looks for every name in the library, and at
what each does. This file does not import grpc, so that whoever only reads the
numbers stays light.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.wire.version import MAX_MESSAGE_BYTES

Options = list[tuple[str, int | str]]

_NEVER_MS = 2**31 - 1
# A robot may rest for an hour between two episodes; a stranger who only answers pings goes some time.
_IDLE_MS = 2 * 3_600_000
# A TLS handshake takes one round trip as seen from here: measured, robots 4.8 s away get in.
_HANDSHAKE_MS = 5_000


@dataclass(frozen=True, slots=True)
class Keepalive:
    """When an idle connection is tried, and when it is given up; the same at both ends.

    Attributes:
        silence_ms: until a ping is sent. Routers that forget early do so after 30 s. gRPC's clients send
            no ping within a second of another.
        answer_ms: until a ping must be answered. The answer waits behind an upload: measured, 10 s cut
            off 3 MB at 200 kB/s, which take 15 s; what takes longer than this is in time for no plan.
        acknowledged_ms: until the other side's kernel must have taken what was sent.
    """

    silence_ms: int = 10_000
    answer_ms: int = 20_000
    acknowledged_ms: int = 10_000


KEEPALIVE = Keepalive()


def client_options(keepalive: Keepalive = KEEPALIVE) -> Options:
    """Returns the options of a robot's channel."""
    return [
        *_common(keepalive),
        # An observation is never sent twice: by then it is old.
        ("grpc.enable_retries", 0),
        # Without this, a "fresh" channel to the same address shares the old one's socket and backoff.
        ("grpc.use_local_subchannel_pool", 1),
        # By itself gRPC hangs up half an hour after the last call.
        ("grpc.client_idle_timeout_ms", _NEVER_MS),
        # By itself gRPC takes the proxy that the environment names, and tells it everything: in http_proxy
        # and its like, and for some addresses in GRPC_ADDRESS_HTTP_PROXY, which the first leaves alone.
        ("grpc.enable_http_proxy", 0),
        ("grpc.address_http_proxy_enabled_addresses", ""),
    ]


def server_options(max_connections: int, keepalive: Keepalive = KEEPALIVE) -> Options:
    """Returns the options of the server.

    Args:
        max_connections: sockets accepted at once.
        keepalive: as the clients have it; who pings three times within half of its silence is cut off.
    """
    return [
        *_common(keepalive),
        ("grpc.so_reuseport", 0),  # a second server on the same port must fail, not share it
        # By itself gRPC cuts a client off that pings three times within 15 minutes.
        ("grpc.http2.min_ping_interval_without_data_ms", keepalive.silence_ms // 2),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.max_connection_idle_ms", _IDLE_MS),
        ("grpc.max_allowed_incoming_connections", max_connections),
    ]


def _common(keepalive: Keepalive) -> Options:
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", keepalive.silence_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        # This one is the kernel's; a peer that takes bytes and says nothing is left to the next, which is
        # a minute by itself.
        ("grpc.keepalive_timeout_ms", keepalive.acknowledged_ms),
        ("grpc.http2.ping_timeout_ms", keepalive.answer_ms),
        # By itself gRPC pings twice without data, and from then on once a minute.
        ("grpc.http2.max_pings_without_data", 0),
        # A refusal lists every difference; gRPC's default of 8 kB would cut off a long list.
        ("grpc.max_metadata_size", 64 * 1024),
        ("grpc.absolute_max_metadata_size", 128 * 1024),
    ]
