"""Read, tick, write: one turn after the other, on absolute deadlines.

The loop owns the robot and the executor and nothing else. What comes from the
link it finds in its mailbox; what it wants it puts there; neither ever waits.
If the other side of the mailbox dies it goes on by itself: play out, hold,
park, end. Everything that is *decided* is decided by the executor; this file
carries things in and out, and knows no process, signal or network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from segue.client.commandlog import CommandLog
from segue.client.diary import Diary, event_line
from segue.client.driver import Driver
from segue.client.ending import Ending, StopSwitch
from segue.client.episodes import Episodes, Order, Wish
from segue.client.mailbox import Mailbox
from segue.client.messages import (
    WAITING,
    Mark,
    Message,
    Status,
    Task,
)
from segue.client.naps import Naps
from segue.client.pacing import Pacer, Turn
from segue.client.plan import ControlPlan
from segue.client.pulse import Pulse
from segue.client.stats import RunStats
from segue.clock import NS_PER_MS, NS_PER_S, Clock
from segue.core.executor import ChunkExecutor
from segue.core.facts import ChunkTaken, ExitReason, RequestMissed, Tick
from segue.core.outlook import OutlookChanged
from segue.core.watchdog import Cause, SafetyLevel
from segue.errors import LocalProtocolError
from segue.robots.base import Robot

log = logging.getLogger(__name__)

T = TypeVar("T")

# A pause between ticks is used for collecting garbage only if it is this long.
_PAUSE_NS = 3 * NS_PER_MS
_BETWEEN_EVERY_NS = NS_PER_S
# The link has a message or two for a tick; a flood of them must not hold one up.
_MAIL_A_TICK = 16
_NONSENSE = "the link process wrote what is no message for the control loop"


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
    """What was heard last.

    Attributes:
        delay_steps: a round trip.
        miss: why a request failed.
    """

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
        self.driver = Driver(robot, parts.link, parts.clock, plan.executor_config(robot))
        self.stats = RunStats(robot.spec.action.names, plan.execution.control_hz)
        self._diary = Diary(parts.records, plan.context.robot_id, "control")
        self._latest = _Latest()
        self._episodes = Episodes(plan.execution.episodes, plan.context.task)
        log = parts.records if plan.log_commands else None
        self._commands = CommandLog(log, plan.log_header(robot.spec.action), robot.spec)
        self._alone = False
        self._naps = Naps(parts.clock, self.executor, self._episodes, self._diary)

    def __repr__(self) -> str:
        return f"<ControlLoop {self.executor!r}>"

    @property
    def executor(self) -> ChunkExecutor:
        """What decides every tick."""
        return self.driver.executor

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
            self.driver.latch(error)
            return default
        return found

    def _turn(self, turn: Turn) -> ExitReason | None:
        """Makes one turn; returns why the run is over when it is."""
        now_ns, stop = turn.due_ns, self._parts.stop
        self._naps.begin(now_ns)
        if stop.asked >= 2:
            return ExitReason.SIGNALLED  # the arm holds what it was last told
        self._slept()
        clock, began_ns = self._parts.clock, self._parts.clock.now_ns()
        observation = self.driver.look(now_ns)
        if self._slept():
            return None  # what was seen may be of before it: the next turn looks anew
        spent_ns = clock.now_ns() - began_ns
        self._read_mail(now_ns)
        self._obey(now_ns)
        tick = self.driver.decide(now_ns, observation, replace(self._plan.context, task=self._episodes.task))
        began_ns = clock.now_ns()
        applied = self.driver.move(tick.action, now_ns)
        self._parts.pulse.beat(clock.now_ns())
        self.stats.add_robot(spent_ns + clock.now_ns() - began_ns)
        self._commands.add(self.executor, tick, now_ns, applied, observation)
        self._note(tick, now_ns)
        if self._alone and tick.level is SafetyLevel.PARK:
            self.executor.stop(ExitReason.LINK_LOST)  # nobody is left who could dial
        return tick.exit

    def _slept(self) -> bool:
        """Returns whether the computer slept just now; then the arm is held, and its driver told."""
        slept = self._naps.noticed()
        if slept:
            self._beyond("slept", None)
            if self._alone:
                self._naps.left_alone()
        return slept

    def _read_mail(self, now_ns: int) -> None:
        link = self._parts.link
        try:
            self._take(self.driver.take_mail(now_ns, _MAIL_A_TICK), now_ns)
            if link.closed and not self._alone:  # its last words are all that a dead neighbour can still say
                self._take(self.driver.take_mail(now_ns), now_ns)
        except LocalProtocolError as error:
            link.distrust(str(error))
        except Exception as error:  # whatever it was about, the arm must come to rest
            log.error("a message could not be taken", exc_info=error)
            link.distrust(f"{type(error).__name__}: {error}")
        if link.closed and not self._alone:
            self._alone = True
            self._diary.write("link_process_gone", now_ns, {"detail": link.damage})
            if link.damage:
                self._diary.say(f"{_NONSENSE}: {link.damage}; the arm goes on alone, and comes to rest")
            self.executor.link_process_gone(now_ns)
            self._naps.left_alone()

    def _take(self, messages: Sequence[Message], now_ns: int) -> None:
        for message in messages:
            self._take_one(message, now_ns)

    def _take_one(self, message: Message, now_ns: int) -> None:
        match message:
            case Mark():
                self._carry_out(self._episodes.wish(Wish(message.wish), now_ns), now_ns)
            case Task():
                self._change_task(message.text, now_ns)
            case _:
                raise LocalProtocolError(f"the link sent {message!r}")

    def _obey(self, now_ns: int) -> None:
        duration = self._plan.execution.duration_ns
        time_is_up = duration is not None and self._naps.lasted_ns(now_ns) >= duration
        self._naps.heed(self._parts.stop.asked, now_ns)
        if self._parts.stop.asked:
            self.executor.stop(ExitReason.SIGNALLED)
        elif time_is_up or self._beyond("exhausted", False):
            self.executor.stop(ExitReason.DONE)
        if self.executor.troubles.stop is not None:
            self._episodes.close(now_ns)
        if not self._naps.waits:
            self._carry_out(self._episodes.due(now_ns, self.executor.rested), now_ns)

    def _carry_out(self, order: Order | None, now_ns: int) -> None:
        match order:
            case Order.REST:
                self.executor.pause()
            case Order.GO:
                self.executor.go()
            case Order.GO_ON:
                self._naps.go(now_ns)
            case Order.END:
                self.executor.stop(ExitReason.DONE)

    def _change_task(self, text: str, now_ns: int) -> None:
        if text == self._episodes.task:
            return
        self._episodes.task = text
        self.executor.reset()  # nothing that was planned for the old task is executed any more
        self._diary.write("task", now_ns, {"task": text})
        self._diary.say(f"the task from now on: {text}")

    def _note(self, tick: Tick, now_ns: int) -> None:
        self.stats.add(tick, now_ns)
        self._episodes.count(tick, now_ns)
        self._tell_news(now_ns)
        for event in tick.events:
            name, fields = event_line(event)
            if isinstance(event, ChunkTaken):
                fields |= self._count_exchange(event)
                self._latest.delay_steps = event.delay_steps or self._latest.delay_steps
            elif isinstance(event, RequestMissed):
                self._latest.miss = event.cause
            elif isinstance(event, OutlookChanged):
                self._diary.say(self._plan.prospects.words(event.after, event.delay_steps))
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
            t_s=round(self._naps.passed_ns(now_ns) / NS_PER_S, 3),
            level=WAITING if waiting else tick.level.name,
            queue_steps=len(self.executor.queue),
            delay_steps=self._latest.delay_steps,
            chunks=self.stats.counts.chunks,
            why=self.executor.watchdog.cause.value,
            detail=self._detail(self.executor.watchdog.cause),
        )

    def _detail(self, cause: Cause) -> str:
        """Returns what is behind the present level's cause, in words; empty when there is no more to say."""
        pace = self.executor.pace
        if cause in (Cause.REQUEST_FAILED, Cause.LINK_LOST):
            return pace.hopeless() or self._latest.miss
        if cause in (Cause.TOO_OLD, Cause.GRACE_OVER):
            return pace.too_old() if cause is Cause.TOO_OLD else pace.hopeless()
        troubles = self.executor.troubles
        if cause is Cause.SLEPT:
            return "g goes on" if self._naps.waits else ""
        if cause is Cause.CAMERA:
            return troubles.camera or ""
        return troubles.latched[1] if troubles.latched and cause is troubles.latched[0] else ""

    def _count_exchange(self, taken: ChunkTaken) -> dict[str, object]:
        """Counts the exchange behind a merged chunk, and returns its part of the chunk's line."""
        number, exchange = self.driver.exchange or (0, None)
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
        damage = self._parts.link.damage if reason is ExitReason.LINK_LOST else ""
        detail = f"{_NONSENSE}: {damage}" if damage else executor.words()
        return Ending(reason, self._parts.stop.signal, detail, summary)
