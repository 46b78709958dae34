"""From a dial to a session: the half of the link's rules that concerns the channel.

    DOWN --Connect--> DIALING --Connected--> OPENING --Welcomed--> READY

It dials on a fresh channel, measures the way, opens a session and compares what
it is offered with the robot, and with what the run began with. It knows how
long each of these may take, when to dial again, and which refusals are final.
What to do about requests is `machine`'s to say, which owns this object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from segue.core.facts import ExitReason
from segue.core.link import events as ev
from segue.core.link.heard import AfterOpen, Heard, Status, after_open, ends_as, refusal_of
from segue.core.link.reports import Failed, Opened, Stop
from segue.core.link.slowlink import SlowLinkRule
from segue.core.link.states import Backoff, LinkEvent, LinkState, follow
from segue.core.specs import PolicySpec, RobotSpec, differences, respecified
from segue.errors import SegueError, SpecMismatch

NS_PER_S = 1_000_000_000

# A connection may take twice what the last one took; before the first, twice what was too short.
_PATIENCE = 2
_ROUND_TRIPS = 3
# Of a handshake's time: what may be spent before another round trip is measured.
_MEASURING = 0.25
_UNDER_WAY = frozenset({LinkState.DIALING, LinkState.OPENING})


@dataclass(frozen=True, slots=True)
class LinkRules:
    """The numbers of a link.

    Attributes:
        address: of the server, for sentences; may be empty.
        note: what to say beside "no connection"; may be empty.
        connect_timeout_ns: for a connection, at least.
        handshake_timeout_ns: for all calls of a handshake together, at least.
        offline_limit_ns: a robot that was never let in gives up after that time.
        backoff: between dials, and between requests that fail at once.
        slow_link: when pictures are made smaller.
    """

    address: str = ""
    note: str = ""
    connect_timeout_ns: int = 400_000_000
    handshake_timeout_ns: int = 2 * NS_PER_S
    offline_limit_ns: int = 60 * NS_PER_S
    backoff: Backoff = field(default_factory=Backoff)
    slow_link: SlowLinkRule = field(default_factory=SlowLinkRule)


@dataclass(frozen=True, slots=True)
class LinkSession:
    """An open session: the policy behind it, and the shortest round trip measured on the way."""

    session_id: str
    policy: PolicySpec
    spec_hash: str
    round_trip_ns: int


@dataclass(slots=True)
class _Dial:
    """The present dial, or the next.

    Attributes:
        since_ns, until_ns: of the present state; it has failed if it lasts longer.
        due_ns: when to dial next.
        failures: in a row.
        last: why the last one failed.
        broken: the connection of an open session is gone.
        turned_away: why, while that is looked into.
    """

    channel: int = 0
    since_ns: int = 0
    until_ns: int = 0
    due_ns: int = 0
    failures: int = 0
    last: Heard | None = None
    broken: bool = False
    turned_away: Heard | None = None


@dataclass(slots=True)
class _Way:
    """What is known of the way to the server, and what it is given.

    Attributes:
        connect_ns, handshake_ns: the time that the next connection and handshake may take.
        took_ns: by the last connection.
        trips_ns: round trips of the present handshake.
        sent_ns: when the round trip under way began; None while none is measured.
    """

    connect_ns: int
    handshake_ns: int
    took_ns: int = 0
    trips_ns: list[int] = field(default_factory=list)
    sent_ns: int | None = None


class Dialer:
    """The channel of one robot's link."""

    def __init__(
        self,
        rules: LinkRules,
        robot: RobotSpec,
        chance: Callable[[], float],
        do: Callable[[ev.Effect], None],
    ) -> None:
        """Starts DOWN; the first `keep_dates` dials.

        Args:
            rules: the link's numbers.
            robot: as it was offered to the server, cameras included.
            chance: returns a number, uniform in 0..1, for the jitter of waiting times.
            do: takes each effect.
        """
        self.state = LinkState.DOWN
        self.session: LinkSession | None = None
        self.dial = _Dial()
        self._rules = rules
        self._robot = robot
        self._chance = chance
        self._do = do
        self._way = _Way(rules.connect_timeout_ns, rules.handshake_timeout_ns)
        self._first: PolicySpec | None = None
        self._began_ns: int | None = None

    def __repr__(self) -> str:
        return f"<Dialer {self.state.value} channel={self.dial.channel} failures={self.dial.failures}>"

    @property
    def newcomer(self) -> bool:
        """Whether no session was ever open: no arm is waiting yet."""
        return self._first is None

    def begin(self, now_ns: int) -> None:
        """Notes when all this began; every later call changes nothing."""
        if self._began_ns is None:
            self._began_ns = self.dial.due_ns = now_ns

    def slept(self, duration_ns: int) -> None:
        """Lets every limit go on where it stood before the computer slept."""
        self._began_ns = (self._began_ns or 0) + duration_ns
        if self.state in _UNDER_WAY:
            self.dial.until_ns += duration_ns

    def on(self, event: ev.DialEvent, now_ns: int) -> None:
        """Takes what happened to the channel; what happened to an earlier one is no news."""
        if event.channel == self.dial.channel:
            _HANDLERS[type(event)](self, event, now_ns)

    def reopen(self, now_ns: int) -> None:
        """Opens a new session on the present channel."""
        self._move(LinkEvent.STALE)
        self._greet(now_ns)

    def lose(self, wait_ns: int, now_ns: int) -> None:
        """Throws the channel away; the next dial is due after `wait_ns`."""
        dial = self.dial
        self._move(LinkEvent.FAILED)
        dial.failures, dial.last = 0, None
        dial.due_ns = now_ns + wait_ns
        self._do(ev.Hangup(dial.channel))

    def refuse(self, error: SegueError) -> None:
        """Ends: the server will not have us, and asking again would not change that."""
        self._move(LinkEvent.REFUSED)
        self._do(ev.Refuse(error))
        if not self.newcomer:
            self._do(ev.Report(Stop(ExitReason.REFUSED)))
        self._do(ev.Note(str(error)))

    def wait_ns(self, failures: int) -> int:
        """Returns how long to wait after so many failures in a row, with jitter."""
        return self._rules.backoff.wait_ns(failures, self._chance())

    def keep_dates(self, now_ns: int) -> None:
        """Does what is due: ends what took too long, gives up, dials."""
        if self.state in _UNDER_WAY and now_ns >= self.dial.until_ns:
            self._took_too_long(now_ns)
        if self._is_hopeless(now_ns):
            self._give_up()
        if self.state is LinkState.DOWN and now_ns >= self.dial.due_ns:
            self._connect(now_ns)

    def dates(self) -> list[int]:
        """Returns when something will be due."""
        if self.state is LinkState.REFUSED:
            return []
        dates = []
        if self.state is LinkState.DOWN:
            dates.append(self.dial.due_ns)
        elif self.state in _UNDER_WAY:
            dates.append(self.dial.until_ns)
        if self.newcomer and self.dial.failures and self._began_ns is not None:
            dates.append(self._began_ns + self._rules.offline_limit_ns)
        return dates

    def _connect(self, now_ns: int) -> None:
        dial = self.dial
        dial.channel += 1
        dial.broken, dial.turned_away = False, None
        dial.since_ns, dial.until_ns = now_ns, now_ns + self._way.connect_ns
        self._move(LinkEvent.DIAL)
        self._do(ev.Connect(dial.channel))

    def _connected(self, event: ev.Connected, now_ns: int) -> None:
        dial = self.dial
        if self.state is not LinkState.DIALING:
            return
        self._way.took_ns = now_ns - dial.since_ns
        self._way.connect_ns = max(self._rules.connect_timeout_ns, _PATIENCE * self._way.took_ns)
        self._move(LinkEvent.CONNECTED)
        self._greet(now_ns)

    def _turned_away(self, event: ev.TurnedAway, now_ns: int) -> None:
        """Has it looked into: a wrong certificate will not pass by waiting.

        A dial that timed out is not looked into: the look would take as long again, and a network
        that comes back is to be met by the next dial.
        """
        dial = self.dial
        if self.state is not LinkState.DIALING:
            return
        dial.turned_away = event.heard or self._no_connection()
        timeout_ns = self._way.connect_ns
        dial.until_ns = now_ns + _PATIENCE * timeout_ns
        self._do(ev.Look(event.channel, timeout_ns))

    def _diagnosed(self, event: ev.Diagnosed, now_ns: int) -> None:
        if self.state is not LinkState.DIALING:
            return
        if event.error is not None:
            self.refuse(event.error)
        else:
            self._fail(self.dial.turned_away or self._no_connection(), now_ns)

    def _greet(self, now_ns: int) -> None:
        """Begins the handshake: first of all the way is measured."""
        dial, way = self.dial, self._way
        budget_ns = max(way.handshake_ns, self._rules.handshake_timeout_ns, _PATIENCE * way.took_ns)
        dial.since_ns, dial.until_ns = now_ns, now_ns + budget_ns
        way.trips_ns = []
        self._describe(now_ns)

    def _describe(self, now_ns: int) -> None:
        self._way.sent_ns = now_ns
        self._do(ev.Describe(self.dial.channel, self.dial.until_ns - now_ns))

    def _described(self, event: ev.Described, now_ns: int) -> None:
        dial, way = self.dial, self._way
        if self.state is not LinkState.OPENING or way.sent_ns is None:
            return
        way.trips_ns.append(now_ns - way.sent_ns)
        way.sent_ns = None
        spent_ns, budget_ns = now_ns - dial.since_ns, dial.until_ns - dial.since_ns
        # On a long way one measurement must do, so that there is time left to open.
        if len(way.trips_ns) < _ROUND_TRIPS and spent_ns < _MEASURING * budget_ns:
            self._describe(now_ns)
            return
        previous = self.session.session_id if self.session else ""
        self._do(ev.Open(event.channel, max(1, dial.until_ns - now_ns), event.policies, previous))

    def _welcomed(self, event: ev.Welcomed, now_ns: int) -> None:
        if self.state is not LinkState.OPENING:
            return
        policy = event.policy
        wrong = differences(self._robot, policy) or self._changed(policy)
        if wrong:
            self.refuse(SpecMismatch(wrong))
            return
        self._move(LinkEvent.OPENED)
        self._first = self._first or policy
        round_trip_ns = min(self._way.trips_ns, default=0)
        self.session = LinkSession(event.session_id, policy, policy.spec_hash(), round_trip_ns)
        dial = self.dial
        dial.failures, dial.last = 0, None
        self._way.handshake_ns = self._rules.handshake_timeout_ns
        self._do(ev.Report(Opened(round_trip_ns, policy.warm_inference_ns, policy.policy_hash)))
        self._do(ev.Note(""))

    def _changed(self, policy: PolicySpec) -> list[str]:
        """Returns what is not as it was when the run began.

        Under another hash it is another policy, which the control loop has to hear of: what is
        planned is of no use then.
        """
        first = self._first
        if first is None or policy.policy_hash != first.policy_hash:
            return []
        return respecified(first, policy)

    def _unopened(self, event: ev.Unopened, now_ns: int) -> None:
        if self.state is not LinkState.OPENING:
            return
        if event.heard.status == Status.DEADLINE_EXCEEDED:
            self._be_patient()
        if after_open(event.heard, self.newcomer) is AfterOpen.REFUSE:
            self.refuse(refusal_of(event.heard))
        else:
            self._fail(event.heard, now_ns)

    def _unfit(self, event: ev.Unfit, now_ns: int) -> None:
        self.refuse(event.error)

    def _took_too_long(self, now_ns: int) -> None:
        turned_away = self.dial.turned_away
        if self.state is LinkState.OPENING:
            self._be_patient()
            self._fail(Heard(Status.DEADLINE_EXCEEDED, "the handshake took too long"), now_ns)
        elif turned_away is not None:
            self._fail(turned_away, now_ns)
        else:
            self._be_patient()
            self._fail(self._no_connection(), now_ns)

    def _be_patient(self) -> None:
        """Gives the next dial more time: the way may be long, and no arm is waiting yet."""
        if not self.newcomer:
            return
        dial, way, most_ns = self.dial, self._way, self._rules.offline_limit_ns
        if self.state is LinkState.OPENING:
            spent_ns = dial.until_ns - dial.since_ns
            way.handshake_ns = min(_PATIENCE * spent_ns, max(most_ns, spent_ns))
        else:
            way.connect_ns = min(_PATIENCE * way.connect_ns, max(most_ns, way.connect_ns))

    def _fail(self, heard: Heard, now_ns: int) -> None:
        """Notes that a dial failed: the next one waits; the same reason again is nothing new."""
        dial, trouble_is_new = self.dial, heard != self.dial.last
        self._move(LinkEvent.FAILED)
        dial.failures += 1
        dial.last = heard
        dial.due_ns = now_ns + self.wait_ns(dial.failures)
        if not trouble_is_new:
            return
        if self.newcomer:
            self._do(ev.Waits(heard))
            return
        self._do(ev.Report(Failed(0, self._named(heard), ends_as(heard))))
        self._do(ev.Note(self._named(heard)))

    def _is_hopeless(self, now_ns: int) -> bool:
        """Whether a robot that was never let in has waited for long enough, and was told no once."""
        limit_ns = (self._began_ns or 0) + self._rules.offline_limit_ns
        return self.newcomer and self.dial.failures > 0 and now_ns >= limit_ns

    def _give_up(self) -> None:
        if self.state is LinkState.REFUSED:
            return
        self.state = LinkState.REFUSED
        self._do(ev.GiveUp(self.dial.last or self._no_connection()))

    def _broke(self, event: ev.Broke, now_ns: int) -> None:
        if self.state is LinkState.OPENING:
            self._fail(Heard(Status.NO_CONNECTION, "connection lost"), now_ns)
        self.dial.broken = True

    def _named(self, heard: Heard) -> str:
        return f"{self._rules.address}: {heard}" if self._rules.address else str(heard)

    def _no_connection(self) -> Heard:
        note = self._rules.note
        return Heard(Status.NO_CONNECTION, f"no connection; {note}" if note else "no connection")

    def _move(self, event: LinkEvent) -> None:
        self.state = follow(self.state, event)


_HANDLERS: Mapping[type, Callable[[Dialer, Any, int], None]] = MappingProxyType(
    {
        ev.Connected: Dialer._connected,
        ev.TurnedAway: Dialer._turned_away,
        ev.Diagnosed: Dialer._diagnosed,
        ev.Described: Dialer._described,
        ev.Welcomed: Dialer._welcomed,
        ev.Unopened: Dialer._unopened,
        ev.Unfit: Dialer._unfit,
        ev.Broke: Dialer._broke,
    }
)
