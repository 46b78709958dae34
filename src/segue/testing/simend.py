"""The robot's end of the link under virtual time: the core's `LinkMachine` over a simulated network.

Nothing is decided here. Messages of the machine become parcels on the network,
parcels that arrive become its events, and what it reports becomes the control
loop's mail, as in `segue.client.link`. Two things are harsher than in life: an
answer to a request that was given up still reaches the control loop, and so
does one that arrives twice, since it is the core that has to refuse them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from segue.client.courier import unreadable
from segue.client.messages import Answer, Ask, Message
from segue.client.plan import LinkPlan
from segue.core.link import events as ev
from segue.core.link.dial import LinkRules
from segue.core.link.heard import Heard, Status
from segue.core.link.machine import LinkMachine
from segue.core.link.states import LinkState
from segue.core.specs import PolicySpec, RobotSpec
from segue.core.types import Guidance
from segue.errors import RemoteProtocolError, SegueError
from segue.server.refused import STATUS
from segue.testing.linkjudge import Wire, WireNote
from segue.testing.simlink import Direction, LinkModel, SimLink
from segue.testing.simserver import Call, Method, Reply
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_chunk
from segue.wire.handshake import decode_description, decode_welcome, encode_handshake
from segue.wire.parse import parse
from segue.wire.records import Handshake
from segue.wire.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Knock:
    """Asks for a connection; the host answers it, even for a process that is stopped.

    Nobody is connected by that alone: gRPC waits until the process has said something, too.
    """

    channel: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The connection stands."""

    channel: int


@dataclass(frozen=True, slots=True)
class Reset:
    """There is no such connection (any more)."""

    channel: int


Parcel = Knock | Call | Accepted | Reset | Reply


@dataclass(frozen=True, slots=True)
class EndSetup:
    """Whose end it is.

    Attributes:
        robot_id, guidance: go into the handshake.
        link: the network between this robot and the server.
        seed: of network and backoff.
        rules: of the link's machine.
        chance: of its jitter; None draws it from the seed.
    """

    robot: RobotSpec
    robot_id: str
    guidance: Guidance
    link: LinkModel
    seed: int
    rules: LinkRules = field(default_factory=lambda: LinkPlan("").rules(60_000_000_000))
    chance: Callable[[], float] | None = None


@dataclass(slots=True)
class _Flight:
    """A request under way."""

    number: int
    sent_ns: int
    sent_bytes: int
    reply: bytes = b""


