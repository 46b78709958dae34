"""A judge of the link: from what went over the wire alone, whether it was dialled and asked as it should be.

It reads the messages of one robot in order of time, knows nothing of the
machine that sent them, and counts for itself what came back. A link that dials
without a pause, gives a connection no time, keeps a session that the server
does not know, or asks a server that says no again and again as fast as it can,
breaks a rule here, whatever became of the arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from segue.clock import NS_PER_MS, NS_PER_S

# The promises, written down a second time: the judge must not ask the machine for its own numbers.
SHORTEST_PAUSE_NS = 100 * NS_PER_MS
LONGEST_PAUSE_NS = 500 * NS_PER_MS
CONNECT_NS = 400 * NS_PER_MS
HANDSHAKE_NS = 2 * NS_PER_S
REFUSALS_AT_ONCE = 2
MISSES = 2


class Wire(StrEnum):
    """What a message was."""

    DIAL = "dial"
    ACCEPTED = "accepted"
    GREET = "greet"
    RESET = "reset"
    OPEN = "open"
    OPENED = "opened"
    NOT_OPENED = "not_opened"
    REQUEST = "request"
    ANSWER = "answer"
    REFUSAL = "refusal"
    SLEPT = "slept"


@dataclass(frozen=True, slots=True)
class WireNote:
    """One message as it left or reached the robot.

    Attributes:
        number: of the request, or 0.
        session: that the request names, or that was opened.
        reason: of a refusal.
        deadline_ns, epoch: of a request.
        lasted_ns: of a sleep.
    """

    t_ns: int
    what: Wire
    channel: int
    number: int = 0
    session: str = ""
    reason: str = ""
    deadline_ns: int = 0
    epoch: int = 0
    lasted_ns: int = 0


@dataclass(slots=True)
class _Books:
    """What the judge counts.

    Attributes:
        dial: the newest; what became of it is in the four times after it.
        losses: sessions lost since the last answer.
        refused: requests refused in a row.
        missed: requests in a row whose deadline passed.
        awaited: the newest request, while nothing came of it.
        gone: sessions that the server did not know.
    """

    dial: WireNote | None = None
    accepted_ns: int | None = None
    greeted_ns: int | None = None
    ended_ns: int | None = None
    losses: int = 0
    opened_ns: int | None = None
    refused: list[WireNote] = field(default_factory=list)
    missed: int = 0
    awaited: WireNote | None = None
    gone: set[str] = field(default_factory=set)


class LinkJudge:
    """Goes through a robot's messages one by one."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._books = _Books()

    def __repr__(self) -> str:
        return f"<LinkJudge {len(self.found)} findings>"

    def judge(self, notes: Iterable[WireNote]) -> list[str]:
        """Returns a sentence for each rule that was broken, in order of time."""
        for note in notes:
            _READ[note.what](self, note)
        return self.found

    def _expect(self, holds: bool, note: WireNote, text: str) -> None:
        if not holds:
            self.found.append(f"link at {note.t_ns / NS_PER_S:.2f} s: {text}")

    def _dial(self, note: WireNote) -> None:
        books, before = self._books, self._books.dial
        self._overdue(note)
        if before is not None:
            self._expect(note.channel == before.channel + 1, note, f"channel {note.channel} is no fresh one")
            self._pause(note, before)
        books.dial, books.missed, books.awaited = note, 0, None
        books.refused.clear()
        books.accepted_ns = books.greeted_ns = books.opened_ns = books.ended_ns = None

    def _pause(self, note: WireNote, before: WireNote) -> None:
        """A dial that failed, and the second session that brought nothing, are followed by a pause."""
        books = self._books
        failed = books.opened_ns is None
        if failed:
            # What came after it had taken too long came too late to end it.
            late_ns = self._too_long_ns(before)
            books.ended_ns = late_ns if books.ended_ns is None else min(books.ended_ns, late_ns)
        self._expect(books.ended_ns is not None, note, "a session that nothing spoke against was thrown away")
        books.losses += not failed
        if books.ended_ns is None or not (failed or books.losses > 1):
            return
        waited_ns = note.t_ns - books.ended_ns
        after = "a dial that failed" if failed else "the second session in a row that brought nothing"
        self._expect(waited_ns >= SHORTEST_PAUSE_NS, note, f"dialled {waited_ns / 1e6:.1f} ms after {after}")

    def _too_long_ns(self, dial: WireNote) -> int:
        greeted_ns = self._books.greeted_ns
        return dial.t_ns + CONNECT_NS if greeted_ns is None else greeted_ns + HANDSHAKE_NS

    def _greet(self, note: WireNote) -> None:
        books = self._books
        books.greeted_ns = note.t_ns if books.greeted_ns is None else books.greeted_ns

    def _accepted(self, note: WireNote) -> None:
        if self._is_present(note):
            self._books.accepted_ns = note.t_ns

    def _reset(self, note: WireNote) -> None:
        if self._is_present(note):
            self._ended(note.t_ns)
            self._books.awaited = None

    def _ended(self, at_ns: int) -> None:
        """Notes when a dial or a session ended; the network may say so twice."""
        self._books.ended_ns = at_ns if self._books.ended_ns is None else self._books.ended_ns

    def _open(self, note: WireNote) -> None:
        books = self._books
        standing = books.accepted_ns is not None and self._is_present(note)
        self._expect(standing, note, "a session is opened on a channel that does not stand")
        self._overdue(note)
        if books.opened_ns is not None:
            books.losses += 1
            text = "a session is opened on the same channel, and the one before had brought nothing"
            self._expect(books.losses == 1, note, text)

    def _opened(self, note: WireNote) -> None:
        books, greeted_ns = self._books, self._books.greeted_ns
        # A copy of it says nothing, and nor does one that comes after the handshake was given up.
        if self._is_present(note) and greeted_ns is not None and note.t_ns < greeted_ns + HANDSHAKE_NS:
            books.opened_ns, books.ended_ns, books.greeted_ns = note.t_ns, None, None

    def _not_opened(self, note: WireNote) -> None:
        if self._is_present(note):
            self._ended(note.t_ns)

    def _request(self, note: WireNote) -> None:
        books = self._books
        self._overdue(note)
        known = note.session not in books.gone
        self._expect(known, note, f"request {note.number} names a session that the server does not know")
        self._expect(
            books.missed < MISSES, note, f"request {note.number} after {books.missed} misses in a row"
        )
        last = books.refused[-1] if len(books.refused) > REFUSALS_AT_ONCE else None
        # In a new epoch the robot asks at once: what it asked before is void.
        if last is not None and last.epoch == note.epoch:
            waited_ns = note.t_ns - last.t_ns
            text = f"asked {waited_ns / 1e6:.1f} ms after {len(books.refused)} refusals in a row"
            self._expect(waited_ns >= SHORTEST_PAUSE_NS, note, text)
        books.awaited = note

    def _overdue(self, note: WireNote) -> None:
        """Counts the request before, if its deadline passed without a word."""
        books = self._books
        awaited, books.awaited = books.awaited, None
        if awaited is not None and note.t_ns >= awaited.deadline_ns:
            books.missed += 1
            if books.missed >= MISSES:
                self._ended(awaited.deadline_ns)

    def _answer(self, note: WireNote) -> None:
        if self._is_awaited(note):
            self._books.losses = self._books.missed = 0
            self._books.refused.clear()

    def _refusal(self, note: WireNote) -> None:
        books, awaited = self._books, self._books.awaited
        if awaited is None or not self._is_awaited(note):
            return
        if note.reason in _UNKNOWN:
            books.gone.add(awaited.session)
        if note.reason in _UNKNOWN + _GONE:
            self._ended(note.t_ns)
        else:
            books.refused.append(replace(note, epoch=awaited.epoch))

    def _slept(self, note: WireNote) -> None:
        """What was awaited over a sleep is no miss, and what took too long did not."""
        books = self._books
        books.awaited, books.missed = None, 0
        if books.dial is not None and books.opened_ns is None:
            books.dial = replace(books.dial, t_ns=books.dial.t_ns + note.lasted_ns)
            books.greeted_ns = None if books.greeted_ns is None else books.greeted_ns + note.lasted_ns

    def _is_awaited(self, note: WireNote) -> bool:
        awaited = self._books.awaited
        if awaited is None or awaited.number != note.number or note.t_ns > awaited.deadline_ns:
            return False
        self._books.awaited = None
        return True

    def _is_present(self, note: WireNote) -> bool:
        dial = self._books.dial
        return dial is not None and note.channel == dial.channel


_UNKNOWN = ("unknown_session", "spec_changed")
_GONE = ("not_ready", "draining")

_READ: dict[Wire, Callable[[LinkJudge, WireNote], None]] = {
    Wire.DIAL: LinkJudge._dial,
    Wire.ACCEPTED: LinkJudge._accepted,
    Wire.GREET: LinkJudge._greet,
    Wire.RESET: LinkJudge._reset,
    Wire.OPEN: LinkJudge._open,
    Wire.OPENED: LinkJudge._opened,
    Wire.NOT_OPENED: LinkJudge._not_opened,
    Wire.REQUEST: LinkJudge._request,
    Wire.ANSWER: LinkJudge._answer,
    Wire.REFUSAL: LinkJudge._refusal,
    Wire.SLEPT: LinkJudge._slept,
}
