"""The link's thread: carries bytes between the control loop, the cameras and the server.

It sleeps until something happens: mail from the control loop, news of a call
or a connection, or a date. What happened goes to the core's `LinkMachine`,
which decides; what the machine wants is carried out here. So this file knows
mailboxes, records and dates, and no rule.
"""

from __future__ import annotations

import random
import select
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from segue.client.connect import Connector, News, Offer
from segue.client.courier import Courier
from segue.client.diary import Diary
from segue.client.mailbox import Bell, Mailbox
from segue.client.messages import Ask, Message
from segue.client.pictures import Pictures
from segue.client.plan import LinkPlan
from segue.clock import NS_PER_MS, NS_PER_S, Clock, SleepWatch
from segue.core.link import events as ev
from segue.core.link.dial import LinkSession
from segue.core.link.heard import Heard
from segue.core.link.machine import LinkMachine
from segue.core.link.reports import CameraFailed, CameraWorks, Failed
from segue.core.link.states import LinkState
from segue.core.specs import RobotSpec
from segue.errors import LocalProtocolError, RobotFault

# A camera fault is to be acted on within 300 ms of being noticed.
CAMERA_LOOK_NS = 100 * NS_PER_MS
_STOP_LOOK_NS = 100 * NS_PER_MS
# The control loop asks a few times a second; a flood of messages must not keep the link from its dates.
_MAIL_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class LinkParts:
    """What a link works with once a session is open; `mailbox` is shared with the control loop."""

    mailbox: Mailbox
    pictures: Pictures
    diary: Diary
    courier: Courier


