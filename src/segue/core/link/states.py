"""The states of the link to the server, as a table, and how long to wait between dials.

    DOWN --dial--> DIALING --connected--> OPENING --opened--> READY
      ^               |                      |                  |
      +---- failed ---+-------- failed ------+----- failed -----+
                      +------- refused ------+---- refused ---> REFUSED

A broken link is always dialled on a fresh channel, and always followed by a
fresh handshake: the server may be another one. REFUSED is final, since asking
again would not change the answer. This file knows no socket and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class LinkState(StrEnum):
    """Where the link stands."""

    DOWN = "down"
    DIALING = "dialing"
    OPENING = "opening"
    READY = "ready"
    REFUSED = "refused"


class LinkEvent(StrEnum):
    """What may happen to it."""

    DIAL = "dial"
    CONNECTED = "connected"
    OPENED = "opened"
    STALE = "stale"  # the server does not know our session: open again on the same channel
    FAILED = "failed"
    REFUSED = "refused"


TRANSITIONS = MappingProxyType(
    {
        (LinkState.DOWN, LinkEvent.DIAL): LinkState.DIALING,
        (LinkState.DIALING, LinkEvent.CONNECTED): LinkState.OPENING,
        (LinkState.DIALING, LinkEvent.FAILED): LinkState.DOWN,
        (LinkState.DIALING, LinkEvent.REFUSED): LinkState.REFUSED,
        (LinkState.OPENING, LinkEvent.OPENED): LinkState.READY,
        (LinkState.OPENING, LinkEvent.FAILED): LinkState.DOWN,
        (LinkState.OPENING, LinkEvent.REFUSED): LinkState.REFUSED,
        (LinkState.READY, LinkEvent.FAILED): LinkState.DOWN,
        (LinkState.READY, LinkEvent.STALE): LinkState.OPENING,
        (LinkState.READY, LinkEvent.REFUSED): LinkState.REFUSED,
    }
)


def follow(state: LinkState, event: LinkEvent) -> LinkState:
    """Returns the state after `event`; an event that the table does not list changes nothing."""
    return TRANSITIONS.get((state, event), state)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting time between dials: its upper bound doubles up to `most_ms`, jitter keeps robots out of step.

    Attributes:
        first_ms: shortest wait; the server is never dialled faster than that.
        most_ms: longest wait, >= `first_ms`.
    """

    first_ms: float = 100.0
    most_ms: float = 500.0

    def wait_ns(self, failures: int, chance: float) -> int:
        """Returns how long to wait.

        Args:
            failures: dials that failed in a row, >= 1.
            chance: uniform in 0..1; the wait lies as far between the shortest and its upper bound.
        """
        bound_ms = min(self.first_ms * 2.0 ** min(failures, 16), self.most_ms)
        return int((self.first_ms + (bound_ms - self.first_ms) * chance) * 1_000_000)
