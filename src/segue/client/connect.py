"""Carries out what the link's machine wants of the channel, and says what came of it.

Channels are made, handshakes sent, connections looked into; none of it waits.
What happens, happens on threads of gRPC's or of this file's; it is handed on as
a function that returns the event, to be called on the link's own thread, so
that bytes are read and mistakes are raised there and nowhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from segue.client.channel import Call, PolicyChannel, answer_of
from segue.client.diagnose import certain_refusal
from segue.client.names import NoRoute, NoRouteKind, Route, Router
from segue.client.plan import LinkPlan
from segue.clock import NS_PER_S
from segue.core.link import events as ev
from segue.core.link.heard import Heard, Status
from segue.core.specs import PolicySpec
from segue.errors import AuthenticationError, LocalProtocolError, RemoteProtocolError, SegueError
from segue.wire import policy_pb2 as pb
from segue.wire.handshake import decode_description, decode_welcome, encode_handshake
from segue.wire.parse import parse
from segue.wire.records import Handshake, Welcome

# What happened, to be found out on the link's thread; None when it is no news any more.
News = Callable[[], ev.Event | None]
# A name server that needs longer is answered by the next dial.
_LOOK_UP_NS = NS_PER_S
Offer = Callable[[tuple[PolicySpec, ...]], Handshake]


class _Ears:
    """Hears what becomes of one channel."""

    def __init__(self, channel: int, tell: Callable[[News], None]) -> None:
        self._channel = channel
        self._tell = tell

    def connected(self) -> None:
        self._tell(lambda: ev.Connected(self._channel))

    def turned_away(self) -> None:
        self._tell(lambda: ev.TurnedAway(self._channel))

    def broke(self) -> None:
        self._tell(lambda: ev.Broke(self._channel))


class Connector:
    """The channel of a link, and the handshake over it."""

    def __init__(self, plan: LinkPlan, offer: Offer, tell: Callable[[News], None]) -> None:
        """Connects to nothing yet.

        Args:
            plan: where the server is, and how the two know each other.
            offer: makes the handshake once the server's policies are known; what it raises ends the run.
            tell: takes news, from any thread.
        """
        self.welcome: Welcome | None = None
        self.plan = plan
        self._offer = offer
        self._tell = tell
        self.channel: PolicyChannel | None = None
        self._router = Router(plan.server_address, plan.security.proxy.proxy)
        self._dialled = 0
        self._looking = threading.Lock()

    def __repr__(self) -> str:
        return f"<Connector {self.plan.server_address}>"

    def connect(self, effect: ev.Connect) -> None:
        """Looks the server's name up, then makes a fresh channel and begins to connect."""
        self.close()
        self._dialled = effect.channel

        def looked_up() -> None:
            with self._looking:
                route = self._router.find(_LOOK_UP_NS)
            self._tell(lambda: self._found(effect.channel, route))

        threading.Thread(target=looked_up, name="dial", daemon=True).start()

    def look(self, effect: ev.Look) -> None:
        """Looks why the connection was turned away, on a thread of its own: that takes round trips."""

        def looked() -> None:
            why = certain_refusal(self.plan.server_address, self.plan.security, effect.timeout_ns)
            error = AuthenticationError(why) if why is not None else None
            self._tell(lambda: ev.Diagnosed(effect.channel, error))

        threading.Thread(target=looked, name="look", daemon=True).start()

    def describe(self, effect: ev.Describe) -> None:
        """Asks which policies there are."""
        self._follow(effect.channel, self._open_channel().describe(effect.timeout_ns), self._described)

    def open(self, effect: ev.Open) -> None:
        """Opens a session."""
        try:
            handshake = self._offer(effect.policies)
        except SegueError as error:
            unfit = ev.Unfit(effect.channel, error)
            self._tell(lambda: unfit)
            return
        handshake = replace(handshake, previous_session_id=effect.previous_session_id)
        request = encode_handshake(handshake).SerializeToString()
        self._follow(effect.channel, self._open_channel().open(request, effect.timeout_ns), self._welcomed)

    def infer(self, request: bytes, timeout_ns: int) -> Call:
        """Sends an encoded `InferRequest` and returns the call under way."""
        return self._open_channel().infer(request, timeout_ns)

    def close(self) -> None:
        """Closes the channel; may be called twice."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def _found(self, channel: int, route: Route | NoRoute) -> ev.Event | None:
        if channel != self._dialled:
            return None  # a later dial is under way
        if isinstance(route, NoRoute):
            unknown = route.kind is NoRouteKind.UNKNOWN
            status = Status.UNKNOWN_HOST if unknown else Status.NO_CONNECTION
            return ev.TurnedAway(channel, Heard(status, route.sentence))
        self.channel = PolicyChannel(route, _Ears(channel, self._tell), self.plan.security)
        self.channel.connect()
        return None

    def _follow(self, channel: int, call: Call, read: Callable[[int, bytes], ev.Event]) -> None:
        def news() -> ev.Event:
            answer = answer_of(call)
            if isinstance(answer, Heard):
                return ev.Unopened(channel, answer)
            try:
                return read(channel, answer)
            except RemoteProtocolError as error:
                wrong = RemoteProtocolError(
                    f"{self.plan.server_address}: the server's answer is wrong: {error}"
                )
                return ev.Unfit(channel, wrong)

        call.add_done_callback(lambda _: self._tell(news))

    def _described(self, channel: int, answer: bytes) -> ev.Event:
        return ev.Described(channel, decode_description(parse(pb.DescribeReply, answer)).policies)

    def _welcomed(self, channel: int, answer: bytes) -> ev.Event:
        self.welcome = welcome = decode_welcome(parse(pb.OpenReply, answer))
        return ev.Welcomed(channel, welcome.session_id, welcome.policy)

    def _open_channel(self) -> PolicyChannel:
        if self.channel is None:
            raise LocalProtocolError("a call without a channel")
        return self.channel
