"""The robot's end of the link under virtual time: what `client.link` and `client.dialer` do, without sockets.

It dials on a fresh channel, opens a session, sends what the control loop asks
and puts what comes of it into the control loop's mail, as the messages that
the two real processes exchange. Time-outs, back-off and what each failure does
to the channel are those of the real link. One thing is harsher: an answer to a
request that was given up still reaches the control loop, since it is the core
that has to refuse it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segue.client.link import FAILURES_AT_ONCE
from segue.client.messages import Answer, Closed, Failed, Message, Opened, Stop
from segue.client.plan import LinkPlan
from segue.core.facts import ExitReason
from segue.core.link import LinkEvent, LinkState, follow
from segue.core.specs import PolicySpec, RobotSpec
from segue.core.types import ChunkRequest, Guidance
from segue.core.watchdog import MISSES_UNTIL_LOST
from segue.testing.simlink import Direction, LinkModel, SimLink
from segue.testing.simserver import Call, Reply
from segue.wire import policy_pb2 as pb
from segue.wire.codec import encode_request
from segue.wire.handshake import decode_welcome, encode_handshake
from segue.wire.records import Handshake, RequestContext, Welcome
from segue.wire.refusal import Reason, Refusal

_PLAN = LinkPlan("")  # for what it says when nobody says otherwise

_STALE = (Reason.UNKNOWN_SESSION, Reason.SPEC_CHANGED)
_COME_BACK = (Reason.FULL, Reason.NOT_READY, Reason.DRAINING)
_GONE = (Reason.NOT_READY, Reason.DRAINING)


@dataclass(frozen=True, slots=True)
class Knock:
    """Asks for a connection; the host answers it, even for a process that is stopped."""

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
        robot_id, task, guidance: go into every request.
        link: the network between this robot and the server.
        seed: of network, backoff and policy noise.
    """

    robot: RobotSpec
    robot_id: str
    task: str
    guidance: Guidance
    link: LinkModel
    seed: int


@dataclass(slots=True)
class _Dial:
    """The present attempt, or the next: its channel, since when it waits, when it is due."""

    channel: int = 0
    since_ns: int = 0
    due_ns: int = 0
    failures: int = 0


@dataclass(slots=True)
class _Trouble:
    """What went wrong lately: deadlines, refusals and unknown sessions in a row, and a report held back."""

    missed: int = 0
    failed: int = 0
    stale: int = 0
    held: Failed | None = None
    held_until_ns: int = 0


@dataclass(slots=True)
class _Flight:
    """A call under way."""

    number: int
    sent_ns: int
    deadline_ns: int
    sent_bytes: int


