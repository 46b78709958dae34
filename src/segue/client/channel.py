"""The gRPC skin: one channel to one server, and what its answers say.

A channel is used until its first serious failure and then thrown away; a fresh
one shares neither socket nor back-off with it. Every call has a deadline,
because a stopped server would hang one without for ever. Nothing here waits:
calls are started, and their ends are told from threads of gRPC's. What an
answer means for the link is the core's to say (`segue.core.link.heard`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, cast

import grpc

from segue.client.names import Route, Router
from segue.client.security import PLAIN, LinkSecurity
from segue.clock import NS_PER_S
from segue.core.link.heard import Heard
from segue.wire import policy_pb2 as pb
from segue.wire.channel import client_options
from segue.wire.refusal import Reason, refusal_in, said

_LAST_LOOK_S = 0.3
_SERVICE = "/segue.v1.PolicyService/"


class Call(Protocol):
    """A call under way, as gRPC hands it out."""

    def cancel(self) -> bool:
        """Gives the call up."""
        ...

    def done(self) -> bool:
        """Returns whether it has ended."""
        ...

    def add_done_callback(self, callback: Callable[[Call], None]) -> None:
        """Calls `callback` from another thread when it has ended."""
        ...


class ChannelListener(Protocol):
    """Who hears of a connection, on a thread of gRPC's."""

    def connected(self) -> None:
        """The server accepted the connection."""
        ...

    def turned_away(self) -> None:
        """The connection failed before the server had accepted it."""
        ...

    def broke(self) -> None:
        """The connection was lost, or the server wants no more calls on it."""
        ...


class PolicyChannel:
    """One channel to one server."""

    def __init__(self, way: Route | str, listener: ChannelListener, security: LinkSecurity = PLAIN) -> None:
        """Makes the channel; nothing is sent before `connect`.

        Args:
            way: to the server, or its ``host:port``.
            listener: hears of the connection, each thing once.
            security: what this side proves, and how it knows the server.
        """
        self._listener = listener
        self._connected = False
        self._told = False
        self._under_way: set[Call] = set()
        self._metadata = _metadata(security.token)
        self._channel = _make_channel(way, security)
        # Bytes in, bytes out: what is read is read by the one who needs it.
        self._calls = {
            name: self._channel.unary_unary(_SERVICE + name, _as_it_is, _as_it_is)
            for name in ("Describe", "Open", "Infer")
        }

    def connect(self) -> None:
        """Begins to connect; the listener hears what comes of it."""
        self._channel.subscribe(self._note, try_to_connect=True)

    def describe(self, timeout_ns: int) -> Call:
        """Asks which policies there are; the answer is an encoded `DescribeReply`."""
        return self._start("Describe", pb.DescribeRequest().SerializeToString(), timeout_ns)

    def open(self, request: bytes, timeout_ns: int) -> Call:
        """Sends an encoded `OpenRequest`; the answer is an encoded `OpenReply`."""
        return self._start("Open", request, timeout_ns)

    def infer(self, request: bytes, timeout_ns: int) -> Call:
        """Sends an encoded `InferRequest`; the answer is an encoded `InferReply`."""
        return self._start("Infer", request, timeout_ns)

    def close(self) -> None:
        """Closes the channel; calls under way end as cancelled. May be called twice."""
        self._channel.unsubscribe(self._note)
        for call in tuple(self._under_way):
            call.cancel()
        threading.Thread(target=self._close_later, name="close-channel").start()

    def _close_later(self) -> None:
        """Closes the channel once gRPC looks at its state no more, which a fresh channel need not wait for.

        It looks every 200 ms. A look at a channel that was closed just before raises on a thread of
        gRPC's, which would be a traceback on the terminal.
        """
        time.sleep(_LAST_LOOK_S)
        self._channel.close()

    def _start(self, name: str, request: bytes, timeout_ns: int) -> Call:
        future = self._calls[name].future(request, timeout=timeout_ns / NS_PER_S, metadata=self._metadata)
        call = cast(Call, future)
        self._under_way.add(call)
        call.add_done_callback(self._under_way.discard)
        return call

    def _note(self, state: grpc.ChannelConnectivity) -> None:
        """Takes a change of the connection; runs on a thread of gRPC's."""
        if state is grpc.ChannelConnectivity.READY:
            self._connected = True
            self._listener.connected()
        elif self._connected:
            # A server that dies between two calls is noticed now, not when the next one fails.
            self._tell(self._listener.broke)
        elif state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            self._tell(self._listener.turned_away)

    def _tell(self, what: Callable[[], None]) -> None:
        if not self._told:
            self._told = True
            what()


def _metadata(token: str) -> tuple[tuple[str, str | bytes], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


def _make_channel(way: Route | str, security: LinkSecurity) -> grpc.Channel:
    """Returns a channel that connects where `way` says; a name is looked up first, for at most a second."""
    found = Router(way, security.proxy.proxy).find(NS_PER_S) if isinstance(way, str) else way
    options: list[tuple[str, int | str]] = [*client_options()]
    target = str(way)  # without a route gRPC is left to find out that there is none
    if isinstance(found, Route):
        target = found.target
        options += found.options
    if security.authorities is None:
        return grpc.insecure_channel(target, options=options)
    if security.server_name:
        # It stands for the authority, too, and the two must not differ.
        options = [(name, value) for name, value in options if name != "grpc.default_authority"]
        options.append(("grpc.ssl_target_name_override", security.server_name))
    identity = security.identity
    credentials = grpc.ssl_channel_credentials(
        root_certificates=security.authorities,
        private_key=identity.key if identity else None,
        certificate_chain=identity.certificate if identity else None,
    )
    return grpc.secure_channel(target, credentials, options=options)


def answer_of(call: Call) -> bytes | Heard:
    """Returns the answer of a call that is done, or what was heard instead."""
    try:
        return cast(bytes, call.result())  # type: ignore[attr-defined]
    except grpc.FutureCancelledError:
        return Heard(grpc.StatusCode.CANCELLED.name, "given up")
    except grpc.RpcError as error:
        return heard_in(error)


def heard_in(error: grpc.RpcError) -> Heard:
    """Returns what gRPC raised in the link's own words."""
    call = cast(grpc.Call, error)
    refusal = refusal_in(call.trailing_metadata())
    reason = "" if refusal.reason is Reason.UNSPECIFIED else refusal.reason.value
    return Heard(call.code().name, said(call.details()), reason, refusal.differences)


def _as_it_is(data: bytes) -> bytes:
    return data
