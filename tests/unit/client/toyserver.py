"""A gRPC server that says exactly what a test tells it to say."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
import numpy as np

from segue import __version__
from segue.core.specs import ActionSpec, Dimension, ObservationSpec, PolicySpec, RobotSpec
from segue.core.types import ActionChunk
from segue.wire import policy_pb2 as pb
from segue.wire.channel import server_options
from segue.wire.codec import encode_chunk, set_timings
from segue.wire.handshake import encode_description, encode_welcome
from segue.wire.records import ServerDescription, ServerTimings, Welcome
from segue.wire.refusal import REFUSAL_KEY, Reason, Refusal, encode_refusal

WIDTH = 4  # of its chunks: nobody here looks
JOINTS = (Dimension("pan", "deg", low=-90.0, high=90.0, max_speed=180.0),)
ROBOT = RobotSpec("toy", ObservationSpec(JOINTS), ActionSpec(JOINTS))


def policy(history_steps: int = 0) -> PolicySpec:
    """Returns the spec of a policy for the toy robot."""
    return PolicySpec(
        name="toy",
        observation=ObservationSpec(JOINTS),
        action=ActionSpec(JOINTS),
        action_hz=30.0,
        horizon=50,
        model_action_dim=1,
        history_steps=history_steps,
        rtc_modes=("guided",),
        warm_inference_ns=20_000_000,
        policy_hash="cafe",
    )


@dataclass(frozen=True)
class No:
    """A refusal to be sent."""

    code: grpc.StatusCode
    reason: Reason = Reason.UNSPECIFIED
    differences: tuple[str, ...] = ()


class ToyServer:
    """Answers Open and Infer from lists of `No`; when a list is empty it says yes."""

    def __init__(self, port: int = 0) -> None:
        self.opens: list[No] = []
        self.infers: list[No] = []
        self.opened: list[pb.OpenRequest] = []
        self.inferred: list[pb.InferRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.stuck = threading.Event()
        self.padding = 0
        self.actions = np.zeros((1, WIDTH))  # of a chunk
        self.garbage = b""
        self.says = "no,\nsays the toy"
        self.spec_hash = ""  # what it claims instead of the true one
        self.served_ns = 0  # what it says that a request took here
        self.on_handshake: Callable[[], None] = lambda: None
        self.on_infer: Callable[[], None] = lambda: None
        # What it sends has no limit: a client has to look after itself.
        options = [*server_options(16), ("grpc.max_send_message_length", -1)]
        self._server = grpc.server(ThreadPoolExecutor(8), options=options)
        calls = {"Describe": self._describe, "Open": self._open, "Infer": self._infer}
        handlers = {name: grpc.unary_unary_rpc_method_handler(call) for name, call in calls.items()}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("segue.v1.PolicyService", handlers),)
        )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.stuck.clear()
        self._server.stop(0).wait()

    def _describe(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        self.metadata.append(dict(context.invocation_metadata()))
        self.on_handshake()
        return encode_description(ServerDescription(__version__, (1,), (policy(),), True)).SerializeToString()

    def _open(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        self.metadata.append(dict(context.invocation_metadata()))
        self.on_handshake()
        self.opened.append(pb.OpenRequest.FromString(data))
        if self.opens:
            refuse(context, self.opens.pop(0), self.says)
        spec = policy()
        welcome = Welcome(
            f"session-{len(self.opened)}", spec, self.spec_hash or spec.spec_hash(), {"device": "abacus"}
        )
        return encode_welcome(welcome).SerializeToString()

    def _infer(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        message = pb.InferRequest.FromString(data)
        self.metadata.append(dict(context.invocation_metadata()))
        self.inferred.append(message)
        self.on_infer()
        while self.stuck.is_set() and context.is_active():
            self.stuck.wait(0)
            threading.Event().wait(0.01)
        if self.infers:
            refuse(context, self.infers.pop(0), self.says)
        if self.garbage:
            return self.garbage
        actions = self.actions
        if self.padding:
            actions = np.zeros((1 + self.padding // (8 * WIDTH), WIDTH))
        captured_ns = message.observation.captured_ns
        chunk = ActionChunk(
            message.number, message.epoch, message.start_step, captured_ns, actions, None, 0, "cafe"
        )
        reply = encode_chunk(chunk)
        set_timings(reply, ServerTimings(total_ns=self.served_ns))
        return reply.SerializeToString()


def refuse(context: grpc.ServicerContext, no: No, text: str) -> None:
    refusal = Refusal(no.reason, no.differences)
    context.set_trailing_metadata(((REFUSAL_KEY, encode_refusal(refusal)),))
    context.abort(no.code, text)