class GaveUp(Exception):
    """No session was opened in all the time that there is; `heard` is why the last dial failed."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(str(heard))
        self.heard = heard


class Link:
    """The link of one robot: `open` first, then `run` on a thread of its own."""

    def __init__(
        self,
        plan: LinkPlan,
        robot: RobotSpec,
        offer: Offer,
        clock: Clock,
        limit_ns: int,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Connects to nothing yet.

        Args:
            plan: the server, and how long things may take.
            robot: as it is offered to the server, cameras included.
            offer: makes the handshake once the server's policies are known.
            clock: of this host.
            limit_ns: how long `open` tries.
            chance: returns a number, uniform in 0..1, for the jitter of waiting times.
        """
        self.refusal: Exception | None = None
        self._inbox = _Inbox()
        self.machine = LinkMachine(plan.rules(limit_ns), robot, chance)
        self.connector = Connector(plan, offer, self._inbox.tell)
        self._clock = clock
        self._sleep = SleepWatch(clock)
        self._stopping = False
        self._wake_ns: int | None = None
        self._early: list[ev.Effect] = []
        self._run: _Run | None = None

    def __repr__(self) -> str:
        return f"<Link {self.machine!r}>"

    def open(self, stopped: Callable[[], bool], waits: Callable[[Heard], None]) -> LinkSession | None:
        """Dials until a session is open, and returns it; None when `stopped`.

        Args:
            stopped: is asked ten times a second whether to give up.
            waits: is told why there is no session yet, each time that the reason is another.

        Raises:
            SegueError: refused, and asking again would not change it.
            GaveUp: the limit passed without a session.
        """
        self._feed(ev.Woken())
        while not stopped():
            self._early = [each for each in self._early if not _is_told(each, waits)]
            if self.refusal is not None:
                raise self.refusal
            if self.machine.session is not None:
                return self.machine.session
            self._wait([self._inbox], self._clock.now_ns() + _STOP_LOOK_NS)
            self._take_news()
        return None

    def run(self, mailbox: Mailbox, pictures: Pictures, diary: Diary) -> None:
        """Works until `stop`, or until the control loop is gone; a session must be open.

        Args:
            mailbox: shared with the control loop.
            pictures: of the robot's cameras.
            diary: for what happens.
        """
        courier = Courier(self.connector, pictures, self._clock, self._inbox.tell)
        run = self._run = _Run(LinkParts(mailbox, pictures, diary, courier), self.connector, self._clock)
        try:
            run.note_cameras(pictures.fault())
            for effect in self._early:
                self._carry_out(effect)
            while not self._stopping and not mailbox.closed:
                self._wait([mailbox, self._inbox], run.look_ns)
                ask = run.newest_ask()
                if ask is not None:
                    self._feed(ev.Asked(ask.number, ask.deadline_ns))
                self._take_news()
                run.look_at_cameras()
        finally:
            # First of all: whatever fails here, the loop is to know that it is alone.
            mailbox.close()
            courier.close()
            pictures.close()
            self.connector.close()
            self._inbox.close()

    def stop(self) -> None:
        """Ends `run` soon; may be called from any thread."""
        self._stopping = True
        self._inbox.ring()

    def close(self) -> None:
        """Closes the channel of a link that never ran; may be called twice."""
        self.connector.close()

    def _wait(self, watched: list[Mailbox | _Inbox], until_ns: int) -> None:
        date_ns = until_ns if self._wake_ns is None else min(until_ns, self._wake_ns)
        select.select(watched, [], [], max(0, date_ns - self._clock.now_ns()) / NS_PER_S)
        self._inbox.silence()

    def _take_news(self) -> None:
        for news in self._inbox.news():
            event = news()
            if event is not None:
                self._feed(event)
        slept_ns = self._sleep.slept_ns()
        if slept_ns:
            self._feed(ev.Slept(slept_ns))
        if self._wake_ns is not None and self._clock.now_ns() >= self._wake_ns:
            self._feed(ev.Woken())

    def _feed(self, event: ev.Event) -> None:
        """Gives the machine an event, and carries out what it wants."""
        self._wake_ns = None
        for effect in self.machine.on(event, self._clock.now_ns()):
            self._carry_out(effect)

    def _carry_out(self, effect: ev.Effect) -> None:
        match effect:
            case ev.WakeAt():
                self._wake_ns = effect.at_ns
            case ev.Refuse():
                self.refusal = effect.error
            case ev.GiveUp():
                self.refusal = GaveUp(effect.heard)
            case ev.Connect():
                self.connector.connect(effect)
            case ev.Look():
                self.connector.look(effect)
            case ev.Describe():
                self.connector.describe(effect)
            case ev.Open():
                self.connector.open(effect)
            case ev.Hangup():
                self.connector.close()
            case _ if self._run is None:
                self._early.append(effect)
            case ev.Send():
                self._send(self._run, effect)
            case _:
                self._run.carry_out(effect, self.machine)

    def _send(self, run: _Run, effect: ev.Send) -> None:
        try:
            run.send(effect)
        except RobotFault as error:
            run.note_cameras(str(error))
            unsendable = ev.Unsendable(effect.number, str(error))
            self._inbox.tell(lambda: unsendable)


class _Inbox:
    """News from any thread, and the bell that wakes the one that waits for it."""

    def __init__(self) -> None:
        self._news: deque[News] = deque()
        self._bell = Bell()

    def fileno(self) -> int:
        return self._bell.fileno()

    def tell(self, news: News) -> None:
        """Takes news from any thread."""
        self._news.append(news)
        self._bell.ring()

    def ring(self) -> None:
        self._bell.ring()

    def silence(self) -> None:
        self._bell.silence()

    def news(self) -> Iterator[News]:
        """Yields what has come, oldest first, until there is no more."""
        while self._news:
            yield self._news.popleft()

    def close(self) -> None:
        self._bell.close()


