"""The gRPC skin: one channel to one server, and what its answers mean.

A channel is used until its first serious failure and then thrown away; a fresh
one shares neither socket nor back-off with it. Every call has a deadline,
because a stopped server would hang one without for ever. Statuses are
translated here, by a table, into the few things that a link can do about them;
nobody else looks at a status code.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, cast

import grpc

from segue.client.plan import check_window
from segue.client.security import PLAIN, LinkSecurity
from segue.clock import NS_PER_S, Clock
from segue.core.link import LinkEvent
from segue.errors import (
    AuthenticationError,
    LocalProtocolError,
    Overloaded,
    RemoteProtocolError,
    SegueError,
    SpecMismatch,
)
from segue.wire import policy_pb2 as pb
from segue.wire.channel import client_options
from segue.wire.handshake import decode_description, decode_welcome, encode_handshake
from segue.wire.parse import parse
from segue.wire.records import Handshake, Welcome
from segue.wire.refusal import refusal_in

_SERVICE = "/segue.v1.PolicyService/"
_ROUND_TRIPS = 3
# Of a handshake's time: what may be spent before another round trip is measured.
_MEASURING = 0.25

# What a failed call says about the link; what is not listed says only that this call failed.
_LINK_EVENTS = MappingProxyType(
    {
        grpc.StatusCode.UNAVAILABLE: LinkEvent.FAILED,
        grpc.StatusCode.FAILED_PRECONDITION: LinkEvent.STALE,
        grpc.StatusCode.UNAUTHENTICATED: LinkEvent.REFUSED,
        # It had opened a session: somebody else answers now, or the line is bad. A handshake will tell.
        grpc.StatusCode.UNIMPLEMENTED: LinkEvent.FAILED,
    }
)


class CallFailed(Exception):
    """A call failed.

    Attributes:
        code: the status.
        text: what the server or gRPC said, one line.
        differences: one sentence each, when the server refused for them.
    """

    def __init__(self, code: grpc.StatusCode, text: str, differences: tuple[str, ...] = ()) -> None:
        super().__init__(code, text, differences)
        self.code = code
        self.text = text
        self.differences = differences

    def __str__(self) -> str:
        return f"{self.code.name.lower().replace('_', ' ')}: {self.text}"

    @property
    def event(self) -> LinkEvent | None:
        """What it means for the link; None when only this call failed."""
        return _LINK_EVENTS.get(self.code)

    @property
    def deadline_missed(self) -> bool:
        """Whether there was no answer in time."""
        return self.code is grpc.StatusCode.DEADLINE_EXCEEDED


class Call(Protocol):
    """A call under way, as gRPC hands it out."""

    def cancel(self) -> bool:
        """Gives the call up."""
        ...

    def done(self) -> bool:
        """Returns whether it has ended."""
        ...

    def add_done_callback(self, callback: Callable[[object], None]) -> None:
        """Calls `callback` from another thread when it has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """An open session: the server's answer, and the shortest round trip measured on the way."""

    welcome: Welcome
    round_trip_ns: int


