"""How the pure parts of the server say no.

A `Refused` carries what the gRPC skin needs to answer (status, sentence,
reason, differences) without this file or its users knowing gRPC. A sentence
is for the peer: it holds no traceback and no path of this host.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from segue.errors import SegueError
from segue.wire.refusal import Reason, Refusal
from segue.wire.version import SUPPORTED_VERSIONS


class Status(StrEnum):
    """The gRPC status codes in use, by their gRPC names."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    ABORTED = "ABORTED"
    CANCELLED = "CANCELLED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


# One reason always travels with one status.
STATUS = {
    Reason.UNKNOWN_SESSION: Status.FAILED_PRECONDITION,
    Reason.SPEC_CHANGED: Status.FAILED_PRECONDITION,
    Reason.MISMATCH: Status.FAILED_PRECONDITION,
    Reason.VERSION: Status.FAILED_PRECONDITION,
    Reason.POLICY_UNKNOWN: Status.FAILED_PRECONDITION,
    Reason.FORBIDDEN: Status.PERMISSION_DENIED,
    Reason.FULL: Status.RESOURCE_EXHAUSTED,
    Reason.OUT_OF_MEMORY: Status.RESOURCE_EXHAUSTED,
    Reason.SUPERSEDED: Status.ABORTED,
    Reason.CANCELLED: Status.CANCELLED,
    Reason.TOO_LATE: Status.DEADLINE_EXCEEDED,
    Reason.NOT_READY: Status.UNAVAILABLE,
    Reason.DRAINING: Status.UNAVAILABLE,
    Reason.POLICY_FAILED: Status.INTERNAL,
    Reason.SERVER_FAILED: Status.INTERNAL,
    Reason.BAD_FIELD: Status.INVALID_ARGUMENT,
}


class Refused(SegueError):
    """The server says no to one call; `refusal` tells the client what to make of it."""

    def __init__(self, reason: Reason, sentence: str, differences: Sequence[str] = ()) -> None:
        self.status = STATUS[reason]
        versions = SUPPORTED_VERSIONS if reason is Reason.VERSION else ()
        self.refusal = Refusal(reason, tuple(differences), versions)
        super().__init__(sentence)
