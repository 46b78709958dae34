"""A robot's side of one channel, and how to wait and to expect a no: shared by the tests over real gRPC."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from segue.core.types import ActionChunk
from segue.server.lifecycle import PolicyServer
from segue.server.service import SERVICE_NAME
from segue.wire import policy_pb2 as pb
from segue.wire.channel import client_options
from segue.wire.codec import add_images, decode_chunk, encode_request
from segue.wire.handshake import decode_welcome, encode_handshake
from segue.wire.image import encode
from segue.wire.policy_pb2_grpc import PolicyServiceStub
from segue.wire.records import ServerTimings, Welcome
from segue.wire.refusal import Reason, Refusal, refusal_in
from tests.unit.server.toy_policy import context, handshake, request

WAIT_S = 20.0
PICTURE = encode(np.full((48, 64, 3), 100, dtype=np.uint8))


class Client:
    """A robot's side of one channel, as thin as it can be."""

    server: PolicyServer

    def __init__(self, address: str, **options: object) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(address, options=client_options(), **options)
        self.stub = PolicyServiceStub(self.channel)

    def open(self, **changes: object) -> Welcome:
        return decode_welcome(self.stub.Open(encode_handshake(handshake(**changes)), timeout=WAIT_S))

    def message(self, session_id: str, number: int = 1, **changes: object) -> pb.InferRequest:
        message = encode_request(request(number), context(session_id, **changes))
        add_images(message, {"front": PICTURE})
        return message

    def infer(self, message: pb.InferRequest) -> tuple[ActionChunk, ServerTimings]:
        return decode_chunk(self.stub.Infer(message, timeout=WAIT_S))

    def health(self, service: str = SERVICE_NAME) -> int:
        stub = health_pb2_grpc.HealthStub(self.channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=WAIT_S).status

    def raw(self, method: str, data: bytes) -> bytes:
        return self.channel.unary_unary(f"/{SERVICE_NAME}/{method}")(data, timeout=WAIT_S)


@contextlib.contextmanager
def refused(code: grpc.StatusCode) -> Iterator[list[Refusal]]:
    """Expects a call to fail with `code`, its text one line without a path; fills in the refusal."""
    found: list[Refusal] = []
    with pytest.raises(grpc.RpcError) as error:
        yield found
    assert error.value.code() is code, error.value
    assert "\n" not in error.value.details()
    assert "/src/" not in error.value.details()
    found.append(refusal_in(error.value.trailing_metadata()))


def reason_of(call: Callable[[], object]) -> Reason | None:
    try:
        call()
    except grpc.RpcError as error:
        return refusal_in(error.trailing_metadata()).reason
    return None


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.005)


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096
