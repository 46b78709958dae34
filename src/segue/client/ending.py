"""How a run ends: asked to by a signal, or for a reason of its own; and the exit code of each.

The first wish asks for the orderly end (stop asking, hold, park), the second
for the quick one (stay where the arm is, and go). One wish may be several
signals: a service manager signals every process of a run at once, so that the
control process hears of it twice; a terminal that closes sends HUP twice within
milliseconds, and some send TERM and HUP. What counts as one is a rule with
times (`StopSwitch`), the same in both processes. A handler only counts: what is
to be done is done by the loop, at its next tick.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from segue.client.pages import StopRelay
from segue.clock import NS_PER_MS, NS_PER_S, now_ns
from segue.core.facts import ExitReason
from segue.signals import SIGNALLED

_INT = int(signal.SIGINT)
# What comes so soon is the same wish: tmux and a shell send HUP twice within milliseconds.
REPEAT_NS = 150 * NS_PER_MS
# TERM and HUP together mean what either of them means.
ENDS_NS = 1 * NS_PER_S
_ENDS = {int(signal.SIGHUP), int(signal.SIGTERM)}
# Both processes of a run may be sent the same signal, and one is inside a driver's long call meanwhile.
ECHO_NS = 10 * NS_PER_S

# ExitReason.SIGNALLED is missing: it is 128 + the number of the signal.
EXIT_CODES: Mapping[ExitReason, int] = MappingProxyType(
    {
        ExitReason.DONE: 0,
        ExitReason.LINK_LOST: 69,
        ExitReason.CAMERA: 74,
        ExitReason.ROBOT: 74,
        ExitReason.OTHER_POLICY: 76,
        ExitReason.REFUSED: 76,
        ExitReason.BAD_CHUNKS: 80,
        ExitReason.NO_ANSWER: 69,
        ExitReason.OVERLOADED: 75,
        ExitReason.POLICY_FAILED: 70,
        ExitReason.PROTOCOL: 76,
        ExitReason.DANGER: 80,
    }
)


@dataclass(frozen=True, slots=True)
class StopWish:
    """One wish for the end: when each signal of it came first, by `segue.clock.now_ns`."""

    first_ns: Mapping[int, int]

    @property
    def began_ns(self) -> int:
        """When its first signal came."""
        return min(self.first_ns.values())

    @property
    def signal(self) -> int:
        """The signal that it is known by: the largest number, in whatever order they came."""
        return max(self.first_ns)

    def joins(self, number: int, at_ns: int) -> bool:
        """Returns whether a later signal to the same process belongs to this wish."""
        since_ns = at_ns - self.began_ns
        again_ns = at_ns - self.first_ns.get(number, self.began_ns)
        return min(since_ns, again_ns) <= REPEAT_NS or (since_ns <= ENDS_NS and self._ends_with(number))

    def echoes(self, other: StopWish) -> bool:
        """Returns whether `other`, which another process heard, is the same wish."""
        known = other.signal in self.first_ns or self._ends_with(other.signal)
        return known and abs(other.began_ns - self.began_ns) <= ECHO_NS

    def with_all(self, more: Mapping[int, int]) -> StopWish:
        """Returns this wish with the signals of `more`."""
        return StopWish({**more, **self.first_ns})

    def _ends_with(self, number: int) -> bool:
        return self.first_ns.keys() | {number} == _ENDS


def wishes_of(told: Sequence[tuple[int, int]], heard: Sequence[StopWish] = ()) -> list[StopWish]:
    """Returns the wishes behind some signals, in order of time.

    Args:
        told: signals to this process and when they came, in order.
        heard: the wishes that another process counted, in order.
    """
    mine: list[StopWish] = []
    for number, at_ns in told:
        if mine and mine[-1].joins(number, at_ns):
            mine[-1] = mine[-1].with_all({number: at_ns})
        else:
            mine.append(StopWish({number: at_ns}))
    alone = list(mine)
    found: list[StopWish] = []
    for theirs in heard:
        same = next((wish for wish in alone if wish.echoes(theirs)), None)
        if same is not None:
            alone.remove(same)
        found.append(theirs if same is None else same.with_all(theirs.first_ns))
    return sorted([*found, *alone], key=lambda wish: wish.began_ns)


class StopSwitch:
    """Counts the wishes for the end.

    What comes is only kept, so that a signal's handler may ask at any moment; it is counted when
    somebody looks.
    """

    def __init__(self, relay: StopRelay | None = None) -> None:
        """Nobody has asked yet.

        Args:
            relay: what another process counts, which is looked at whenever this is.
        """
        self._told: list[tuple[int, int]] = []
        self._heard: list[StopWish] = []
        self._relay = relay

    def __repr__(self) -> str:
        return f"<StopSwitch asked={self.asked}>"

    @property
    def asked(self) -> int:
        """How many wishes there were."""
        return len(self._wishes())

    @property
    def at_ns(self) -> int:
        """When the newest wish began; 0 before the first."""
        wishes = self._wishes()
        return wishes[-1].began_ns if wishes else 0

    @property
    def signal(self) -> int:
        """The signal of the newest wish."""
        wishes = self._wishes()
        return wishes[-1].signal if wishes else _INT

    def ask(self, number: int = _INT, at_ns: int | None = None) -> None:
        """Asks for the end, as a signal of that number would.

        Args:
            number: of the signal.
            at_ns: when it came, by `segue.clock.now_ns`; None means just now.
        """
        self._told.append((int(number), now_ns() if at_ns is None else at_ns))

    def _wishes(self) -> list[StopWish]:
        if self._relay is not None:
            self._hear(*self._relay.get())
        return wishes_of(tuple(self._told), self._heard) if self._told or self._heard else []

    def _hear(self, asked: int, number: int, at_ns: int) -> None:
        while len(self._heard) < asked:
            self._heard.append(StopWish({number: at_ns}))
        if self._heard and number not in self._heard[-1].first_ns:  # it joined the wish meanwhile
            self._heard[-1] = self._heard[-1].with_all({number: at_ns})


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended.

    Attributes:
        reason: why.
        signal: the signal behind `SIGNALLED`.
        detail: one sentence more, may be empty.
        summary: the numbers of the run.
    """

    reason: ExitReason
    signal: int = 0
    detail: str = ""
    summary: Mapping[str, object] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        return SIGNALLED + self.signal if self.reason is ExitReason.SIGNALLED else EXIT_CODES[self.reason]
