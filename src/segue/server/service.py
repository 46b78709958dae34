"""The gRPC skin: bytes in, bytes out, and every no as a status with its reason.

The path of one request: parse and decode, admit (`session`), decode the
pictures on this handler's own thread, wait for the policy (`worker`), wait out
a rehearsed latency, encode. Messages are parsed here and not by gRPC, so that
bytes which are no message are an INVALID_ARGUMENT of ours, and count as
decoding time. Nothing but a status, one sentence and a reason leaves on
failure.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import NoReturn

import grpc

from segue import __version__
from segue.clock import NS_PER_S, Clock
from segue.core.specs import PolicySpec
from segue.core.types import ActionChunk
from segue.errors import RemoteProtocolError
from segue.policies.base import PolicyInput
from segue.server.arrivals import Arrivals
from segue.server.pictures import with_pictures
from segue.server.refused import Refused
from segue.server.replies import chunk_of, declared
from segue.server.requests import policy_input
from segue.server.session import Session, Sessions, check_version
from segue.server.stopwatch import Stopwatch
from segue.server.store import PolicyStore
from segue.server.traffic import Phase, Traffic
from segue.server.worker import Outcome, PolicyWorker
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_request, encode_chunk, set_timings
from segue.wire.handshake import decode_handshake, encode_description, encode_welcome
from segue.wire.parse import parse
from segue.wire.records import ServerDescription, ServerTimings
from segue.wire.refusal import REFUSAL_KEY, Reason, encode_refusal
from segue.wire.version import SUPPORTED_VERSIONS

SERVICE_NAME = "segue.v1.PolicyService"

_log = logging.getLogger("segue.server")

# For callers that set no deadline: a thread must not wait for ever.
_LONGEST_WAIT_S = 60.0
# gRPC clients take 8 kB of metadata by default, and the status text is part of it.
_LONGEST_SENTENCE = 2_000

Call = Callable[[bytes, grpc.ServicerContext], bytes]


class PolicyService:
    """Answers Describe, Open and Infer."""

    def __init__(
        self,
        store: PolicyStore,
        sessions: Sessions,
        worker: PolicyWorker,
        traffic: Traffic,
        clock: Clock,
        *,
        latency_ns: int = 0,
    ) -> None:
        """Answers nothing before `handler` was given to a gRPC server.

        Args:
            store: which policies there are.
            sessions: touched under a lock of this object.
            worker: serves the requests.
            traffic: the server's phase.
            clock: of this host.
            latency_ns: every request takes at least this long from its arrival.
        """
        self._store = store
        self._sessions = sessions
        self._sessions_lock = threading.Lock()
        self._worker = worker
        self._traffic = traffic
        self._clock = clock
        self._latency_ns = latency_ns

    def handler(self, arrivals: Arrivals) -> grpc.GenericRpcHandler[bytes, bytes]:
        """Returns what a gRPC server needs to route calls here; `arrivals` waits for their messages."""
        calls = {"Describe": self._describe, "Open": self._open, "Infer": self._infer}
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {name: arrivals.handler(_guarded(call)) for name, call in calls.items()},
        )

    def _describe(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        parse(pb.DescribeRequest, data)
        description = ServerDescription(
            server_version=__version__,
            protocol_versions=SUPPORTED_VERSIONS,
            policies=tuple(self._declared(spec) for spec in self._store.specs()),
            ready=self._traffic.phase is Phase.SERVING,
        )
        return encode_description(description).SerializeToString()

    def _open(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        message = parse(pb.OpenRequest, data)
        # Before anything else: a later version may use words that this one cannot read.
        check_version(message.protocol_version)
        self._traffic.check_open()
        handshake = decode_handshake(message)
        spec = self._declared(self._resolve(handshake.policy))
        # Not before: a robot that knocks while the server, or its policy, is loading spends nothing.
        self._traffic.count_open(context.peer().rpartition(":")[0], self._clock.now_ns())
        with self._sessions_lock:
            welcome = self._sessions.open(handshake, spec, self._clock.now_ns())
        device = self._store.device(spec.name)
        if device:
            welcome = replace(welcome, configuration={**welcome.configuration, "device": device})
        _log.info("robot %a opened a session with %s", handshake.robot_id, spec.name)
        return encode_welcome(welcome).SerializeToString()

    def _resolve(self, name: str) -> PolicySpec:
        try:
            return self._store.resolve(name)
        except Refused as refused:
            if refused.refusal.reason is Reason.NOT_READY:
                self._worker.load_named()
            raise

    def _infer(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        watch = Stopwatch(self._clock)
        message = parse(pb.InferRequest, data)
        with self._traffic.call(message.session_id):
            asked, request = decode_request(message)
            watch.lap("decoding")
            with self._sessions_lock:
                session = self._sessions.admit(asked, request, watch.began_ns)
            watch.lap("preprocessing")
            request = with_pictures(request, message, session.robot, session.policy)
            watch.lap("decoding")
            given = policy_input(request, asked, session.policy)
            slack_ns = self._sessions.clamp_slack(request.slack_ns)
            watch.lap("preprocessing")
            outcome = self._ask(session, given, slack_ns, context)
            watch.lap("policy")
            self._wait_out_latency(watch, context)
            return _reply(
                chunk_of(request, asked, session.policy, outcome.output, outcome.cold), outcome, watch
            )

    def _ask(
        self, session: Session, given: PolicyInput, slack_ns: int, context: grpc.ServicerContext
    ) -> Outcome:
        """Hands a request to the policy and waits for what comes of it."""
        ticket = self._worker.submit(session.session_id, session.policy.name, given, slack_ns)
        over = _over(context)
        ticket.answer.add_done_callback(lambda _: over.set())
        in_time = over.wait(_time_left_s(context))
        if not ticket.answer.done():
            self._worker.cancel(ticket)
            if in_time:
                raise _gone()
            raise Refused(Reason.TOO_LATE, "the policy did not get to this request in time")
        try:
            return ticket.answer.result()
        except CancelledError:
            raise _gone() from None

    def _wait_out_latency(self, watch: Stopwatch, context: grpc.ServicerContext) -> None:
        if self._latency_ns:
            left_s = (watch.began_ns + self._latency_ns - self._clock.now_ns()) / NS_PER_S
            if _over(context).wait(max(0.0, min(left_s, _time_left_s(context)))):
                raise _gone()
            watch.lap("rehearsed")

    def _declared(self, spec: PolicySpec) -> PolicySpec:
        return declared(spec, self._latency_ns)


def _reply(chunk: ActionChunk, outcome: Outcome, watch: Stopwatch) -> bytes:
    message = encode_chunk(chunk)
    watch.lap("postprocessing")
    timings = ServerTimings(
        queue_ns=outcome.queue_ns,
        decoding_ns=watch.spent_ns("decoding"),
        preprocessing_ns=watch.spent_ns("preprocessing"),
        inference_ns=outcome.inference_ns + watch.spent_ns("rehearsed"),
        postprocessing_ns=watch.spent_ns("postprocessing"),
        total_ns=watch.total_ns(),
    )
    set_timings(message, timings)
    return message.SerializeToString()


def _time_left_s(context: grpc.ServicerContext) -> float:
    left_s = context.time_remaining()
    return _LONGEST_WAIT_S if left_s is None else min(max(left_s, 0.0), _LONGEST_WAIT_S)


def _over(context: grpc.ServicerContext) -> threading.Event:
    """Returns what is set once the call is over: its peer left, its deadline passed, the server ended it.

    A thread that waited for anything else would hold up the end of the process.
    """
    over = threading.Event()
    if not context.add_callback(over.set):
        over.set()
    return over


def _gone() -> Refused:
    return Refused(Reason.CANCELLED, "the caller went away, or the server is ending")


def _guarded(call: Call) -> Call:
    """Returns `call` with every exception turned into a status."""

    def guarded(data: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return call(data, context)
        except Refused as error:
            refused = error
        except RemoteProtocolError as error:
            refused = Refused(Reason.BAD_FIELD, str(error))
        except Exception:
            _log.exception("a call from %s failed", context.peer())
            refused = Refused(Reason.SERVER_FAILED, "the server failed on this call")
        _refuse(context, refused)

    return guarded


def _refuse(context: grpc.ServicerContext, refused: Refused) -> NoReturn:
    sentence = str(refused)
    _log.info("refused a call from %s: %s: %a", context.peer(), refused.status, sentence)
    context.set_trailing_metadata(((REFUSAL_KEY, encode_refusal(refused.refusal)),))
    if len(sentence) > _LONGEST_SENTENCE:
        sentence = sentence[:_LONGEST_SENTENCE] + " … (all of it is in the trailing metadata)"
    context.abort(grpc.StatusCode[refused.status], sentence)