class LinkEnd:
    """What the link process does: dial, open, send, hand over."""

    def __init__(self, setup: EndSetup) -> None:
        self.link: SimLink[Parcel] = SimLink(setup.link, setup.seed)
        self.state = LinkState.DOWN
        self.mail: list[Message] = []
        self._setup = setup
        self._rng = np.random.default_rng(setup.seed + 1)
        self._dial = _Dial()
        self._trouble = _Trouble()
        self._flight: _Flight | None = None
        self._welcome: Welcome | None = None

    def __repr__(self) -> str:
        return f"<LinkEnd {self.state.value} channel={self._dial.channel}>"

    @property
    def policy(self) -> PolicySpec | None:
        """The policy of the session that was opened last; None before the first."""
        return self._welcome.policy if self._welcome else None

    def ask(self, request: ChunkRequest, now_ns: int) -> None:
        """Sends a request, if there is a session to send it in."""
        self._trouble.held = None
        welcome, setup = self._welcome, self._setup
        if welcome is None or self.state is not LinkState.READY:
            self.mail.append(Failed(request.number, "no session is open"))
            return
        context = RequestContext(
            robot_id=setup.robot_id,
            session_id=welcome.session_id,
            spec_hash=welcome.spec_hash,
            task=setup.task,
            guidance=setup.guidance,
            chunk_length=0,
            seed=setup.seed + request.number,
        )
        data = encode_request(request, context).SerializeToString()
        self._flight = _Flight(request.number, now_ns, request.deadline_ns, len(data))
        self._send(Call(self._dial.channel, request.number, data), now_ns)

    def work(self, now_ns: int) -> None:
        """Keeps the dates: dials, and gives up what is not answered in time; called at every tick."""
        dial, trouble, flight = self._dial, self._trouble, self._flight
        waited_ns = now_ns - dial.since_ns
        if self.state is LinkState.DIALING and waited_ns >= _PLAN.connect_timeout_ns:
            self._fail(now_ns, "no connection")
        if self.state is LinkState.OPENING and waited_ns >= _PLAN.handshake_timeout_ns:
            self._fail(now_ns, "handshake timed out")
        # At its deadline the control loop gives a request up itself; the call ends just after it.
        if flight is not None and now_ns > flight.deadline_ns:
            self._flight = None
            self.mail.append(Failed(flight.number, "deadline"))
            trouble.missed += 1
            if trouble.missed >= MISSES_UNTIL_LOST:
                self._lose(now_ns, f"{trouble.missed} requests in a row without an answer")
        if self.state is LinkState.DOWN and now_ns >= dial.due_ns:
            self.state = follow(self.state, LinkEvent.DIAL)
            dial.channel, dial.since_ns = dial.channel + 1, now_ns
            self._send(Knock(dial.channel), now_ns)
        if trouble.held is not None and now_ns >= trouble.held_until_ns:
            self.mail.append(trouble.held)
            trouble.held = None

    def receive(self, parcel: Parcel, now_ns: int) -> None:
        """Takes one parcel off the network; those of a channel that was thrown away are lost."""
        if parcel.channel != self._dial.channel:
            return
        match parcel:
            case Accepted():
                if self.state is LinkState.DIALING:
                    self.state = follow(self.state, LinkEvent.CONNECTED)
                    self._open(now_ns)
            case Reset():
                self._broken(now_ns)
            case Reply(number=0):
                if self.state is LinkState.OPENING:
                    self._opened(parcel, now_ns)
            case Reply():
                self._answered(parcel, now_ns)

    def _open(self, now_ns: int) -> None:
        self._dial.since_ns = now_ns
        setup, previous = self._setup, self._welcome.session_id if self._welcome else ""
        handshake = Handshake(
            setup.robot_id, setup.robot, guidance=setup.guidance, previous_session_id=previous
        )
        self._send(Call(self._dial.channel, 0, encode_handshake(handshake).SerializeToString()), now_ns)

    def _opened(self, reply: Reply, now_ns: int) -> None:
        if isinstance(reply.answer, Refusal):
            if reply.answer.reason in _COME_BACK:
                self._fail(now_ns, reply.answer.reason.value)
            else:
                self.state = follow(self.state, LinkEvent.REFUSED)
                self.mail.append(Stop(ExitReason.REFUSED.value))
            return
        self.state = follow(self.state, LinkEvent.OPENED)
        self._welcome = welcome = decode_welcome(pb.OpenReply.FromString(reply.answer))
        self._dial.failures = 0
        policy = welcome.policy
        round_trip_ns = now_ns - self._dial.since_ns
        self.mail.append(Opened(round_trip_ns, policy.warm_inference_ns, policy.policy_hash))

    def _answered(self, reply: Reply, now_ns: int) -> None:
        flight = self._flight
        awaited = flight is not None and flight.number == reply.number
        if isinstance(reply.answer, Refusal):
            if awaited:
                self._flight = None
                self._refused(reply.number, reply.answer.reason, now_ns)
            return
        if flight is not None and awaited:
            self._flight = None
            self._trouble = _Trouble()
        sent_ns, sent_bytes = (flight.sent_ns, flight.sent_bytes) if flight else (now_ns, 0)
        self.mail.append(Answer(now_ns - sent_ns, now_ns, sent_bytes, reply.answer))

    def _refused(self, number: int, reason: Reason, now_ns: int) -> None:
        """Does for the channel what the reason asks for, and reports."""
        trouble, failed = self._trouble, Failed(number, reason.value)
        if reason in _GONE:
            self._lose(now_ns, reason.value)
        elif reason in _STALE:
            trouble.stale += 1
            if trouble.stale > 1:
                self._lose(now_ns, reason.value, self._wait_ns(trouble.stale - 1))
                return
            self.mail.append(Closed(reason.value))
            self.state = follow(self.state, LinkEvent.STALE)
            self._open(now_ns)
        else:
            trouble.failed += 1
            surplus = trouble.failed - FAILURES_AT_ONCE
            if surplus <= 0:
                self.mail.append(failed)
                return
            trouble.held, trouble.held_until_ns = failed, now_ns + self._wait_ns(surplus)

    def _broken(self, now_ns: int) -> None:
        if self.state is LinkState.READY:
            self._lose(now_ns, "connection reset")
        elif self.state in (LinkState.DIALING, LinkState.OPENING):
            self._fail(now_ns, "connection reset")

    def _lose(self, now_ns: int, cause: str, wait_ns: int = 0) -> None:
        """Throws the channel away; the next dial is due after `wait_ns`."""
        self._trouble = _Trouble(stale=self._trouble.stale)
        self._flight = None
        self.state = follow(self.state, LinkEvent.FAILED)
        self._dial.failures, self._dial.due_ns = 0, now_ns + wait_ns
        self.mail.append(Closed(cause))

    def _fail(self, now_ns: int, cause: str) -> None:
        """Notes that a dial failed: the next one waits; only the first says something new."""
        self.state = follow(self.state, LinkEvent.FAILED)
        self._dial.failures += 1
        self._dial.due_ns = now_ns + self._wait_ns(self._dial.failures)
        if self._dial.failures == 1:
            self.mail.append(Failed(0, cause))

    def _wait_ns(self, failures: int) -> int:
        return _PLAN.backoff.wait_ns(failures, float(self._rng.random()))

    def _send(self, parcel: Parcel, now_ns: int) -> None:
        self.link.send(Direction.UP, parcel, now_ns)
