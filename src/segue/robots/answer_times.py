"""How long answers take beyond their bytes, learnt from those that come.

An adapter on USB hands bytes on by the millisecond; an FTDI that nobody asked
to hurry, one behind a virtual machine or WSL2, does so every 16 ms. Whoever
waits 2 ms for such a one hears nobody, ever. So where most answers are slow a
question is given half as much again as the slowest of the last ones took, and
after a question that nobody answered the next one is given all the time there
is: it may be the adapter that became slow. Pure; durations in, durations out.
"""

from __future__ import annotations

from segue.clock import NS_PER_MS

# What a USB adapter and its driver add to an answer: a frame each way, and a late wake-up.
ADAPTER_MARGIN_NS = 2 * NS_PER_MS
# One question for everything costs six servos 0.8 ms more of wire than two, and one answer time less.
_SLOW_NS = 800_000
# As long is the slowest answer remembered, at least; at most twice that.
_REMEMBERED = 64
# Whether most of so many answers were slow: one late wake-up is no adapter.
_RECENT = 16
_RECENT_BITS = (1 << _RECENT) - 1
# One or two late answers may be what a cable or a busy machine did.
_FEW = 3


class AnswerTimes:
    """The answer times of one line.

    Attributes:
        overdue_questions: how many were answered when nobody waited any more.
        longest_overdue_ns: the longest that such an answer took.
        newest_ns: how long the newest answer took that was whole.
    """

    def __init__(self) -> None:
        self.overdue_questions = 0
        self.longest_overdue_ns = 0
        self.newest_ns = 0
        # The slowest of the last answers, and of those before them.
        self._slowest = [0, 0]
        self._counted = 0
        self._slow_bits = 0
        self._unsure = False
        self._overdue: list[int] = []

    def __repr__(self) -> str:
        return f"<AnswerTimes patience={self.patience_ns} slow={self.slow} overdue={self.overdue_ns}>"

    @property
    def patience_ns(self) -> int | None:
        """How much longer than its bytes an answer may take; None for as long as there is time."""
        if self._unsure:
            return None
        # Of a quick line a late answer is this machine's doing, and is heard while it is asked for again.
        return max(ADAPTER_MARGIN_NS, max(self._slowest) * 3 // 2) if self.slow else ADAPTER_MARGIN_NS

    @property
    def slow(self) -> bool:
        """Whether a second question costs more than a longer answer to the first."""
        return self._slow_bits.bit_count() > _RECENT // 2

    @property
    def overdue_ns(self) -> int | None:
        """How long answers take that come when nobody waits any more; None where none, or few, do."""
        return max(self._overdue) if len(self._overdue) >= _FEW else None

    def note(self, late_ns: int) -> None:
        """Takes how long after its bytes could have come the answer to a question was whole."""
        self.newest_ns = late_ns
        if self._counted >= _REMEMBERED:
            self._slowest, self._counted = [0, self._slowest[0]], 0
        self._counted += 1
        self._slowest[0] = max(self._slowest[0], late_ns)
        self._slow_bits = (self._slow_bits << 1 | (late_ns > _SLOW_NS)) & _RECENT_BITS
        self._unsure = False
        self._overdue.clear()

    def note_answered(self, by_anybody: bool) -> None:
        """Notes whether a question in a tick was answered in time, wholly or in part."""
        self._unsure = not by_anybody

    def note_overdue(self, late_ns: int) -> None:
        """Takes how long an answer took that came too late to be of use."""
        self._overdue.append(late_ns)
        self.overdue_questions += 1
        self.longest_overdue_ns = max(self.longest_overdue_ns, late_ns)