class LinkEnd:
    """What the link process does, without threads; for the control loop it is a mailbox."""

    def __init__(self, setup: EndSetup) -> None:
        self.link: SimLink[Parcel] = SimLink(setup.link, setup.seed)
        chance = setup.chance or random.Random(setup.seed + 1).random
        self.machine = LinkMachine(setup.rules, setup.robot, chance)
        self.mail: list[Message] = []
        self.closed = False
        self.refusal: SegueError | None = None
        self.lookup_fails: Heard | None = None
        self.notes: list[WireNote] = []
        self._setup = setup
        self._asked: list[Ask] = []
        self._wire = _Wire()

    def __repr__(self) -> str:
        return f"<LinkEnd {self.machine!r}>"

    @property
    def state(self) -> LinkState:
        """Where the link stands."""
        return self.machine.state

    @property
    def policy(self) -> PolicySpec | None:
        """The policy of the session that was opened last; None before the first."""
        return self.machine.session.policy if self.machine.session else None

    def put(self, message: Message) -> bool:
        """Takes what the control loop wants of the link; requests count, and the newest of them."""
        if isinstance(message, Ask):
            self._asked.append(message)
        return True

    def drain(self, most: int | None = None) -> Iterator[Message]:
        """Yields the control loop's mail, oldest first, `most` of it or all."""
        for _ in range(len(self.mail) if most is None else min(most, len(self.mail))):
            yield self.mail.pop(0)

    def work(self, now_ns: int) -> None:
        """Does what is due: sends what was asked, keeps the machine's dates."""
        asked, self._asked = self._asked, []
        if asked:
            self._wire.ask = asked[-1]
            self._feed(ev.Asked(asked[-1].number, asked[-1].deadline_ns), now_ns)
        if self._wire.wake_ns <= now_ns:
            self._feed(ev.Woken(), now_ns)

    def slept(self, duration_ns: int, now_ns: int) -> None:
        """Notes that the computer slept until now."""
        self._note(now_ns, Wire.SLEPT, self.machine.dials, lasted_ns=duration_ns)
        self._feed(ev.Slept(duration_ns), now_ns)

    def next_date_ns(self) -> int | None:
        """Returns when `work` has something to do; None when only news can change anything."""
        return None if self.state is LinkState.REFUSED else self._wire.wake_ns

    def receive(self, parcel: Parcel, now_ns: int) -> None:
        """Takes a parcel off the network."""
        self._note_parcel(parcel, now_ns)
        match parcel:
            case Accepted():
                self._describe(parcel.channel, now_ns)  # stands for the first words of HTTP/2
            case Reply() if self._is_first_word(parcel):
                self._feed(ev.Connected(parcel.channel), now_ns)
            case Reset() if self.state is LinkState.DIALING:
                self._feed(ev.TurnedAway(parcel.channel, _reset()), now_ns)
            case Reset():
                self._feed(ev.Broke(parcel.channel), now_ns)
                self._reset_calls(parcel.channel, now_ns)
            case Reply() if parcel.method is Method.INFER:
                self._answered(parcel, now_ns)
            case Reply():
                self._feed(_opened(parcel), now_ns)

    def _is_first_word(self, reply: Reply) -> bool:
        dialing = self.state is LinkState.DIALING and reply.channel == self.machine.dials
        return dialing and reply.method is Method.DESCRIBE

    def _note_parcel(self, parcel: Parcel, now_ns: int) -> None:
        """Keeps what arrived, for the judge of the link."""
        match parcel:
            case Accepted():
                what = Wire.ACCEPTED
            case Reset():
                what = Wire.RESET
            case Reply() if isinstance(parcel.answer, Refusal):
                what = Wire.REFUSAL if parcel.method is Method.INFER else Wire.NOT_OPENED
                self._note(now_ns, what, parcel.channel, number=parcel.number, reason=parcel.answer.reason)
                return
            case Reply() if parcel.method is Method.DESCRIBE:
                return
            case Reply():
                what = Wire.ANSWER if parcel.method is Method.INFER else Wire.OPENED
            case _:
                return
        self._note(now_ns, what, parcel.channel, number=getattr(parcel, "number", 0))

    def _note(self, now_ns: int, what: Wire, channel: int, **fields: Any) -> None:
        self.notes.append(WireNote(now_ns, what, channel, **fields))

    def _reset_calls(self, channel: int, now_ns: int) -> None:
        """Ends the call under way, as gRPC does when its connection breaks."""
        flight = self._wire.flight
        if flight is not None and channel == self.machine.dials:
            self._feed(ev.Unanswered(flight.number, Heard(Status.UNAVAILABLE, "connection reset")), now_ns)

    def _answered(self, parcel: Reply, now_ns: int) -> None:
        flight = self._wire.flight
        awaited = flight is not None and flight.number == parcel.number
        if isinstance(parcel.answer, Refusal):
            if awaited:
                self._feed(ev.Unanswered(parcel.number, heard_in(parcel.answer)), now_ns)
            return
        if flight is None or not awaited:
            self.mail.append(Answer(0, now_ns, 0, parcel.answer))
            return
        try:
            timings = decode_chunk(parse(pb.InferReply, parcel.answer))[1]
        except RemoteProtocolError as error:
            self._feed(ev.Unanswered(parcel.number, unreadable(error)), now_ns)
            return
        flight.reply = parcel.answer
        took_ns = now_ns - flight.sent_ns
        self._feed(ev.Answered(parcel.number, took_ns, timings.total_ns, flight.sent_bytes), now_ns)

    def _feed(self, event: ev.Event, now_ns: int) -> None:
        """Gives the machine an event, and carries out what it wants."""
        self._wire.wake_ns = _NEVER
        for effect in self.machine.on(event, now_ns):
            self._carry_out(effect, now_ns)

    def _carry_out(self, effect: ev.Effect, now_ns: int) -> None:
        match effect:
            case ev.Connect():
                self._connect(effect.channel, now_ns)
            case ev.Look():
                self._feed(ev.Diagnosed(effect.channel, None), now_ns)
            case ev.Describe():
                self._note(now_ns, Wire.GREET, effect.channel)
                self._describe(effect.channel, now_ns)
            case ev.Open():
                self._open(effect, now_ns)
            case ev.Send():
                self._infer(effect, now_ns)
            case ev.Cancel():
                self._wire.flight = None
            case ev.Deliver():
                self._deliver(now_ns)
            case ev.Report():
                self.mail.append(effect.message)
            case ev.Refuse():
                self.refusal = effect.error
            case ev.WakeAt():
                self._wire.wake_ns = min(self._wire.wake_ns, effect.at_ns)

    def _connect(self, channel: int, now_ns: int) -> None:
        self._wire.flight = None
        self._note(now_ns, Wire.DIAL, channel)
        if self.lookup_fails is not None:
            self._note(now_ns, Wire.RESET, channel)
            self._feed(ev.TurnedAway(channel, self.lookup_fails), now_ns)
        else:
            self._send(Knock(channel), now_ns)

    def _describe(self, channel: int, now_ns: int) -> None:
        self._send(Call(channel, 0, pb.DescribeRequest().SerializeToString(), Method.DESCRIBE), now_ns)

    def _open(self, effect: ev.Open, now_ns: int) -> None:
        setup = self._setup
        self._note(now_ns, Wire.OPEN, effect.channel)
        handshake = Handshake(
            setup.robot_id,
            setup.robot,
            guidance=setup.guidance,
            previous_session_id=effect.previous_session_id,
        )
        data = encode_handshake(handshake).SerializeToString()
        self._send(Call(effect.channel, 0, data, Method.OPEN), now_ns)

    def _infer(self, effect: ev.Send, now_ns: int) -> None:
        ask = self._wire.ask
        if ask is None:
            return
        message = pb.InferRequest.FromString(ask.body)
        message.session_id, message.spec_hash = effect.session_id, effect.spec_hash
        data = message.SerializeToString()
        self._wire.flight = _Flight(effect.number, now_ns, len(data))
        of_request = {"session": effect.session_id, "deadline_ns": ask.deadline_ns, "epoch": message.epoch}
        self._note(now_ns, Wire.REQUEST, effect.channel, number=effect.number, **of_request)
        self._send(Call(effect.channel, effect.number, data, Method.INFER), now_ns)

    def _deliver(self, now_ns: int) -> None:
        flight, self._wire.flight = self._wire.flight, None
        if flight is not None:
            answer = Answer(now_ns - flight.sent_ns, now_ns, flight.sent_bytes, flight.reply)
            self.mail.append(answer)

    def _send(self, parcel: Parcel, now_ns: int) -> None:
        self.link.send(Direction.UP, parcel, now_ns)


_NEVER = 1 << 62


@dataclass(slots=True)
class _Wire:
    """What is under way, and when the machine wants to be woken."""

    ask: Ask | None = None
    flight: _Flight | None = None
    wake_ns: int = 0


def heard_in(refusal: Refusal) -> Heard:
    """Returns what a client hears when the server refuses with `refusal`, as gRPC would carry it."""
    text = "; ".join(refusal.differences) or refusal.reason.value
    return Heard(STATUS[refusal.reason].value, text, refusal.reason.value, refusal.differences)


def _reset() -> Heard:
    return Heard(Status.NO_CONNECTION, "no connection")


def _opened(reply: Reply) -> ev.Event:
    """Returns what an answer to a call of the handshake says."""
    if isinstance(reply.answer, Refusal):
        return ev.Unopened(reply.channel, heard_in(reply.answer))
    try:
        if reply.method is Method.DESCRIBE:
            description = decode_description(parse(pb.DescribeReply, reply.answer))
            return ev.Described(reply.channel, description.policies)
        welcome = decode_welcome(parse(pb.OpenReply, reply.answer))
        return ev.Welcomed(reply.channel, welcome.session_id, welcome.policy)
    except SegueError as error:
        return ev.Unfit(reply.channel, error)
