"""What happens to a link, and what is to be done about it: the vocabulary of `LinkMachine`.

Events come from whoever carries the bytes (a thread over gRPC, or the
simulation); effects go back to it. Every event of a connection names its
channel, so that news of one that was thrown away says nothing of the present
one. Nothing here decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.core.link.heard import Heard
from segue.core.link.reports import LinkReport
from segue.core.specs import PolicySpec
from segue.errors import SegueError

# --- events -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """The server accepted the connection."""

    channel: int


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The connection failed at once, rather than not coming about in time; `heard` if more is known."""

    channel: int
    heard: Heard | None = None


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """A second look at a connection that was turned away is over; `error` if waiting cannot mend it."""

    channel: int
    error: SegueError | None


@dataclass(frozen=True, slots=True)
class Described:
    """The server said which policies it has; the first is what an empty name means."""

    channel: int
    policies: tuple[PolicySpec, ...]


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The server opened a session."""

    channel: int
    session_id: str
    policy: PolicySpec


@dataclass(frozen=True, slots=True)
class Unopened:
    """A call of the handshake failed."""

    channel: int
    heard: Heard


@dataclass(frozen=True, slots=True)
class Unfit:
    """What that server said cannot be read or does not fit: this side will not go on with it."""

    channel: int
    error: SegueError


@dataclass(frozen=True, slots=True)
class Broke:
    """The connection is gone, or the server asked for no more calls on it."""

    channel: int


@dataclass(frozen=True, slots=True)
class Asked:
    """The control loop wants request `number` answered by `deadline_ns`."""

    number: int
    deadline_ns: int


@dataclass(frozen=True, slots=True)
class Unsendable:
    """Request `number` could not be completed here, such as for want of a picture."""

    number: int
    cause: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Request `number` was answered, and the answer can be read.

    Attributes:
        took_ns: from sending to the answer in hand.
        served_ns: of that, what the server says that it took.
        sent_bytes: size of the request.
    """

    number: int
    took_ns: int
    served_ns: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The call of request `number` ended without an answer that can be read."""

    number: int
    heard: Heard


@dataclass(frozen=True, slots=True)
class Woken:
    """Time passed: a date that the machine named may have come."""


@dataclass(frozen=True, slots=True)
class Slept:
    """The computer slept for `duration_ns` until now: what was awaited meanwhile says nothing."""

    duration_ns: int


DialEvent = Connected | TurnedAway | Diagnosed | Described | Welcomed | Unopened | Unfit | Broke
Event = DialEvent | Asked | Unsendable | Answered | Unanswered | Woken | Slept

# --- effects ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect on a fresh channel of that number, and close the one before."""

    channel: int


@dataclass(frozen=True, slots=True)
class Look:
    """Look why the connection was turned away; `Diagnosed` ends the look."""

    channel: int
    timeout_ns: int


@dataclass(frozen=True, slots=True)
class Describe:
    """Ask which policies there are."""

    channel: int
    timeout_ns: int


@dataclass(frozen=True, slots=True)
class Open:
    """Open a session.

    Attributes:
        policies: as the server described them.
        previous_session_id: the session whose place the new one takes; may be empty.
    """

    channel: int
    timeout_ns: int
    policies: tuple[PolicySpec, ...]
    previous_session_id: str


@dataclass(frozen=True, slots=True)
class Send:
    """Complete request `number` and send it in the session."""

    number: int
    channel: int
    timeout_ns: int
    session_id: str
    spec_hash: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give the call of request `number` up."""

    number: int


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the channel."""

    channel: int


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand the answer to request `number` to the control loop."""

    number: int


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the control loop."""

    message: LinkReport


@dataclass(frozen=True, slots=True)
class Coarsen:
    """Make pictures smaller from now on, and say why."""

    why: str


@dataclass(frozen=True, slots=True)
class Waits:
    """No session was ever open, and a dial failed with something new: a person may want to know."""

    heard: Heard


@dataclass(frozen=True, slots=True)
class Note:
    """Write down that the link is in another state, and why."""

    detail: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """End: waiting does not help. After the first session a `Stop` is reported as well."""

    error: SegueError


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End: in all the time that there is no session was opened; `heard` is why the last dial failed."""

    heard: Heard


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send `Woken` at that time, unless something else happens before."""

    at_ns: int


Effect = (
    Connect
    | Look
    | Describe
    | Open
    | Send
    | Cancel
    | Hangup
    | Deliver
    | Report
    | Coarsen
    | Waits
    | Note
    | Refuse
    | GiveUp
    | WakeAt
)
