"""Who may call: the judgement on a token, and the guard before every method."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from segue.server.auth import EXPIRED_TOKEN, NO_TOKEN, WRONG_TOKEN, TokenCheck
from segue.server.security import ServerSecurity
from segue.wire import policy_pb2 as pb
from segue.wire.keyfiles import Token
from tests.unit.server.thin_client import WAIT_S, Client

NOW = datetime(2027, 1, 31, tzinfo=UTC)
SECOND = timedelta(seconds=1)
A, B, C = "a" * 40, "b" * 40, "c" * 40
CHECK = TokenCheck([Token(A), Token(B, NOW + SECOND), Token(C, NOW)], lambda: NOW)

Serve = Callable[..., Client]


def bearer(token: str) -> list[tuple[str, str]]:
    return [("user-agent", "x"), ("authorization", f"Bearer {token}")]


@pytest.mark.parametrize(
    ("metadata", "objection"),
    [
        (bearer(A), None),
        (bearer(B), None),
        ([("authorization", f"bearer {A}")], None),
        (bearer(C), EXPIRED_TOKEN),
        ([], NO_TOKEN),
        ([("user-agent", "x")], NO_TOKEN),
        (bearer(""), WRONG_TOKEN),
        (bearer(A[:-1]), WRONG_TOKEN),
        (bearer(A + "a"), WRONG_TOKEN),
        (bearer("ü" * 40), WRONG_TOKEN),
        ([("authorization", A)], WRONG_TOKEN),
        ([("authorization", f"Basic {A}")], WRONG_TOKEN),
        ([*bearer(A), *bearer(A)], WRONG_TOKEN),
    ],
)
def test_only_a_known_token_in_its_time_is_welcome(
    metadata: list[tuple[str, str]], objection: str | None
) -> None:
    """One bearer token, known and not expired, is let in; every other call gets its sentence."""
    assert CHECK.objection(metadata) == objection


@pytest.mark.parametrize("given", [A, C, "wrong"])
def test_every_token_is_compared_whatever_the_first_one_says(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """The number of comparisons, each in constant time, does not depend on the token that is brought."""
    compared, real = [], hmac.compare_digest

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    CHECK.objection(bearer(given))
    assert compared == [(32, 32)] * 3


def test_tokens_are_kept_as_digests_alone() -> None:
    """Nothing that the check holds has a token in it."""
    assert A not in repr(vars(CHECK))


def guarded(serve: Serve) -> Client:
    return serve(security=ServerSecurity(tokens=(Token(A),)))


def test_a_good_token_opens_the_door(serve: Serve) -> None:
    """With its token in the metadata a call is answered as if there were no guard."""
    client = guarded(serve)
    client.stub.Describe(pb.DescribeRequest(), timeout=WAIT_S, metadata=bearer(A)[1:])


@pytest.mark.parametrize("metadata", [(), bearer(C)[1:]])
@pytest.mark.parametrize("method", ["Describe", "Open", "Infer", "NoSuchMethod"])
def test_every_method_is_guarded(
    serve: Serve, method: str, metadata: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a good token a call is UNAUTHENTICATED, with one log line in which no token stands."""
    client = guarded(serve)
    call = client.channel.unary_unary(f"/segue.v1.PolicyService/{method}")
    with caplog.at_level(logging.INFO, "segue.server"), pytest.raises(grpc.RpcError) as refused:
        call(b"x" * 1_000_000, timeout=WAIT_S, metadata=metadata)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert refused.value.details() in (NO_TOKEN, WRONG_TOKEN)
    lines = [record.getMessage() for record in caplog.records]
    assert sum("UNAUTHENTICATED" in line for line in lines) == 1
    assert not any(A in line or C in line for line in lines)


def test_reflection_is_guarded_and_health_is_not(serve: Serve) -> None:
    """A stranger learns whether the server serves, and nothing about what it serves."""
    client = guarded(serve)
    assert client.health() == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    asks = [reflection_pb2.ServerReflectionRequest(list_services="")]
    with pytest.raises(grpc.RpcError) as refused:
        list(stub.ServerReflectionInfo(iter(asks), timeout=WAIT_S))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert list(stub.ServerReflectionInfo(iter(asks), timeout=WAIT_S, metadata=bearer(A)[1:]))


def test_a_service_that_only_sounds_like_health_is_guarded(serve: Serve) -> None:
    """A path that begins almost like the health service's is no way around the guard."""
    client = guarded(serve)
    for path in ("/grpc.health.v1.HealthX/Check", "/grpc.health.v1/Check"):
        with pytest.raises(grpc.RpcError) as refused:
            client.channel.unary_unary(path)(b"", timeout=WAIT_S)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
