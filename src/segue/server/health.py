"""Answers probes: whether the server serves, to anybody, and at no cost to the robots.

Of grpc.health.v1 there is `Check` alone. It is answered before its message is
read, since all names here stand or fall together: a stranger who sends headers
and no message must not keep a thread waiting. `Watch` keeps a stream open for
each who asks, for as long as he likes, so it is not offered.
"""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from grpc_health.v1 import health, health_pb2

_Reply = health_pb2.HealthCheckResponse


class Health:
    """The answer to every probe."""

    def __init__(self) -> None:
        """Says NOT_SERVING."""
        self._serving = False
        self._over = False

    def __repr__(self) -> str:
        return f"<Health serving={self._serving}>"

    def serve(self) -> None:
        """Says SERVING from now on, unless `leave` was called."""
        self._serving = not self._over

    def leave(self) -> None:
        """Says NOT_SERVING from now on, for good."""
        self._serving, self._over = False, True

    def handler(self) -> grpc.GenericRpcHandler[object, object]:
        """Returns what a gRPC server needs to route probes here."""
        check = grpc.stream_stream_rpc_method_handler(
            self._check, response_serializer=_Reply.SerializeToString
        )
        return grpc.method_handlers_generic_handler(health.SERVICE_NAME, {"Check": check})

    def _check(
        self, requests: object, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        yield _Reply(status=_Reply.SERVING if self._serving else _Reply.NOT_SERVING)
