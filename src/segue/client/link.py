"""The link: takes requests out of the mailbox, adds pictures, asks the server, puts the answers back.

One thread that sleeps until something happens: mail from the control loop, a
call that is done, or a date (the next dial, the next look at the cameras). At
most one call is under way; a newer request gives the older one up. Every
outcome of a call is reported to the control loop, which alone decides what it
means for the robot; what it means for the channel is decided here.
"""

from __future__ import annotations

import random
import select
from collections.abc import Callable
from dataclasses import dataclass, field

from segue.client.channel import Call, CallFailed, Session, refused, reply_of
from segue.client.dialer import Dialer, DialFailed
from segue.client.diary import Diary
from segue.client.mailbox import Bell, Mailbox
from segue.client.messages import (
    Answer,
    Ask,
    CameraFailed,
    CameraWorks,
    Closed,
    Failed,
    Message,
    Opened,
    Stop,
)
from segue.client.pictures import Pictures
from segue.clock import NS_PER_MS, NS_PER_S, Clock
from segue.core.facts import DEADLINE, ExitReason
from segue.core.link import Backoff, LinkEvent, LinkState
from segue.core.slowlink import SlowLink, SlowLinkRule
from segue.core.watchdog import MISSES_UNTIL_LOST
from segue.errors import RemoteProtocolError, RobotFault, SegueError
from segue.wire import policy_pb2 as pb
from segue.wire.codec import add_images, decode_chunk
from segue.wire.parse import parse

# A camera fault is to be acted on within 300 ms of being noticed.
CAMERA_LOOK_NS = 100 * NS_PER_MS
# A server that refuses at once would be asked again at once, a hundred times a second.
FAILURES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class LinkParts:
    """What a link works with.

    Attributes:
        mailbox: shared with the control loop.
        backoff: between requests that fail at once.
        slow_link: when pictures are made smaller.
    """

    mailbox: Mailbox
    dialer: Dialer
    pictures: Pictures
    diary: Diary
    clock: Clock
    backoff: Backoff = field(default_factory=Backoff)
    slow_link: SlowLinkRule = field(default_factory=SlowLinkRule)


@dataclass(slots=True)
class _Flight:
    """A call under way."""

    call: Call
    ask: Ask
    sent_ns: int
    sent_bytes: int
    done_ns: int = 0


@dataclass(slots=True)
class _Trouble:
    """What went wrong lately.

    Attributes:
        missed, failed: deadlines and requests in a row.
        lost: channels and sessions lost since the last answer that could be read.
        held: a report held back.
    """

    missed: int = 0
    failed: int = 0
    lost: int = 0
    held: Failed | None = None
    held_until_ns: int = 0


