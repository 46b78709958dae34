"""What the server says when it says no, and what the link does about it, as two tables.

A status has gRPC's name for it, as in `grpc.StatusCode`; the few things that no
server says (no connection, an unknown host, bytes that cannot be read) have
names of their own beside them. Both tables are read by the one machine that
runs on the robot and in the simulation, so a status means the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from segue.core.facts import ExitReason
from segue.errors import (
    AuthenticationError,
    LocalProtocolError,
    Overloaded,
    RemoteProtocolError,
    SegueError,
    SpecMismatch,
)


class Status(StrEnum):
    """Statuses that mean something to a link; gRPC has more, which are all like INTERNAL."""

    UNAVAILABLE = "UNAVAILABLE"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    INTERNAL = "INTERNAL"
    ABORTED = "ABORTED"
    CANCELLED = "CANCELLED"
    # What no server says.
    NO_CONNECTION = "NO_CONNECTION"
    UNKNOWN_HOST = "UNKNOWN_HOST"
    UNREADABLE = "UNREADABLE"


# These speak for themselves: their sentence needs no name of the status before it.
_OWN = frozenset({Status.NO_CONNECTION, Status.UNKNOWN_HOST, Status.UNREADABLE})


@dataclass(frozen=True, slots=True)
class Heard:
    """A no, or the lack of an answer.

    Attributes:
        status: a name of `Status`, or another of gRPC's.
        text: what was said, one printable line.
        reason: of a refusal (`segue.wire.refusal.Reason`), where the server named one.
        differences: one sentence each, where the server refused for them.
    """

    status: str
    text: str = ""
    reason: str = ""
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.status in _OWN:
            return self.text
        named = self.status.lower().replace("_", " ")
        return f"{named}: {self.text}" if self.text else named


class AfterCall(StrEnum):
    """What a failed request means for the link."""

    REJECT = "reject"  # this request alone failed: report it, later and later if it goes on
    MISS = "miss"  # no answer in time: the second in a row speaks against the channel
    LOSE = "lose"  # the channel is of no use any more: dial afresh
    REOPEN = "reopen"  # the server does not know our session: open one on the same channel
    REFUSE = "refuse"  # it will not have us: end


class AfterOpen(StrEnum):
    """What a failed handshake means for the link."""

    AGAIN = "again"  # it may pass: dial later
    REFUSE = "refuse"  # asking again would not change it: end
    REFUSE_NEWCOMER = "refuse_newcomer"  # a robot that was let in once waits for a place


ON_CALL: Mapping[str, AfterCall] = MappingProxyType(
    {
        Status.DEADLINE_EXCEEDED: AfterCall.MISS,
        Status.UNAVAILABLE: AfterCall.LOSE,
        # It had opened a session: somebody else answers now, or the line is bad. A handshake will tell.
        Status.UNIMPLEMENTED: AfterCall.LOSE,
        Status.FAILED_PRECONDITION: AfterCall.REOPEN,
        Status.UNAUTHENTICATED: AfterCall.REFUSE,
    }
)

ON_OPEN: Mapping[str, AfterOpen] = MappingProxyType(
    {
        Status.FAILED_PRECONDITION: AfterOpen.REFUSE,
        Status.PERMISSION_DENIED: AfterOpen.REFUSE,
        Status.UNAUTHENTICATED: AfterOpen.REFUSE,
        Status.INVALID_ARGUMENT: AfterOpen.REFUSE,
        Status.UNIMPLEMENTED: AfterOpen.REFUSE,
        Status.RESOURCE_EXHAUSTED: AfterOpen.REFUSE_NEWCOMER,
    }
)


# How a run ends in which the server says nothing else any more; what is not listed is a lost link.
ENDS_AS: Mapping[str, ExitReason] = MappingProxyType(
    {
        Status.RESOURCE_EXHAUSTED: ExitReason.OVERLOADED,
        Status.INTERNAL: ExitReason.POLICY_FAILED,
        Status.UNREADABLE: ExitReason.PROTOCOL,
        Status.INVALID_ARGUMENT: ExitReason.PROTOCOL,
    }
)
_DRAINING = "draining"


def ends_as(heard: Heard) -> ExitReason:
    """Returns the reason of a run's end that is due to `heard`."""
    if heard.reason == _DRAINING:
        return ExitReason.OVERLOADED
    return ENDS_AS.get(heard.status, ExitReason.LINK_LOST)


def after_call(heard: Heard) -> AfterCall:
    """Returns what a request that failed with `heard` means for the link."""
    return ON_CALL.get(heard.status, AfterCall.REJECT)


def after_open(heard: Heard, newcomer: bool) -> AfterOpen:
    """Returns what a handshake that failed with `heard` means; never REFUSE_NEWCOMER."""
    found = ON_OPEN.get(heard.status, AfterOpen.AGAIN)
    if found is not AfterOpen.REFUSE_NEWCOMER:
        return found
    return AfterOpen.REFUSE if newcomer else AfterOpen.AGAIN


def refusal_of(heard: Heard) -> SegueError:
    """Returns the error with which a run ends that was turned away with `heard`."""
    match heard.status:
        case Status.FAILED_PRECONDITION | Status.PERMISSION_DENIED:
            return SpecMismatch(heard.differences or (heard.text,))
        case Status.RESOURCE_EXHAUSTED:
            return Overloaded(heard.text)
        case Status.UNAUTHENTICATED:
            return AuthenticationError(heard.text)
        case Status.INVALID_ARGUMENT:
            return LocalProtocolError(f"the server finds our handshake wrong: {heard.text}")
        case Status.UNIMPLEMENTED:
            return RemoteProtocolError(f"this is no Segue server: {heard.text}")
    return SegueError(str(heard))
