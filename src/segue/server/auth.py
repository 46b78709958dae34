"""Who may call: a bearer token on every call but those that ask for the server's health.

All tokens are compared, each in constant time and in full, so that the time an
answer takes tells nothing about any of them; kept are only their digests, which
are equally long. A call that is refused is answered before its message is read.
Expiry is the one thing here that looks at the wall clock: it decides who may
ask and no motion, and a token that expires in mid-run ends the run as a refusal.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import grpc

from segue.wire.keyfiles import Token

HEADER = "authorization"
# Probes of a load balancer hold no token, and learn nothing but that the server is there.
OPEN_TO_ALL = "/grpc.health.v1.Health/"

NO_TOKEN = "this server wants a token: give the client --auth.token_file or SEGUE_TOKEN"
WRONG_TOKEN = "this server does not know this token: give the client one of the server's own"
EXPIRED_TOKEN = "this token has expired: give server and client a new one"

_SCHEME = "bearer "
_log = logging.getLogger("segue.server")


def utc_now() -> datetime:
    """Returns the date and time of day."""
    return datetime.now(UTC)


class TokenCheck:
    """Judges the tokens that callers bring."""

    def __init__(self, tokens: Sequence[Token], now: Callable[[], datetime] = utc_now) -> None:
        """Takes the tokens that are good, and the wall clock by which they expire."""
        self._digests = [(_digest(token.text), token.expires) for token in tokens]
        self._now = now

    def __repr__(self) -> str:
        return f"<TokenCheck tokens={len(self._digests)}>"

    def objection(self, metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
        """Returns why a call with `metadata` is refused, one sentence; None when it is welcome."""
        values = [value for key, value in metadata if key == HEADER]
        if not values:
            return NO_TOKEN
        text = values[0] if len(values) == 1 and isinstance(values[0], str) else ""
        # A text that is no bearer token is compared all the same, and fits none.
        given = _digest(text[len(_SCHEME) :] if text.lower().startswith(_SCHEME) else "")
        matches = [(hmac.compare_digest(given, digest), expires) for digest, expires in self._digests]
        found = [expires for same, expires in matches if same]
        if not found:
            return WRONG_TOKEN
        now = self._now()
        return None if any(expires is None or now < expires for expires in found) else EXPIRED_TOKEN


class TokenInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs alone
    """Stands before every method of a gRPC server."""

    def __init__(self, check: TokenCheck) -> None:
        """Asks `check` about every call."""
        self._check = check

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Returns the method's own handler, or one that refuses."""
        method = handler_call_details.method
        if method.startswith(OPEN_TO_ALL):
            return continuation(handler_call_details)
        sentence = self._check.objection(handler_call_details.invocation_metadata)
        return continuation(handler_call_details) if sentence is None else _refusing(sentence)


def _refusing(sentence: str) -> grpc.RpcMethodHandler[Any, Any]:
    def refuse(requests: object, context: grpc.ServicerContext) -> None:
        _log.info("refused a call from %s: UNAUTHENTICATED: %s", context.peer(), sentence)
        context.abort(grpc.StatusCode.UNAUTHENTICATED, sentence)

    # A stream, whatever the method is: its handler begins before the first message has come.
    return grpc.stream_stream_rpc_method_handler(refuse)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
