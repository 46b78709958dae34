"""A bare gRPC echo, to measure against: the least that any call of that size costs on this machine.

It has nothing of Segue in it: bytes come in, as many bytes as asked for go
out. `make bench` runs it as a process of its own, beside the real server and
in the same minute, and states Segue's overhead as a multiple of it.
"""

from __future__ import annotations

import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

from segue.clock import Clock, SystemClock

_METHOD = "/segue.echo/Echo"
_OPTIONS = [
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.so_reuseport", 0),
    ("grpc.enable_http_proxy", 0),
]


def _echo(request: bytes, context: grpc.ServicerContext) -> bytes:
    (size,) = struct.unpack_from("<I", request)
    return request[:size]


def start_echo() -> tuple[grpc.Server, str]:
    """Returns a started server and its address on loopback."""
    server = grpc.server(ThreadPoolExecutor(4), options=_OPTIONS)
    handler = grpc.unary_unary_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("segue.echo", {"Echo": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


def measure_echo(address: str, up: int, down: int, count: int, pause_ns: int = 0) -> list[int]:
    """Returns the durations of `count` calls in ns, after a few that are not counted.

    Args:
        address: of an echo server.
        up: bytes of a request.
        down: bytes of its reply, 4 <= down <= up.
        count: how many calls are measured.
        pause_ns: between calls, so that they are as seldom as a robot's.
    """
    clock: Clock = SystemClock()
    payload = struct.pack("<I", down) + b"\x5a" * (up - 4)
    durations = []
    with grpc.insecure_channel(address, options=_OPTIONS) as channel:
        call = channel.unary_unary(_METHOD, request_serializer=None, response_deserializer=None)
        for _ in range(count + 5):
            start_ns = clock.now_ns()
            call(payload, timeout=10.0)
            durations.append(clock.now_ns() - start_ns)
            clock.sleep_until(start_ns + pause_ns)
    return durations[5:]


if __name__ == "__main__":
    running, where = start_echo()
    sys.stdout.write(where + "\n")
    sys.stdout.flush()
    sys.stdin.read()  # ends with whoever started it
    running.stop(0)
