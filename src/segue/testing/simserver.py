"""The policy server under virtual time: the real session table and batcher, a real policy, made-up durations.

It computes chunks for real and takes as long over them as it is told. What it
leaves out is gRPC and threads, nothing else: requests arrive as the bytes that
would travel, are decoded and checked by the server's own code, wait in the
server's own batcher, and leave as bytes. It can be killed, stopped and
continued, and told to misbehave (`Mischief`) in ways that no check of its own
would let pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from segue.core.specs import PolicySpec, RobotSpec
from segue.core.types import ActionChunk, ChunkRequest
from segue.errors import RemoteProtocolError
from segue.policies.base import Policy, PolicyInput, PolicyOutput
from segue.server.batcher import Batcher, Job
from segue.server.inference import serve
from segue.server.refused import Refused
from segue.server.replies import chunk_of, declared
from segue.server.requests import policy_input
from segue.server.session import SessionLimits, Sessions
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_request, encode_chunk, set_timings
from segue.wire.handshake import decode_handshake, encode_description, encode_welcome
from segue.wire.parse import parse
from segue.wire.records import RequestContext, ServerDescription, ServerTimings
from segue.wire.refusal import Reason, Refusal
from segue.wire.version import SUPPORTED_VERSIONS

NS_PER_MS = 1_000_000

Answer = bytes | Refusal


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """How long the policy takes.

    Attributes:
        inference_ms: one batch on the policy thread; requests queue behind it.
        latency_ms: least time from arrival to answer, as `--inference_latency` makes it.
        declares: the server says so at the handshake, as a real one does; one that does not is slower
            than it says.
        stretch: multiplies `inference_ms` by what it returns for each batch, for slow spells.
    """

    inference_ms: float = 20.0
    latency_ms: float = 0.0
    declares: bool = True
    stretch: Callable[[int], float] | None = None

    def inference_ns(self, now_ns: int) -> int:
        """Returns how long a batch that begins at `now_ns` takes."""
        factor = 1.0 if self.stretch is None else self.stretch(now_ns)
        return int(self.inference_ms * factor * NS_PER_MS)


class Method(StrEnum):
    """The calls of the service."""

    DESCRIBE = "describe"
    OPEN = "open"
    INFER = "infer"


@dataclass(frozen=True, slots=True)
class Call:
    """A message on its way to the server.

    Attributes:
        channel: the connection that carries it, of one client.
        number: of the request; 0 for the other methods.
        data: as it would travel.
    """

    channel: int
    number: int
    data: bytes
    method: Method = Method.INFER


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on its way to the client, on the channel of its call."""

    channel: int
    number: int
    answer: Answer
    method: Method = Method.INFER


