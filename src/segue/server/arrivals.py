"""Waits for the messages of calls, but not for long, and not for many of one connection.

gRPC hands a call to a thread when its headers have come; the message may follow
much later, or never. Threads are few, and a caller who lets them wait takes them
from the robots. So a call whose message does not come in `PATIENCE_S` is ended,
and one connection may have no more such calls than a share of the threads.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc

from segue.clock import NS_PER_S, Clock

# A robot gives a request up long before: its own deadline is a few seconds.
PATIENCE_S = 10.0
_LOOK_S = 1.0

Call = Callable[[bytes, grpc.ServicerContext], bytes]
M = TypeVar("M")

_log = logging.getLogger("segue.server")


class Arrivals:
    """The calls whose message has not come yet."""

    def __init__(self, clock: Clock, per_connection: int) -> None:
        """Waits for nobody yet.

        Args:
            clock: of this host.
            per_connection: calls of one connection that may wait at a time; a proxy in between may
                carry the calls of many robots over one.
        """
        self._clock = clock
        self._per_connection = per_connection
        self._lock = threading.Lock()
        self._waiting: dict[grpc.ServicerContext, int] = {}
        self._of_peer: Counter[str] = Counter()
        self._over = threading.Event()

    def __repr__(self) -> str:
        return f"<Arrivals waiting={len(self._waiting)}>"

    def start(self) -> None:
        """Begins to look for calls that wait too long."""
        threading.Thread(target=self._watch, name="segue-arrivals", daemon=True).start()

    def stop(self) -> None:
        """Ceases to look; no error when it never began."""
        self._over.set()

    def handler(self, call: Call) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Returns a method that reads one message and hands it to `call`."""

        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            return call(self._message(requests, context), context)

        # A stream on this side only: its handler begins before the message has come.
        return grpc.stream_unary_rpc_method_handler(handle)

    def messages(self, requests: Iterator[M], context: grpc.ServicerContext) -> Iterator[M]:
        """Yields the messages of a stream, each of which may be waited for as long as a call's only one."""
        while (message := self._next(requests, context)) is not None:
            yield message

    def _message(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return self._next(requests, context) or b""

    def _next(self, requests: Iterator[M], context: grpc.ServicerContext) -> M | None:
        """Returns the next message, or None when there is none."""
        peer = context.peer()
        with self._lock:
            crowded = self._of_peer[peer] >= self._per_connection
            if not crowded:
                self._of_peer[peer] += 1
                self._waiting[context] = self._clock.now_ns() + round(PATIENCE_S * NS_PER_S)
        if crowded:
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls of this connection wait for their message"
            )
        try:
            return next(requests, None)
        finally:
            self._forget(peer, context)

    def _forget(self, peer: str, context: grpc.ServicerContext) -> None:
        with self._lock:
            self._waiting.pop(context, None)
            self._of_peer[peer] -= 1
            if self._of_peer[peer] <= 0:
                del self._of_peer[peer]

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            now_ns = self._clock.now_ns()
            with self._lock:
                late = [context for context, until_ns in self._waiting.items() if now_ns > until_ns]
            for context in late:
                _log.info("ended a call from %s: its message did not come", context.peer())
                context.cancel()  # type: ignore[no-untyped-call]