class PolicyChannel:
    """One channel to one server."""

    def __init__(
        self,
        address: str,
        clock: Clock,
        on_broken: Callable[[], None],
        security: LinkSecurity = PLAIN,
    ) -> None:
        """Makes the channel; nothing is sent yet.

        Args:
            address: ``host:port``.
            clock: of this host.
            on_broken: called, from another thread, when the connection is lost; see `broken`.
            security: what this side proves, and how it knows the server.
        """
        self.broken = False
        self._clock = clock
        self._on_broken = on_broken
        self._settled = threading.Event()
        self._connected = False
        self._metadata = _metadata(security.token)
        self._channel = _make_channel(address, security)
        self._describe = self._channel.unary_unary(
            _SERVICE + "Describe", pb.DescribeRequest.SerializeToString, _describe_reply
        )
        self._open = self._channel.unary_unary(
            _SERVICE + "Open", pb.OpenRequest.SerializeToString, _open_reply
        )
        # Bytes in, bytes out: the reply is read in the control process, by the one who needs it.
        self._infer = self._channel.unary_unary(_SERVICE + "Infer", _as_it_is, _as_it_is)

    def connect(self, timeout_ns: int) -> bool:
        """Waits until the server accepts the connection; returns whether it did."""
        self._channel.subscribe(self._note, try_to_connect=True)
        self._settled.wait(timeout_ns / NS_PER_S)
        return self._connected

    @property
    def turned_away(self) -> bool:
        """Whether the connection failed at once, rather than not coming about in time."""
        return self._settled.is_set() and not self._connected

    def open(self, handshake: Handshake, timeout_ns: int) -> Session:
        """Measures the round trip and opens a session.

        Args:
            handshake: what to say.
            timeout_ns: for all calls together: who waits for them does nothing else.

        Raises:
            CallFailed: no session was opened; `refused` tells whether a later try may succeed.
            RemoteProtocolError: the answer cannot be read.
            ConfigError: the guidance wished for does not fit the policy.
        """
        began_ns = self._clock.now_ns()
        until_ns = began_ns + timeout_ns
        try:
            trips = [self._round_trip(self._left_s(until_ns))]
            # On a long way one measurement must do, so that there is time left to open.
            while len(trips) < _ROUND_TRIPS and self._clock.now_ns() - began_ns < _MEASURING * timeout_ns:
                trips.append(self._round_trip(self._left_s(until_ns)))
            # Said here, by its key: the server's refusal would read like a bug of this side.
            for policy in decode_description(trips[-1][1]).policies:
                if handshake.policy in ("", policy.name):
                    check_window(handshake.guidance, policy)
                    break
            message = encode_handshake(handshake)
            reply = self._open(message, timeout=self._left_s(until_ns), metadata=self._metadata)
        except grpc.RpcError as error:
            raise failure_of(error) from None
        return Session(decode_welcome(reply), min(took_ns for took_ns, _ in trips))

    def infer(self, request: bytes, timeout_ns: int) -> Call:
        """Sends an encoded `InferRequest` and returns the call under way."""
        call = self._infer.future(request, timeout=timeout_ns / NS_PER_S, metadata=self._metadata)
        return cast(Call, call)

    def close(self) -> None:
        """Closes the channel; calls under way end as cancelled. May be called twice."""
        self._channel.unsubscribe(self._note)
        # gRPC looks at a connection's state every 200 ms, and closing waits for that look: a fresh
        # channel need not.
        threading.Thread(target=self._channel.close, name="close-channel").start()

    def _note(self, state: grpc.ChannelConnectivity) -> None:
        """Takes a change of the connection; runs on a thread of gRPC's."""
        if state is grpc.ChannelConnectivity.READY:
            self._connected = True
        elif self._connected:
            # A server that dies between two calls is noticed now, not when the next one fails.
            self.broken = True
            self._on_broken()
        if state in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
            self._settled.set()

    def _left_s(self, until_ns: int) -> float:
        return max(0, until_ns - self._clock.now_ns()) / NS_PER_S

    def _round_trip(self, timeout_s: float) -> tuple[int, pb.DescribeReply]:
        sent_ns = self._clock.now_ns()
        reply = self._describe(pb.DescribeRequest(), timeout=timeout_s, metadata=self._metadata)
        return self._clock.now_ns() - sent_ns, reply


def _metadata(token: str) -> tuple[tuple[str, str | bytes], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


def _make_channel(address: str, security: LinkSecurity) -> grpc.Channel:
    options: list[tuple[str, int | str]] = [*client_options()]
    if security.authorities is None:
        return grpc.insecure_channel(address, options=options)
    if security.server_name:
        options.append(("grpc.ssl_target_name_override", security.server_name))
    identity = security.identity
    credentials = grpc.ssl_channel_credentials(
        root_certificates=security.authorities,
        private_key=identity.key if identity else None,
        certificate_chain=identity.certificate if identity else None,
    )
    return grpc.secure_channel(address, credentials, options=options)


def reply_of(call: Call) -> bytes:
    """Returns the encoded `InferReply` of a call that is done.

    Raises:
        CallFailed: it failed or was cancelled.
    """
    try:
        return cast(bytes, call.result())  # type: ignore[attr-defined]
    except grpc.FutureCancelledError:
        raise CallFailed(grpc.StatusCode.CANCELLED, "given up") from None
    except grpc.RpcError as error:
        raise failure_of(error) from None


def failure_of(error: grpc.RpcError) -> CallFailed:
    """Returns what gRPC raised as a `CallFailed`."""
    call = cast(grpc.Call, error)
    refusal = refusal_in(call.trailing_metadata())
    # What a server says ends up on a terminal, where control characters are commands.
    said = "".join(char if char.isprintable() else " " for char in call.details() or "no details")
    text = " ".join(said.split())
    return CallFailed(call.code(), text, refusal.differences)


def refused(failure: CallFailed) -> SegueError | None:
    """Returns the error of an `Open` that will never succeed, or None when a later try may."""
    lines = failure.differences or (failure.text,)
    match failure.code:
        case grpc.StatusCode.FAILED_PRECONDITION | grpc.StatusCode.PERMISSION_DENIED:
            return SpecMismatch(lines)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Overloaded(failure.text)
        case grpc.StatusCode.UNAUTHENTICATED:
            return AuthenticationError(failure.text)
        case grpc.StatusCode.INVALID_ARGUMENT:
            return LocalProtocolError(f"the server finds our handshake wrong: {failure.text}")
        case grpc.StatusCode.UNIMPLEMENTED:
            return RemoteProtocolError(f"this is no Segue server: {failure.text}")
    return None


def _describe_reply(data: bytes) -> pb.DescribeReply:
    return parse(pb.DescribeReply, data)


def _open_reply(data: bytes) -> pb.OpenReply:
    return parse(pb.OpenReply, data)


def _as_it_is(data: bytes) -> bytes:
    return data