class Link:
    """The link of one robot, on one thread."""

    def __init__(self, parts: LinkParts) -> None:
        self.refusal: SegueError | None = None
        self._parts = parts
        self._bell = Bell()
        self._flight: _Flight | None = None
        self._trouble = _Trouble()
        self._slow_link = SlowLink(parts.slow_link)
        self._camera_fault: str | None = None
        self._look_ns = 0
        self._epoch = (1, 0)  # the newest, and the stamp of its first observation
        self._stopping = False
        parts.dialer.on_broken = self._bell.ring

    def __repr__(self) -> str:
        return f"<Link {self._parts.dialer.state.value} in_flight={self._flight is not None}>"

    def run(self, session: Session) -> None:
        """Works until `stop`, or until the control loop is gone.

        Args:
            session: already open; announced to the control loop first of all.
        """
        try:
            self._note_cameras(self._parts.pictures.fault())
            self._announce(session)
            while not self._stopping and not self._parts.mailbox.closed:
                self._wait()
                self._take_mail()
                self._finish()
                self._keep_dates()
        finally:
            # First of all: whatever fails here, the loop is to know that it is alone.
            self._parts.mailbox.close()
            self._give_up()
            self._parts.dialer.close()
            self._parts.pictures.close()
            self._bell.close()

    def stop(self) -> None:
        """Ends `run` soon; may be called from any thread."""
        self._stopping = True
        self._bell.ring()

    # --- what happens -------------------------------------------------------------------------

    def _wait(self) -> None:
        now_ns = self._parts.clock.now_ns()
        dates = [self._look_ns]
        if self._trouble.held is not None:
            dates.append(self._trouble.held_until_ns)
        if self._parts.dialer.state is LinkState.DOWN:
            dates.append(self._parts.dialer.due_ns)
        timeout_s = max(0, min(dates) - now_ns) / NS_PER_S
        watched: tuple[Mailbox | Bell, ...] = (self._parts.mailbox, self._bell)
        select.select(watched, [], [], timeout_s)
        self._bell.silence()

    def _take_mail(self) -> None:
        newest: Ask | None = None
        for message in self._parts.mailbox.drain():
            newest = message if isinstance(message, Ask) else newest
        if newest is not None:
            self._give_up()
            self._send(newest)

    def _send(self, ask: Ask) -> None:
        parts, channel, session = self._parts, self._parts.dialer.channel, self._parts.dialer.session
        self._trouble.held = None
        if parts.dialer.state is not LinkState.READY or channel is None or session is None:
            self._report(Failed(ask.number, "no session is open"))
            return
        try:
            body = self._completed(ask, session)
        except RobotFault as error:
            self._note_cameras(str(error))
            self._report(Failed(ask.number, str(error)))
            return
        self._note_damaged()
        now_ns = parts.clock.now_ns()
        call = channel.infer(body, max(1, ask.deadline_ns - now_ns))
        flight = self._flight = _Flight(call, ask, now_ns, len(body))
        call.add_done_callback(lambda _: self._done(flight))

    def _completed(self, ask: Ask, session: Session) -> bytes:
        """Returns the request with its session and its pictures."""
        message = pb.InferRequest.FromString(ask.body)
        message.session_id = session.welcome.session_id
        message.spec_hash = session.welcome.spec_hash
        pictures = self._parts.pictures
        earlier = pictures.earlier([each.captured_ns for each in message.history])
        if message.epoch > self._epoch[0]:
            self._epoch = (message.epoch, message.observation.captured_ns)
        add_images(message, pictures.newest(since_ns=self._epoch[1]), earlier)
        return message.SerializeToString()

    def _done(self, flight: _Flight) -> None:
        """Wakes the link; runs on a thread of gRPC's."""
        flight.done_ns = self._parts.clock.now_ns()
        self._bell.ring()

    def _finish(self) -> None:
        flight = self._flight
        if flight is None or not flight.done_ns:
            return
        self._flight = None
        try:
            reply = reply_of(flight.call)
        except CallFailed as failure:
            self._failed(flight.ask, failure)
            return
        try:
            _, timings = decode_chunk(parse(pb.InferReply, reply))
        except RemoteProtocolError as error:
            self._reject(Failed(flight.ask.number, f"unreadable reply: {error}"))
            return
        self._trouble = _Trouble()
        self._weigh(flight, timings.total_ns)
        answer = Answer(
            call_ns=flight.done_ns - flight.sent_ns,
            arrived_ns=self._parts.clock.now_ns(),
            observation_bytes=flight.sent_bytes,
            body=reply,
        )
        if not self._report(answer):
            why = self._parts.mailbox.why_dropped
            self._report(Failed(flight.ask.number, f"a reply of {len(reply)} bytes: {why}"))

    def _failed(self, ask: Ask, failure: CallFailed) -> None:
        """Reports a failed call, and does for the channel what its status asks for."""
        failed = Failed(ask.number, DEADLINE if failure.deadline_missed else str(failure))
        match failure.event:
            case LinkEvent.FAILED:
                self._lose(str(failure))
            case LinkEvent.STALE:
                self._reopen(str(failure))
            case LinkEvent.REFUSED:
                self._report(failed)
                self._refuse(refused(failure) or SegueError(str(failure)))
            case _ if failure.deadline_missed:
                self._report(failed)
                self._miss()
            case _:
                self._reject(failed)

    def _reopen(self, cause: str) -> None:
        """Opens a session in place of one that the server does not know; if it forgets that too, dials."""
        if self._trouble.lost:
            self._lose(cause)
            return
        self._trouble.lost = 1
        # Not as a failure of the request: the loop would ask again while this thread opens.
        self._report(Closed(cause))
        self._open(self._parts.dialer.reopen)

    def _weigh(self, flight: _Flight, served_ns: int) -> None:
        """Looks how long the request took on the way alone, and makes pictures smaller if too long."""
        session = self._parts.dialer.session
        if session is None:
            return
        upload_ns = flight.done_ns - flight.sent_ns - served_ns - session.round_trip_ns
        if self._slow_link.uploaded(upload_ns):
            self._make_smaller(f"{flight.sent_bytes / 1000:.0f} kB took {upload_ns / NS_PER_S:.1f} s")

    def _make_smaller(self, why: str) -> None:
        pictures, quality = self._parts.pictures, self._parts.slow_link.quality
        before = pictures.quality
        if pictures.lower(quality):
            fields = {"quality_from": before, "quality_to": quality, "detail": why}
            self._parts.diary.write("image_quality", self._parts.clock.now_ns(), fields)
            self._parts.diary.say(
                f"the link is slow ({why}): pictures go at quality {quality} instead of {before} from now on"
            )

    def _miss(self) -> None:
        """Counts a deadline that passed; the second in a row speaks against the channel."""
        if self._slow_link.missed():
            self._make_smaller("a request did not arrive in time")
        self._trouble.missed += 1
        if self._trouble.missed >= MISSES_UNTIL_LOST:
            self._lose(f"{self._trouble.missed} requests in a row without an answer")

    def _reject(self, failed: Failed) -> None:
        """Reports that the server said no, later and later if it does so again and again."""
        self._trouble.failed += 1
        surplus = self._trouble.failed - FAILURES_AT_ONCE
        if surplus <= 0:
            self._report(failed)
            return
        self._trouble.held = failed
        wait_ns = self._parts.backoff.wait_ns(surplus, random.random())
        self._trouble.held_until_ns = self._parts.clock.now_ns() + wait_ns

    # --- the channel --------------------------------------------------------------------------

    def _announce(self, session: Session) -> None:
        spec = session.welcome.policy
        self._report(Opened(session.round_trip_ns, spec.warm_inference_ns, spec.policy_hash))
        fields = {
            "state": self._parts.dialer.state.value,
            "policy": spec.name,
            "policy_hash": spec.policy_hash,
            "round_trip_ms": session.round_trip_ns / NS_PER_MS,
            "configuration": dict(session.welcome.configuration),
        }
        self._parts.diary.write("link", self._parts.clock.now_ns(), fields)

    def _lose(self, cause: str) -> None:
        """Throws the channel away; the next dial is due at once, or later if this happens again and again."""
        lost = self._trouble.lost + 1
        self._trouble = _Trouble(lost=lost)
        self._parts.dialer.lost()
        if lost > 1:
            self._parts.dialer.due_ns += self._parts.backoff.wait_ns(lost - 1, random.random())
        self._report(Closed(cause))
        self._note_link(cause)

    def _open(self, dial: Callable[[], Session]) -> None:
        dialer = self._parts.dialer
        try:
            self._announce(dial())
        except DialFailed as error:
            # The first failure loses the link (it is the second miss); more of them say nothing new.
            if dialer.failures == 1:
                self._report(Failed(0, str(error)))
                self._note_link(str(error))
        except SegueError as error:
            self._refuse(error)

    def _refuse(self, error: SegueError) -> None:
        """Asks for the end: the server will not have us, and asking again would not change that."""
        self.refusal = error
        self._report(Stop(ExitReason.REFUSED.value))
        self._note_link(str(error))

    def _give_up(self) -> None:
        """Cancels the call under way; if it was overdue, that is a miss."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        flight.call.cancel()
        if self._parts.clock.now_ns() >= flight.ask.deadline_ns:
            self._miss()

    # --- dates --------------------------------------------------------------------------------

    def _keep_dates(self) -> None:
        now_ns, dialer, trouble = self._parts.clock.now_ns(), self._parts.dialer, self._trouble
        channel = dialer.channel
        # A call under way brings its own end; a server that drains still answers it.
        if dialer.state is LinkState.READY and channel and channel.broken and self._flight is None:
            self._lose("connection lost")
        if dialer.state is LinkState.DOWN and now_ns >= dialer.due_ns:
            self._open(dialer.dial)
        if trouble.held is not None and now_ns >= trouble.held_until_ns:
            self._report(trouble.held)
            trouble.held = None
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + CAMERA_LOOK_NS
            self._note_cameras(self._parts.pictures.fault())

    def _note_cameras(self, fault: str | None) -> None:
        """Tells the control loop when the cameras fail, and when they work again."""
        if (fault is None) != (self._camera_fault is None):
            self._report(CameraFailed(fault) if fault is not None else CameraWorks())
            fields = {"works": fault is None, "detail": fault or ""}
            self._parts.diary.write("cameras", self._parts.clock.now_ns(), fields)
        self._camera_fault = fault

    def _note_damaged(self) -> None:
        """Says of which cameras the own JPEGs can no longer be sent as they are."""
        for camera in self._parts.pictures.newly_damaged():
            self._parts.diary.write("jpeg_damaged", self._parts.clock.now_ns(), {"camera": camera})
            self._parts.diary.say(
                f"camera {camera}: its own JPEGs are damaged; they are decoded and encoded anew from now on"
            )

    def _note_link(self, detail: str) -> None:
        fields = {"state": self._parts.dialer.state.value, "detail": detail}
        self._parts.diary.write("link", self._parts.clock.now_ns(), fields)

    def _report(self, message: Message) -> bool:
        return self._parts.mailbox.put(message)
