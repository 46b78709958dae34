"""Why a server said no, in words that a program can act on.

The gRPC status says what kind of no it is, its text says it to people, and a
`Refusal` in the trailing metadata says it to the client: whether to open
again, to give up, or to come back later. Metadata is plain pairs, so nothing
here needs grpc.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.message import DecodeError

from segue.wire import policy_pb2 as pb
from segue.wire.checks import one_line
from segue.wire.version import MAX_DIFFERENCES, MAX_VERSIONS

REFUSAL_KEY = "segue-refusal-bin"

# Two robots of 100 joints fill it.
_MAX_SENTENCE_BYTES = 6_000
# Our own clients take 64 kB of metadata, in which bytes travel as a third more.
_MAX_REFUSAL_BYTES = 36_000
# What a person is shown of it, whatever a server wrote: two pages; and of a status, four lines.
_MAX_SHOWN_CHARS = 12_000
_MAX_SAID_CHARS = 300


class Reason(StrEnum):
    """What a client can act on; the numbers are in policy.proto."""

    UNSPECIFIED = "unspecified"
    UNKNOWN_SESSION = "unknown_session"  # open (again)
    SPEC_CHANGED = "spec_changed"  # open again and compare
    MISMATCH = "mismatch"  # give up: robot and policy do not fit
    VERSION = "version"  # give up
    POLICY_UNKNOWN = "policy_unknown"  # give up
    FULL = "full"  # come back later
    SUPERSEDED = "superseded"  # nothing: the newer request is answered
    NOT_READY = "not_ready"  # come back later
    DRAINING = "draining"  # another replica, or later
    OUT_OF_MEMORY = "out_of_memory"  # ask again
    POLICY_FAILED = "policy_failed"  # ask again, not for ever
    BAD_FIELD = "bad_field"  # a bug in the client
    FORBIDDEN = "forbidden"  # give up
    CANCELLED = "cancelled"  # nobody listens any more
    TOO_LATE = "too_late"  # ask again
    SERVER_FAILED = "server_failed"  # a bug in the server


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no with its reason.

    Attributes:
        differences: one sentence for each, with both sides.
        protocol_versions: those that the server speaks, when the version was the reason.
    """

    reason: Reason
    differences: tuple[str, ...] = ()
    protocol_versions: tuple[int, ...] = ()


def encode_refusal(refusal: Refusal) -> bytes:
    """Returns the value for the metadata key `REFUSAL_KEY`."""
    return pb.Refusal(
        reason=pb.Reason.Value(f"REASON_{refusal.reason.name}"),
        differences=_fitting(refusal.differences[:MAX_DIFFERENCES]),
        protocol_versions=refusal.protocol_versions[:MAX_VERSIONS],
    ).SerializeToString()


def refusal_in(metadata: Iterable[tuple[str, str | bytes]] | None) -> Refusal:
    """Returns the refusal in a call's trailing metadata; reason UNSPECIFIED when there is none to read."""
    for key, value in metadata or ():
        if key == REFUSAL_KEY and isinstance(value, bytes):
            return _decode_refusal(value)
    return Refusal(Reason.UNSPECIFIED)


def said(details: str | None) -> str:
    """Returns what came with a status as one short line for a terminal, whatever a server wrote."""
    # Line ends and tabs are blanks here, and not letters that cannot be shown.
    words = (details or "")[: 2 * _MAX_SAID_CHARS].split()
    return one_line(" ".join(words) or "no details", _MAX_SAID_CHARS)


def _fitting(sentences: Iterable[str]) -> list[str]:
    """Returns as much of each sentence as fits, counted in bytes: a name may be four for each letter."""
    fitting, left = [], _MAX_REFUSAL_BYTES
    for sentence in sentences:
        data = sentence.encode()[: min(_MAX_SENTENCE_BYTES, left)]
        left -= len(data)
        fitting.append(data.decode(errors="ignore"))
    return [sentence for sentence in fitting if sentence]


def _readable(sentences: Sequence[str]) -> tuple[str, ...]:
    """Returns the sentences fit for a terminal, and no more than somebody reads."""
    shown: list[str] = []
    room = _MAX_SHOWN_CHARS
    for number, sentence in enumerate(sentences[:MAX_DIFFERENCES]):
        if room < len(sentence) and shown:
            shown.append(f"… and {len(sentences) - number} more")
            break
        shown.append(one_line(sentence, room))
        room -= len(shown[-1])
    return tuple(shown)


def _decode_refusal(data: bytes) -> Refusal:
    try:
        message = pb.Refusal.FromString(data)
    except DecodeError:
        return Refusal(Reason.UNSPECIFIED)
    known = {pb.Reason.Value(f"REASON_{reason.name}"): reason for reason in Reason}
    return Refusal(
        # A newer server may know reasons that this side does not.
        reason=known.get(message.reason, Reason.UNSPECIFIED),
        differences=_readable(message.differences),
        protocol_versions=tuple(message.protocol_versions[:MAX_VERSIONS]),
    )
