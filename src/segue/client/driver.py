"""One turn of a robot: look, take the mail, decide, ask, move; on a robot and in the simulation alike.

The driver owns robot and executor. What to do in a tick is the executor's to
say; here it is only carried in and out, and whatever the robot's driver raises
becomes a fact for the executor, so that the arm is held and not dropped. It
knows no process, no thread and no network: its mail comes from anything with
`put`, `drain` and `closed`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np

from segue.client.commands import ActionView
from segue.client.messages import Answer, Ask, Message
from segue.client.stats import Exchange
from segue.clock import Clock
from segue.core.executor import ChunkExecutor
from segue.core.facts import ExecutorConfig, Tick
from segue.core.link.heard import Heard, Status, ends_as
from segue.core.link.reports import CameraFailed, CameraWorks, Closed, Failed, Opened, Stop
from segue.core.specs import Kind, RobotSpec
from segue.core.turn import take_report
from segue.core.types import ChunkRequest, FloatArray, Observation
from segue.errors import ConfigError, RemoteProtocolError, RobotFault, SafetyLatch
from segue.robots.base import Robot, RobotState
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_chunk, encode_request
from segue.wire.parse import parse
from segue.wire.records import RequestContext

log = logging.getLogger(__name__)

_REPORTS = (Opened, Closed, Failed, CameraFailed, CameraWorks, Stop)


class Post(Protocol):
    """Where a robot's mail goes and comes from: a `Mailbox`, or a list under virtual time."""

    closed: bool

    def put(self, message: Message) -> bool:
        """Sends `message`; returns whether there was room for it."""
        ...

    def drain(self, most: int | None = None) -> Iterator[Message]:
        """Yields what has arrived, oldest first; `most` of it, or all."""
        ...


class Driver:
    """Robot and executor of one run."""

    def __init__(self, robot: Robot, post: Post, clock: Clock, config: ExecutorConfig) -> None:
        """Reads the robot once, to continue from where it is.

        Args:
            robot: connected, and owned by this object.
            post: shared with the link.
            clock: of this host.
            config: of the executor.

        Raises:
            RobotFault: the robot does not answer, or no number.
            ConfigError: its pose cannot be told.
        """
        self.robot = robot
        self.seen = checked(robot.spec, robot.read(clock.now_ns()))
        self.executor = ChunkExecutor(config, pose(robot.spec, self.seen))
        self.exchange: tuple[int, Exchange] | None = None
        self.view = ActionView(robot.spec)
        self._post = post
        self._clock = clock
        self._stamp_ns = clock.now_ns()

    def __repr__(self) -> str:
        return f"<Driver {self.executor!r}>"

    def look(self, now_ns: int) -> Observation:
        """Returns what the robot says of itself; where it fails, what it said last."""
        captured_ns = self._clock.now_ns()
        try:
            self.seen = checked(self.robot.spec, self.robot.read(now_ns))
        except Exception as error:
            self.latch(error)
            self.seen = replace(self.seen, captured_ns=self._stamp_ns)
        seen = self.seen
        stamp_ns = captured_ns if seen.captured_ns is None else min(seen.captured_ns, captured_ns)
        self._stamp_ns = stamp_ns
        return Observation(self.executor.step, stamp_ns, seen.state, seen.environment)

    def take_mail(self, now_ns: int, most: int | None = None) -> list[Message]:
        """Tells the executor what the link says, and returns the messages that are not about the plan.

        Args:
            now_ns: of this tick.
            most: messages that are taken now; None takes all.
        """
        others: list[Message] = []
        for message in self._post.drain(most):
            if isinstance(message, Answer):
                self._receive(message, now_ns)
            elif isinstance(message, _REPORTS):
                take_report(self.executor, message, now_ns)
            else:
                others.append(message)
        return others

    def decide(self, now_ns: int, observation: Observation, context: RequestContext) -> Tick:
        """Returns the executor's tick, and sends the request that it asks for."""
        tick = self.executor.tick(now_ns, observation)
        if tick.request is not None:
            self._ask(tick.request, context)
        return tick

    def move(self, action: FloatArray, now_ns: int) -> FloatArray | None:
        """Sends a command, shape (A,), and returns what the robot made of it; None where it failed."""
        try:
            applied = self.robot.write(action, now_ns)
            self.executor.applied(applied)
        except Exception as error:
            self.latch(error)
            return None
        return applied

    def latch(self, error: Exception) -> None:
        """Latches what a driver raised: whatever it is, the arm is to be held and not dropped."""
        match error:
            case SafetyLatch():
                self.executor.robot_in_danger(str(error))
            case RobotFault():
                self.executor.robot_failed(str(error))
            case _:
                if self.executor.troubles.latched is None:  # a traceback each tick would say no more
                    log.error("the robot's driver failed", exc_info=error)
                self.executor.robot_failed(f"{type(error).__name__}: {error}")

    def _ask(self, request: ChunkRequest, context: RequestContext) -> None:
        # Another seed for each request: with one and the same noise a bad sample would stay bad.
        context = replace(context, seed=context.seed + request.number)
        body = encode_request(request, context).SerializeToString()
        self._post.put(Ask(request.number, request.deadline_ns, body))

    def _receive(self, answer: Answer, now_ns: int) -> None:
        try:
            chunk, timings = decode_chunk(parse(pb.InferReply, answer.body))
        except RemoteProtocolError as error:
            heard = Heard(Status.UNREADABLE, f"unreadable reply: {error}")
            self.executor.request_failed(now_ns, 0, str(heard), ends_as(heard))
            return
        exchange = Exchange(
            inference_ns=timings.inference_ns,
            network_ns=answer.call_ns - timings.total_ns,
            overhead_ns=answer.arrived_ns - chunk.captured_ns - timings.inference_ns,
            observation_bytes=answer.observation_bytes,
        )
        self.exchange = (chunk.request_number, exchange)
        self.executor.receive(chunk)


def checked(spec: RobotSpec, seen: RobotState) -> RobotState:
    """Returns `seen`, which must be finite: a command that continues from NaN would be NaN for ever.

    Raises:
        RobotFault: it is not; the joint is named.
    """
    finite = np.isfinite(seen.state)
    if not finite.all():
        names = [d.name for d, well in zip(spec.observation.state, finite, strict=True) if not well]
        raise RobotFault(f"the robot reports no number for {', '.join(names)}")
    return seen


def pose(spec: RobotSpec, seen: RobotState) -> FloatArray:
    """Returns where the robot is as an action, shape (A,): what the first command continues from.

    Raises:
        ConfigError: a position dimension is not observed under its name and unit. Its first command
            would be a jump that no speed limit sees.
    """
    observed = {(d.name, d.unit): value for d, value in zip(spec.observation.state, seen.state, strict=True)}
    for dimension in spec.action.dimensions:
        if dimension.kind is Kind.POSITION and (dimension.name, dimension.unit) not in observed:
            listed = ", ".join(str(d) for d in spec.observation.state)
            raise ConfigError(f"robot: action {dimension} is not observed; the state has {listed}")
    # A velocity or an effort begins at rest; a discrete dimension jumps to its first value anyway.
    return np.array([float(observed.get((d.name, d.unit), 0.0)) for d in spec.action.dimensions])