@dataclass(slots=True)
class Mischief:
    """What a server does wrong from now on.

    Attributes:
        refuse_opens, refuse_requests: says no to every handshake, or to every request.
        tampers: each spoils one chunk after the server's own checks, the first one the next chunk.
        garble: so many coming chunks are damaged bytes.
        cold: every reply says that the time it took means nothing.
        late_by_one: every chunk leaves when the next one does.
        takes_everybody: opens a session for any robot, whether it fits or not.
    """

    refuse_opens: Reason | None = None
    refuse_requests: Reason | None = None
    tampers: list[Callable[[ActionChunk], ActionChunk]] = field(default_factory=list)
    garble: int = 0
    cold: bool = False
    late_by_one: bool = False
    takes_everybody: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that waits or runs, and whose it is."""

    client: int
    call: Call
    asked: PolicyInput
    request: ChunkRequest
    context: RequestContext
    arrived_ns: int


@dataclass(frozen=True, slots=True)
class _Departure:
    at_ns: int
    client: int
    reply: Reply


@dataclass(slots=True)
class _Process:
    """All that a killed process forgets: sessions, what waits, runs, or was about to leave."""

    sessions: Sessions
    batcher: Batcher[_Asked]
    done_ns: int | None = None
    departures: list[_Departure] = field(default_factory=list)
    stopped: bool = False
    backlog: list[tuple[int, Call]] = field(default_factory=list)
    held: _Departure | None = None


class SimServer:
    """One server with one policy."""

    def __init__(
        self, policy: Policy, time: ServiceTime, limits: SessionLimits | None = None, max_batch: int = 8
    ) -> None:
        """Starts up and serving; `policy` must be warm."""
        self.policy = policy
        self.time = time
        self.inferences = 0
        self.mischief = Mischief()
        self._limits = limits or SessionLimits()
        self._max_batch = max_batch
        self._ids = itertools.count(1)
        self.restart()

    def __repr__(self) -> str:
        process = self._process
        return f"<SimServer {process.sessions!r} {process.batcher!r} inferences={self.inferences}>"

    def restart(self) -> None:
        """Begins as a fresh process that knows nobody."""
        sessions = Sessions(self._limits, new_id=lambda: f"session-{next(self._ids)}")
        self._process = _Process(sessions, Batcher(self._max_batch))

    def stop(self) -> None:
        """Freezes, as SIGSTOP does: what arrives waits, nothing leaves."""
        self._process.stopped = True

    def resume(self, now_ns: int) -> None:
        """Goes on, as after SIGCONT: all that came meanwhile is looked at now, in order."""
        self._process.stopped = False
        backlog, self._process.backlog = self._process.backlog, []
        for client, call in backlog:
            self.arrive(client, call, now_ns)

    def arrive(self, client: int, call: Call, now_ns: int) -> None:
        """Takes a message of `client` off the network."""
        if self._process.stopped:
            self._process.backlog.append((client, call))
            return
        try:
            match call.method:
                case Method.DESCRIBE:
                    self._describe(client, call, now_ns)
                case Method.OPEN:
                    self._open(client, call, now_ns)
                case Method.INFER:
                    self._enqueue(client, call, now_ns)
        except Refused as refused:
            self._leave(now_ns, client, call, refused.refusal)
        except RemoteProtocolError as error:
            self._leave(now_ns, client, call, Refusal(Reason.BAD_FIELD, (str(error),)))

    def next_event_ns(self) -> int | None:
        """Returns when something happens here next; None when nothing is under way."""
        process = self._process
        if process.stopped:
            return None
        times = [d.at_ns for d in process.departures]
        if process.done_ns is not None:
            times.append(process.done_ns)
        return min(times, default=None)

    def advance(self, now_ns: int) -> list[tuple[int, Reply]]:
        """Works until `now_ns` and returns the answers that leave, each with its client."""
        process = self._process
        if process.stopped:
            return []
        if process.done_ns is not None and process.done_ns <= now_ns:
            process.done_ns = None
            process.batcher.finish(now_ns)
            self._begin(now_ns)
        leaving = [d for d in process.departures if d.at_ns <= now_ns]
        if leaving:
            process.departures = [d for d in process.departures if d.at_ns > now_ns]
        return [(d.client, d.reply) for d in sorted(leaving, key=lambda d: d.at_ns)]

    def _describe(self, client: int, call: Call, now_ns: int) -> None:
        description = ServerDescription("simulated", SUPPORTED_VERSIONS, (self.declared,), True)
        self._leave(now_ns, client, call, encode_description(description).SerializeToString())

    @property
    def declared(self) -> PolicySpec:
        """The policy's spec as clients are told it."""
        latency_ms = self.time.latency_ms if self.time.declares else 0.0
        return declared(self.policy.spec, int(latency_ms * NS_PER_MS))

    def _open(self, client: int, call: Call, now_ns: int) -> None:
        if self.mischief.refuse_opens is not None:
            raise Refused(self.mischief.refuse_opens, "told to refuse")
        handshake = decode_handshake(parse(pb.OpenRequest, call.data))
        if self.mischief.takes_everybody:
            spec = self.declared
            handshake = replace(handshake, robot=RobotSpec("any", spec.observation, spec.action))
        welcome = self._process.sessions.open(handshake, self.declared, now_ns)
        self._leave(now_ns, client, call, encode_welcome(welcome).SerializeToString())

    def _enqueue(self, client: int, call: Call, now_ns: int) -> None:
        if self.mischief.refuse_requests is not None:
            raise Refused(self.mischief.refuse_requests, "told to refuse")
        process = self._process
        context, request = decode_request(parse(pb.InferRequest, call.data))
        session = process.sessions.admit(context, request, now_ns)
        asked = _Asked(client, call, policy_input(request, context, session.policy), request, context, now_ns)
        slack_ns = process.sessions.clamp_slack(request.slack_ns)
        replaced = process.batcher.submit(
            Job(session.session_id, self.policy.spec.name, now_ns, now_ns + slack_ns, asked)
        )
        if replaced is not None:
            older = replaced.payload
            self._leave(now_ns, older.client, older.call, Refusal(Reason.SUPERSEDED))
        self._begin(now_ns)

    def _begin(self, now_ns: int) -> None:
        """Starts the next batch, if the policy is free: computes it now, lets it take its time."""
        process = self._process
        batch = process.batcher.next_batch()
        if not batch:
            return
        self.inferences += 1
        process.done_ns = done_ns = now_ns + self.time.inference_ns(now_ns)
        served = serve(self.policy, [job.payload.asked for job in batch])
        for job, result in zip(batch, served.results, strict=True):
            asked = job.payload
            leaves_ns = max(done_ns, asked.arrived_ns + int(self.time.latency_ms * NS_PER_MS))
            answer = result.refusal if isinstance(result, Refused) else self._packed(asked, result, leaves_ns)
            self._leave_late(leaves_ns, asked.client, asked.call, answer)

    def _packed(self, asked: _Asked, result: PolicyOutput, done_ns: int) -> bytes:
        """Returns the chunk as it travels, with whatever mischief is due."""
        mischief = self.mischief
        chunk = chunk_of(asked.request, asked.context, self.policy.spec, result, cold=mischief.cold)
        if mischief.tampers:
            chunk = mischief.tampers.pop(0)(chunk)
        message = encode_chunk(chunk)
        set_timings(message, ServerTimings(total_ns=done_ns - asked.arrived_ns))
        data = message.SerializeToString()
        if mischief.garble:
            mischief.garble -= 1
            data = data[: len(data) // 2]
        return data

    def _leave_late(self, at_ns: int, client: int, call: Call, answer: Answer) -> None:
        """Lets a chunk leave, or with that mischief the one before it."""
        process, departure = self._process, _departure(at_ns, client, call, answer)
        held, process.held = process.held, departure if self.mischief.late_by_one else None
        if held is not None:
            process.departures.append(replace(held, at_ns=at_ns))
        if process.held is None:
            process.departures.append(departure)

    def _leave(self, at_ns: int, client: int, call: Call, answer: Answer) -> None:
        self._process.departures.append(_departure(at_ns, client, call, answer))


def _departure(at_ns: int, client: int, call: Call, answer: Answer) -> _Departure:
    return _Departure(at_ns, client, Reply(call.channel, call.number, answer, call.method))
