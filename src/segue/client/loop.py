"""Read, tick, write: one turn after the other, on absolute deadlines.

The loop owns the robot and the executor and nothing else. What comes from the
link it finds in its mailbox; what it wants it puts there; neither ever waits.
If the other side of the mailbox dies it goes on by itself: play out, hold,
park, end. Everything that is *decided* is decided by the executor; this file
carries things in and out, and knows no process, signal or network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from segue.client.commandlog import CommandLog
from segue.client.diary import Diary, event_line
from segue.client.ending import Ending, StopSwitch
from segue.client.episodes import Episodes, Order, Wish
from segue.client.mailbox import Mailbox
from segue.client.messages import (
    WAITING,
    Answer,
    Ask,
    CameraFailed,
    CameraWorks,
    Closed,
    Failed,
    Mark,
    Message,
    Opened,
    Status,
    Stop,
    Task,
)
from segue.client.pacing import Pacer, Turn
from segue.client.plan import ControlPlan
from segue.client.pulse import Pulse
from segue.client.stats import Exchange, RunStats
from segue.clock import NS_PER_MS, NS_PER_S, Clock
from segue.core.executor import ChunkExecutor
from segue.core.facts import ChunkTaken, ExitReason, RequestMissed, SessionOpened, Tick
from segue.core.specs import Kind, RobotSpec
from segue.core.types import ChunkRequest, FloatArray, Observation
from segue.core.watchdog import Cause, SafetyLevel
from segue.errors import ConfigError, LocalProtocolError, RemoteProtocolError, RobotFault, SafetyLatch
from segue.robots.base import Robot, RobotState
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_chunk, encode_request

log = logging.getLogger(__name__)

T = TypeVar("T")

# A pause between ticks is used for collecting garbage only if it is this long.
_PAUSE_NS = 3 * NS_PER_MS
_BETWEEN_EVERY_NS = NS_PER_S


def _nothing() -> None:
    """Does nothing in the pauses."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a control loop works with.

    Attributes:
        robot: connected, and owned by this loop.
        link: the mailbox shared with the link.
        records: the mailbox shared with the recorder.
        stop: says when somebody asks for the end.
        pulse: shows that this loop ticks.
        between: called about once a second, in a pause between two ticks.
    """

    clock: Clock
    robot: Robot
    link: Mailbox
    records: Mailbox
    stop: StopSwitch = field(default_factory=StopSwitch)
    pulse: Pulse = field(default_factory=Pulse)
    between: Callable[[], None] = _nothing


@dataclass(slots=True)
class _Latest:
    """What was seen and heard last.

    Attributes:
        seen: what the robot said of itself.
        exchange: an answer's durations, by its number.
        delay_steps: a round trip.
        miss: why a request failed.
    """

    seen: RobotState
    exchange: tuple[int, Exchange] | None = None
    delay_steps: int | None = None
    miss: str = ""


class ControlLoop:
    """Drives one robot from its first tick to its end."""

    def __init__(self, parts: Parts, plan: ControlPlan) -> None:
        """Reads the robot once, to continue from where it is.

        Raises:
            RobotFault: the robot does not answer.
        """
        robot = parts.robot
        self._parts = parts
        self._plan = plan
        seen = checked(robot.spec, robot.read(parts.clock.now_ns()))
        self.executor = ChunkExecutor(plan.executor_config(robot), pose(robot.spec, seen))
        self.stats = RunStats(robot.spec.action.names, plan.execution.control_hz)
        self._diary = Diary(parts.records, plan.context.robot_id, "control")
        self._latest = _Latest(seen)
        self._episodes = Episodes(plan.execution.episodes, plan.context.task)
        log = parts.records if plan.log_commands else None
        self._commands = CommandLog(log, plan.log_header(robot.spec.action))
        self._alone = False
        self._started_ns: int | None = None

    def __repr__(self) -> str:
        return f"<ControlLoop {self.executor!r}>"

    def note_scheduling(self, refusal: str | None) -> None:
        """Writes down whether the ticks are real-time; `refusal` says why not."""
        fields = {"realtime": refusal is None, "detail": refusal or ""}
        self._diary.write("scheduling", self._parts.clock.now_ns(), fields)
        if refusal is not None:
            self._diary.say(f"{refusal}; ticks may come some milliseconds late")

    def run(self) -> Ending:
        """Ticks until the end and says how it came."""
        pacer = Pacer(self._parts.clock, self._plan.execution.control_hz)
        paused_ns = 0
        while True:
            turn = pacer.next_turn()
            self.stats.add_lateness(turn.lateness_ns, turn.dropped)
            if turn.dropped:
                fields = {"dropped": turn.dropped, "lateness_ms": round(turn.lateness_ns / NS_PER_MS, 3)}
                self._diary.write("late", turn.due_ns, fields)
            reason = self._turn(turn)
            if reason is not None:
                return self._ending(reason)
            if turn.due_ns - paused_ns >= _BETWEEN_EVERY_NS and pacer.spare_ns() >= _PAUSE_NS:
                paused_ns = turn.due_ns
                self._parts.between()
                self._say_notes()

    def _say_notes(self) -> None:
        nothing: tuple[str, ...] = ()
        for note in self._beyond("notes", nothing):
            self._diary.say(note)

    def _beyond(self, name: str, default: T) -> T:
        """Returns what the robot has beyond its protocol; a driver that raises there is held, too."""
        try:
            part = getattr(self._parts.robot, name, default)
            found: T = part() if callable(part) else part
        except Exception as error:
            self._latch(error)
            return default
        return found

    def _turn(self, turn: Turn) -> ExitReason | None:
        """Makes one turn; returns why the run is over when it is."""
        now_ns, stop = turn.due_ns, self._parts.stop
        if self._started_ns is None:
            self._started_ns = now_ns
        if stop.asked >= 2:
            return ExitReason.SIGNALLED  # the arm holds what it was last told
        clock, began_ns = self._parts.clock, self._parts.clock.now_ns()
        observation = self._look(now_ns)
        spent_ns = clock.now_ns() - began_ns
        self._read_mail(now_ns)
        self._obey(now_ns)
        tick = self.executor.tick(now_ns, observation)
        if tick.request is not None:
            self._ask(tick.request)
        began_ns = clock.now_ns()
        self._move(tick.action, now_ns)
        self._parts.pulse.beat(clock.now_ns())
        self.stats.add_robot(spent_ns + clock.now_ns() - began_ns)
        self._note(tick, now_ns)
        if self._alone and tick.level is SafetyLevel.PARK:
            self.executor.stop(ExitReason.LINK_LOST)  # nobody is left who could dial
        return tick.exit

    def _look(self, now_ns: int) -> Observation:
        captured_ns = self._parts.clock.now_ns()
        try:
            self._latest.seen = checked(self._parts.robot.spec, self._parts.robot.read(now_ns))
        except Exception as error:
            self._latch(error)
        seen = self._latest.seen
        stamp_ns = captured_ns if seen.captured_ns is None else min(seen.captured_ns, captured_ns)
        return Observation(self.executor.step, stamp_ns, seen.state, seen.environment)

    def _latch(self, error: Exception) -> None:
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

    def _read_mail(self, now_ns: int) -> None:
        for message in self._parts.link.drain():
            self._take(message, now_ns)
        if self._parts.link.closed and not self._alone:
            self._alone = True
            self._diary.write("link_process_gone", now_ns, {})
            self.executor.link_process_gone(now_ns)

    def _take(self, message: Message, now_ns: int) -> None:
        executor = self.executor
        match message:
            case Answer():
                self._receive(message, now_ns)
            case Opened():
                shake = SessionOpened(message.round_trip_ns, message.warm_inference_ns, message.policy_hash)
                executor.link_opened(shake)
            case Closed():
                executor.link_closed(now_ns, message.cause)
            case Failed():
                executor.request_failed(now_ns, message.number, message.cause)
            case CameraFailed():
                executor.camera_failed(now_ns, message.what)
            case CameraWorks():
                executor.camera_works(now_ns)
            case Stop():
                executor.stop(ExitReason(message.reason))
            case Mark():
                self._carry_out(self._episodes.wish(Wish(message.wish), now_ns))
            case Task():
                self._change_task(message.text, now_ns)
            case _:
                raise LocalProtocolError(f"the link sent {message!r}")

    def _receive(self, answer: Answer, now_ns: int) -> None:
        try:
            chunk, timings = decode_chunk(pb.InferReply.FromString(answer.body))
        except (RemoteProtocolError, DecodeError) as error:
            self.executor.request_failed(now_ns, 0, f"unreadable reply: {error}")
            return
        exchange = Exchange(
            inference_ns=timings.inference_ns,
            network_ns=answer.call_ns - timings.total_ns,
            overhead_ns=answer.arrived_ns - chunk.captured_ns - timings.inference_ns,
            observation_bytes=answer.observation_bytes,
        )
        self._latest.exchange = (chunk.request_number, exchange)
        self.executor.receive(chunk)

    def _obey(self, now_ns: int) -> None:
        duration = self._plan.execution.duration_ns
        time_is_up = duration is not None and now_ns - (self._started_ns or now_ns) >= duration
        if self._parts.stop.asked:
            self.executor.stop(ExitReason.SIGNALLED)
        elif time_is_up or self._beyond("exhausted", False):
            self.executor.stop(ExitReason.DONE)
        if self.executor.troubles.stop is not None:
            self._episodes.close(now_ns)
        self._carry_out(self._episodes.due(now_ns, self.executor.rested))

    def _carry_out(self, order: Order | None) -> None:
        match order:
            case Order.REST:
                self.executor.pause()
            case Order.GO:
                self.executor.go()
            case Order.END:
                self.executor.stop(ExitReason.DONE)

    def _change_task(self, text: str, now_ns: int) -> None:
        if text == self._episodes.task:
            return
        self._episodes.task = text
        self.executor.reset()  # nothing that was planned for the old task is executed any more
        self._diary.write("task", now_ns, {"task": text})
        self._diary.say(f"the task from now on: {text}")

    def _ask(self, request: ChunkRequest) -> None:
        context = self._plan.context
        # Another seed for each request: with one and the same noise a bad sample would stay bad.
        context = replace(context, seed=context.seed + request.number, task=self._episodes.task)
        body = encode_request(request, context).SerializeToString()
        self._parts.link.put(Ask(request.number, request.deadline_ns, body))

    def _move(self, action: FloatArray, now_ns: int) -> None:
        try:
            self.executor.applied(self._parts.robot.write(action, now_ns))
        except Exception as error:
            self._latch(error)

    def _note(self, tick: Tick, now_ns: int) -> None:
        self.stats.add(tick, now_ns)
        self._commands.add(self.executor, tick, now_ns)
        self._episodes.count(tick, now_ns)
        self._tell_news(now_ns)
        for event in tick.events:
            name, fields = event_line(event)
            if isinstance(event, ChunkTaken):
                fields |= self._count_exchange(event)
                self._latest.delay_steps = event.delay_steps or self._latest.delay_steps
            elif isinstance(event, RequestMissed):
                self._latest.miss = event.cause
            self._diary.write(name, now_ns, fields)
        if tick.began is not None or not self.executor.motion.under_way:
            self._diary.show(self._status(tick, now_ns))

    def _tell_news(self, now_ns: int) -> None:
        for news in self._episodes.news():
            self._diary.write(news.event, now_ns, news.fields)
            self._diary.say(news.sentence)

    def _status(self, tick: Tick, now_ns: int) -> Status:
        waiting = tick.waiting and tick.level <= SafetyLevel.DEGRADED
        return Status(
            t_s=round((now_ns - (self._started_ns or now_ns)) / NS_PER_S, 3),
            level=WAITING if waiting else tick.level.name,
            queue_steps=len(self.executor.queue),
            delay_steps=self._latest.delay_steps,
            chunks=self.stats.counts.chunks,
            why=self.executor.watchdog.cause.value,
            detail=self._detail(self.executor.watchdog.cause),
        )

    def _detail(self, cause: Cause) -> str:
        """Returns what is behind the present level's cause, in words; empty when there is no more to say."""
        if cause in (Cause.REQUEST_FAILED, Cause.LINK_LOST):
            return self._latest.miss
        troubles = self.executor.troubles
        if cause is Cause.CAMERA:
            return troubles.camera or ""
        return troubles.latched[1] if troubles.latched and cause is troubles.latched[0] else ""

    def _count_exchange(self, taken: ChunkTaken) -> dict[str, object]:
        """Counts the exchange behind a merged chunk, and returns its part of the chunk's line."""
        number, exchange = self._latest.exchange or (0, None)
        if exchange is None or number != taken.chunk.request_number:
            return {}
        if taken.delay_steps is not None:
            self.stats.add_exchange(exchange)
        return {
            "inference_ms": round(exchange.inference_ns / NS_PER_MS, 3),
            "network_ms": round(exchange.network_ns / NS_PER_MS, 3),
            "overhead_ms": round(exchange.overhead_ns / NS_PER_MS, 3),
            "observation_bytes": exchange.observation_bytes,
        }

    def _ending(self, reason: ExitReason) -> Ending:
        now_ns = self._parts.clock.now_ns()
        self._episodes.close(now_ns)
        self._tell_news(now_ns)
        self._commands.flush()
        self._say_notes()
        executor = self.executor
        summary = self.stats.summary(reason.value, self._beyond("summary", None))
        summary["limited_ticks"] = executor.motion.limited_ticks
        summary["episodes"] = self._episodes.summary()
        summary["records_dropped"] = self._diary.dropped
        summary["parked"] = executor.rested
        return Ending(reason, self._parts.stop.signal, executor.troubles.words(), summary)


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