class _Run:
    """What is told to the control loop, the cameras and the records, and heard from them."""

    def __init__(self, parts: LinkParts, connector: Connector, clock: Clock) -> None:
        self.look_ns = 0
        self._parts = parts
        self._connector = connector
        self._clock = clock
        self._ask: Ask | None = None
        self._camera_fault: str | None = None

    def newest_ask(self) -> Ask | None:
        """Returns the newest request in the mail; older ones count no more."""
        newest: Ask | None = None
        for message in self._parts.mailbox.drain(_MAIL_AT_ONCE):
            if not isinstance(message, Ask):
                self._parts.mailbox.distrust(f"{type(message).__name__} is not for the link")
                return None
            newest = message
        self._ask = newest or self._ask
        return newest

    def send(self, effect: ev.Send) -> None:
        """Sends the request that was asked last.

        Raises:
            RobotFault: a camera has no picture that is young enough.
        """
        ask = self._ask
        if ask is None or ask.number != effect.number:
            raise LocalProtocolError(f"request {effect.number} was never asked")
        self._parts.courier.send(ask, effect)
        self._note_damaged()

    def carry_out(self, effect: ev.Effect, machine: LinkMachine) -> None:
        match effect:
            case ev.Cancel():
                self._parts.courier.cancel(effect.number)
            case ev.Deliver():
                self._deliver(effect.number)
            case ev.Report():
                self._report(effect.message)
            case ev.Coarsen():
                self._coarsen(effect.why)
            case ev.Note():
                self._note(machine, effect.detail)

    def look_at_cameras(self) -> None:
        now_ns = self._clock.now_ns()
        if now_ns >= self.look_ns:
            self.look_ns = now_ns + CAMERA_LOOK_NS
            self.note_cameras(self._parts.pictures.fault())

    def note_cameras(self, fault: str | None) -> None:
        """Tells the control loop when the cameras fail, and when they work again."""
        if (fault is None) != (self._camera_fault is None):
            self._report(CameraFailed(fault) if fault is not None else CameraWorks())
            self._write("cameras", {"works": fault is None, "detail": fault or ""})
        self._camera_fault = fault

    def _deliver(self, number: int) -> None:
        mailbox, answer = self._parts.mailbox, self._parts.courier.answer(number)
        if not mailbox.put(answer):
            self._report(Failed(number, f"a reply of {len(answer.body)} bytes: {mailbox.why_dropped}"))

    def _coarsen(self, why: str) -> None:
        pictures, quality = self._parts.pictures, self._connector.plan.slow_link.quality
        before = pictures.quality
        if pictures.lower(quality):
            self._write("image_quality", {"quality_from": before, "quality_to": quality, "detail": why})
            self._parts.diary.say(
                f"the link is slow ({why}): pictures go at quality {quality} instead of {before} from now on"
            )

    def _note(self, machine: LinkMachine, detail: str) -> None:
        """Writes down in which state the link is now; of an open session, with whom."""
        session, welcome = machine.session, self._connector.welcome
        if machine.state is not LinkState.READY or session is None or welcome is None:
            self._write("link", {"state": machine.state.value, "detail": detail})
            return
        fields = {
            "state": machine.state.value,
            "policy": session.policy.name,
            "policy_hash": session.policy.policy_hash,
            "round_trip_ms": session.round_trip_ns / NS_PER_MS,
            "configuration": dict(welcome.configuration),
        }
        self._write("link", fields)

    def _note_damaged(self) -> None:
        """Says of which cameras the own JPEGs can no longer be sent as they are."""
        for camera in self._parts.pictures.newly_damaged():
            self._write("jpeg_damaged", {"camera": camera})
            self._parts.diary.say(
                f"camera {camera}: its own JPEGs are damaged; they are decoded and encoded anew from now on"
            )

    def _report(self, message: Message) -> None:
        self._parts.mailbox.put(message)

    def _write(self, event: str, fields: dict[str, object]) -> None:
        self._parts.diary.write(event, self._clock.now_ns(), fields)


def _is_told(effect: ev.Effect, waits: Callable[[Heard], None]) -> bool:
    """Tells why there is no session yet, if that is what `effect` is; returns whether it was."""
    if isinstance(effect, ev.Waits):
        waits(effect.heard)
    return isinstance(effect, ev.Waits)
