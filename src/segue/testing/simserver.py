"""The policy server under virtual time: the real session table and batcher, a real policy, made-up durations.

It computes chunks for real and takes as long over them as it is told. What it
leaves out is gRPC and threads, nothing else: requests arrive as the bytes that
would travel, are decoded and checked by the server's own code, wait in the
server's own batcher, and leave as bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from segue.core.types import ActionChunk
from segue.errors import RemoteProtocolError
from segue.policies.base import Policy, PolicyInput
from segue.server.batcher import Batcher, Job
from segue.server.inference import serve
from segue.server.refused import Refused
from segue.server.requests import policy_input
from segue.server.session import SessionLimits, Sessions
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_request, encode_chunk
from segue.wire.handshake import decode_handshake, encode_welcome
from segue.wire.refusal import Reason, Refusal

NS_PER_MS = 1_000_000

Answer = pb.OpenReply | pb.InferReply | Refusal


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """How long the policy takes.

    Attributes:
        inference_ms: one batch on the policy thread; requests queue behind it.
        latency_ms: least time from arrival to answer, as `--inference_latency` makes it.
        stretch: multiplies `inference_ms` by what it returns for each batch, for slow spells.
    """

    inference_ms: float = 20.0
    latency_ms: float = 0.0
    stretch: Callable[[int], float] | None = None

    def inference_ns(self, now_ns: int) -> int:
        """Returns how long a batch that begins at `now_ns` takes."""
        factor = 1.0 if self.stretch is None else self.stretch(now_ns)
        return int(self.inference_ms * factor * NS_PER_MS)


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that waits or runs, and whose it is."""

    client: int
    number: int
    asked: PolicyInput
    chunk_of: pb.InferRequest
    arrived_ns: int


@dataclass(frozen=True, slots=True)
class _Departure:
    at_ns: int
    client: int
    answer: Answer


class SimServer:
    """One server with one policy."""

    def __init__(
        self, policy: Policy, time: ServiceTime, limits: SessionLimits | None = None, max_batch: int = 8
    ) -> None:
        """Starts up and serving; `policy` must be warm."""
        self.policy = policy
        self.time = time
        self.inferences = 0
        self._limits = limits or SessionLimits()
        self._max_batch = max_batch
        self._ids = itertools.count(1)
        self._done_ns: int | None = None
        self._departures: list[_Departure] = []
        self.restart()

    def __repr__(self) -> str:
        return f"<SimServer {self._sessions!r} {self._batcher!r} inferences={self.inferences}>"

    def restart(self) -> None:
        """Forgets all that a killed process forgets: sessions, what waits, runs, or was about to leave."""
        self._sessions = Sessions(self._limits, new_id=lambda: f"session-{next(self._ids)}")
        self._batcher: Batcher[_Call] = Batcher(self._max_batch)
        self._done_ns = None
        self._departures = []

    def arrive(self, client: int, message: bytes, is_open: bool, now_ns: int) -> None:
        """Takes a message of `client` off the network."""
        try:
            if is_open:
                self._open(client, message, now_ns)
            else:
                self._enqueue(client, pb.InferRequest.FromString(message), now_ns)
        except Refused as refused:
            self._leave(now_ns, client, refused.refusal)
        except RemoteProtocolError as error:
            self._leave(now_ns, client, Refusal(Reason.BAD_FIELD, (str(error),)))

    def next_event_ns(self) -> int | None:
        """Returns when something happens here next; None when nothing is under way."""
        times = [d.at_ns for d in self._departures]
        if self._done_ns is not None:
            times.append(self._done_ns)
        return min(times, default=None)

    def advance(self, now_ns: int) -> list[tuple[int, Answer]]:
        """Works until `now_ns` and returns the answers that leave, each with its client."""
        if self._done_ns is not None and self._done_ns <= now_ns:
            done, self._done_ns = self._done_ns, None
            self._batcher.finish(done)
            self._begin(done)
        leaving = [d for d in self._departures if d.at_ns <= now_ns]
        self._departures = [d for d in self._departures if d.at_ns > now_ns]
        return [(d.client, d.answer) for d in sorted(leaving, key=lambda d: d.at_ns)]

    def _open(self, client: int, message: bytes, now_ns: int) -> None:
        handshake = decode_handshake(pb.OpenRequest.FromString(message))
        welcome = self._sessions.open(handshake, self.policy.spec, now_ns)
        self._leave(now_ns, client, encode_welcome(welcome))

    def _enqueue(self, client: int, message: pb.InferRequest, now_ns: int) -> None:
        context, request = decode_request(message)
        session = self._sessions.admit(context, request, now_ns)
        asked = policy_input(request, context, session.policy)
        call = _Call(client, request.number, asked, message, now_ns)
        slack_ns = self._sessions.clamp_slack(request.slack_ns)
        replaced = self._batcher.submit(
            Job(session.session_id, self.policy.spec.name, now_ns, now_ns + slack_ns, call)
        )
        if replaced is not None:
            self._leave(now_ns, replaced.payload.client, Refusal(Reason.SUPERSEDED))
        self._begin(now_ns)

    def _begin(self, now_ns: int) -> None:
        """Starts the next batch, if the policy is free: computes it now, lets it take its time."""
        batch = self._batcher.next_batch()
        if not batch:
            return
        self.inferences += 1
        took_ns = self.time.inference_ns(now_ns)
        self._done_ns = now_ns + took_ns
        served = serve(self.policy, [job.payload.asked for job in batch])
        for job, result in zip(batch, served.results, strict=True):
            call = job.payload
            leaves_ns = max(self._done_ns, call.arrived_ns + int(self.time.latency_ms * NS_PER_MS))
            if isinstance(result, Refused):
                self._leave(leaves_ns, call.client, result.refusal)
                continue
            chunk = ActionChunk(
                request_number=call.number,
                epoch=call.chunk_of.epoch,
                start_step=call.chunk_of.start_step,
                captured_ns=call.chunk_of.observation.captured_ns,
                robot_actions=result.robot_actions[: call.asked.chunk_length],
                model_actions=result.model_actions,
                conditioned_delay=result.conditioned_delay,
                policy_hash=self.policy.spec.policy_hash,
            )
            self._leave(leaves_ns, call.client, encode_chunk(chunk))

    def _leave(self, at_ns: int, client: int, answer: Answer) -> None:
        self._departures.append(_Departure(at_ns, client, answer))
