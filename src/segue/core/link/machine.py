"""The link's rules, all of them, as one machine without a socket: events in, effects out.

It dials and opens sessions (`dial`), lets requests through one at a time, and
knows what each failure means: ask again, open again, throw the channel away, or
end. The tables of `heard` and `states` say which. The thread that carries the
bytes on a robot and the simulation both drive this object, so a run under
virtual time meets the same back-off, the same patience and the same refusals as
a real one.

    for effect in machine.on(event, now_ns):
        carry_out(effect)

Chance enters as an argument (`chance`, for jitter), time as another. An event
of a channel or request that was given up says nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segue.core.facts import DEADLINE
from segue.core.link import events as ev
from segue.core.link.dial import NS_PER_S, Dialer, LinkRules, LinkSession
from segue.core.link.heard import AfterCall, Heard, Status, after_call, ends_as, refusal_of
from segue.core.link.reports import Closed, Failed, LinkReport
from segue.core.link.slowlink import SlowLink
from segue.core.link.states import LinkState
from segue.core.specs import RobotSpec
from segue.core.watchdog import MISSES_UNTIL_LOST

# A server that refuses at once would be asked again at once, a hundred times a second.
FAILURES_AT_ONCE = 2
_NO_SESSION = "no session is open"


@dataclass(slots=True)
class _Trouble:
    """What went wrong lately.

    Attributes:
        missed, failed: deadlines and requests in a row.
        lost: channels and sessions lost since the last answer that could be read.
        held: a report held back until `held_until_ns`.
    """

    missed: int = 0
    failed: int = 0
    lost: int = 0
    held: Failed | None = None
    held_until_ns: int = 0


class LinkMachine:
    """The link of one robot."""

    def __init__(self, rules: LinkRules, robot: RobotSpec, chance: Callable[[], float]) -> None:
        """Starts DOWN; the first event makes it dial.

        Args:
            rules: its numbers.
            robot: as it was offered to the server, cameras included.
            chance: returns a number, uniform in 0..1, for the jitter of waiting times.
        """
        self._out: list[ev.Effect] = []
        self._dialer = Dialer(rules, robot, chance, self._do)
        self._flight: ev.Asked | None = None
        self._trouble = _Trouble()
        self._slow_link = SlowLink(rules.slow_link)

    def __repr__(self) -> str:
        waits = self._flight.number if self._flight else None
        return f"<LinkMachine {self._dialer!r} in_flight={waits}>"

    @property
    def state(self) -> LinkState:
        """Where the link stands."""
        return self._dialer.state

    @property
    def session(self) -> LinkSession | None:
        """The session that was opened last; None before the first."""
        return self._dialer.session

    @property
    def failures(self) -> int:
        """Dials that failed in a row."""
        return self._dialer.dial.failures

    @property
    def dials(self) -> int:
        """Dials so far: each has a channel of its own, numbered from 1."""
        return self._dialer.dial.channel

    def on(self, event: ev.Event, now_ns: int) -> tuple[ev.Effect, ...]:
        """Takes one event and returns what is to be done, in that order."""
        self._out.clear()
        self._dialer.begin(now_ns)
        if self.state is not LinkState.REFUSED:
            self._take(event, now_ns)
            self._keep_dates(now_ns)
        dates = self._dates()
        if dates:
            self._do(ev.WakeAt(min(dates)))
        return tuple(self._out)

    def _take(self, event: ev.Event, now_ns: int) -> None:
        match event:
            case ev.Asked():
                self._asked(event, now_ns)
            case ev.Answered():
                self._answered(event)
            case ev.Unanswered():
                self._unanswered(event, now_ns)
            case ev.Unsendable():
                if self._landed(event.number):
                    self._report(Failed(event.number, event.cause))
            case ev.Slept():
                self._slept(event.duration_ns)
            case ev.Woken():
                pass  # the dates are looked at after every event
            case _:
                self._dialer.on(event, now_ns)

    def _keep_dates(self, now_ns: int) -> None:
        flight = self._flight
        if flight is not None and now_ns > flight.deadline_ns:
            # At its deadline the control loop gives a request up itself; the call ends just after it.
            self._do(ev.Cancel(flight.number))
            self._unanswered(ev.Unanswered(flight.number, Heard(Status.DEADLINE_EXCEEDED)), now_ns)
        if self.state is LinkState.READY and self._dialer.dial.broken and self._flight is None:
            # A call under way brings its own end: a server that drains still answers it.
            self._lose(Heard(Status.NO_CONNECTION, "connection lost"), now_ns)
        self._dialer.keep_dates(now_ns)
        trouble = self._trouble
        if trouble.held is not None and now_ns >= trouble.held_until_ns:
            self._report(trouble.held)
            trouble.held = None

    def _dates(self) -> list[int]:
        dates = self._dialer.dates()
        if self._flight is not None:
            dates.append(self._flight.deadline_ns + 1)
        if self._trouble.held is not None:
            dates.append(self._trouble.held_until_ns)
        return dates

    # --- requests -----------------------------------------------------------------------------

    def _asked(self, event: ev.Asked, now_ns: int) -> None:
        self._trouble.held = None
        self._drop_flight(now_ns)
        session = self.session
        if self.state is not LinkState.READY or session is None:
            self._report(Failed(event.number, _NO_SESSION))
            return
        self._flight = event
        timeout_ns = max(1, event.deadline_ns - now_ns)
        self._do(ev.Send(event.number, self.dials, timeout_ns, session.session_id, session.spec_hash))

    def _drop_flight(self, now_ns: int) -> None:
        """Gives up the call under way: a newer request counts; if it was overdue, that is a miss."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        self._do(ev.Cancel(flight.number))
        if now_ns >= flight.deadline_ns:
            self._miss(now_ns)

    def _answered(self, event: ev.Answered) -> None:
        session = self.session
        if not self._landed(event.number) or session is None:
            return
        self._trouble = _Trouble()
        upload_ns = event.took_ns - event.served_ns - session.round_trip_ns
        if self._slow_link.uploaded(upload_ns):
            self._do(ev.Coarsen(f"{event.sent_bytes / 1000:.0f} kB took {upload_ns / NS_PER_S:.1f} s"))
        self._do(ev.Deliver(event.number))

    def _unanswered(self, event: ev.Unanswered, now_ns: int) -> None:
        if not self._landed(event.number):
            return
        heard = event.heard
        failed = Failed(event.number, str(heard), ends_as(heard))
        match after_call(heard):
            case AfterCall.LOSE:
                self._lose(heard, now_ns)
            case AfterCall.REOPEN:
                self._reopen(heard, now_ns)
            case AfterCall.REFUSE:
                self._report(failed)
                self._dialer.refuse(refusal_of(heard))
            case AfterCall.MISS:
                self._report(Failed(event.number, DEADLINE, ends_as(heard)))
                self._miss(now_ns)
            case AfterCall.REJECT:
                self._reject(failed, now_ns)

    def _slept(self, duration_ns: int) -> None:
        """Gives up the call under way, without a word: the control loop knows of the sleep, and asks anew."""
        if self._flight is not None:
            self._do(ev.Cancel(self._flight.number))
        self._flight, self._trouble = None, _Trouble(lost=self._trouble.lost)
        self._dialer.slept(duration_ns)

    def _landed(self, number: int) -> bool:
        """Returns whether that is the request under way, which is over then."""
        if self._flight is None or self._flight.number != number:
            return False
        self._flight = None
        return True

    # --- what failures mean -------------------------------------------------------------------

    def _miss(self, now_ns: int) -> None:
        """Counts a deadline that passed; the second in a row speaks against the channel."""
        if self._slow_link.missed():
            self._do(ev.Coarsen("a request did not arrive in time"))
        self._trouble.missed += 1
        if self._trouble.missed >= MISSES_UNTIL_LOST:
            text = f"{self._trouble.missed} requests in a row without an answer"
            self._lose(Heard(Status.NO_CONNECTION, text), now_ns)

    def _reject(self, failed: Failed, now_ns: int) -> None:
        """Reports that the server said no, later and later if it does so again and again."""
        self._trouble.failed += 1
        surplus = self._trouble.failed - FAILURES_AT_ONCE
        if surplus <= 0:
            self._report(failed)
            return
        self._trouble.held = failed
        self._trouble.held_until_ns = now_ns + self._dialer.wait_ns(surplus)

    def _reopen(self, heard: Heard, now_ns: int) -> None:
        """Opens a session in place of one that the server does not know; if it forgets that too, dials."""
        if self._trouble.lost:
            self._lose(heard, now_ns)
            return
        self._trouble.lost = 1
        # Not as a failure of the request: the loop would ask again while a session is being opened.
        self._report(Closed(str(heard), ends_as(heard)))
        self._dialer.reopen(now_ns)

    def _lose(self, heard: Heard, now_ns: int) -> None:
        """Throws the channel away; the next dial is due at once, or later if this happens again and again."""
        lost = self._trouble.lost + 1
        self._trouble = _Trouble(lost=lost)
        self._dialer.lose(self._dialer.wait_ns(lost - 1) if lost > 1 else 0, now_ns)
        self._report(Closed(str(heard), ends_as(heard)))
        self._do(ev.Note(str(heard)))

    def _report(self, message: LinkReport) -> None:
        self._do(ev.Report(message))

    def _do(self, effect: ev.Effect) -> None:
        self._out.append(effect)
