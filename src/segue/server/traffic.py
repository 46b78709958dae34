"""What is under way: the server's phase, and how many calls of whom are in flight.

Calls are let through while the server is serving and while their robot has
few enough of its own; a stop waits here until the last one has left. How often
one host may open a session is counted here as well, since it is known before
anything that the host says was looked at.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

from segue.server.rate import Buckets, Rate
from segue.server.refused import Refused
from segue.wire.refusal import Reason

# One running, one waiting, one that was just replaced and one whose pictures are being decoded.
MAX_CALLS_PER_ROBOT = 4
OPENS = Rate(per_s=4.0, burst=64)


class Phase(Enum):
    """The server's life."""

    LOADING = auto()
    SERVING = auto()
    DRAINING = auto()


_CLOSED = {
    Phase.LOADING: (Reason.NOT_READY, "the server is loading its policy"),
    Phase.DRAINING: (Reason.DRAINING, "the server is about to stop"),
}


class Traffic:
    """Counts calls in and out."""

    def __init__(self, opens: Rate = OPENS) -> None:
        """Lets nobody through before `enter`.

        Args:
            opens: how often one host may open a session.
        """
        self._changed = threading.Condition()
        self._phase = Phase.LOADING
        self._calls: Counter[str] = Counter()
        self._opens = Buckets(opens)

    def __repr__(self) -> str:
        return f"<Traffic {self._phase.name} calls={self._calls.total()}>"

    @property
    def phase(self) -> Phase:
        """The present phase."""
        return self._phase

    def enter(self, phase: Phase) -> None:
        """Moves on to `phase`; from DRAINING there is no way back."""
        with self._changed:
            if self._phase is not Phase.DRAINING:
                self._phase = phase

    def check_open(self) -> None:
        """Refuses unless the server is serving.

        Raises:
            Refused: it is loading or draining.
        """
        closed = _CLOSED.get(self._phase)
        if closed is not None:
            raise Refused(*closed)

    def count_open(self, host: str, now_ns: int) -> None:
        """Counts one handshake of `host`.

        Raises:
            Refused: there were too many lately.
        """
        with self._changed:
            if not self._opens.take(host, now_ns):
                raise Refused(Reason.FULL, "too many sessions are being opened from this host")

    @contextmanager
    def call(self, robot: str) -> Iterator[None]:
        """Counts one call of `robot` while it lasts.

        Args:
            robot: session id.

        Raises:
            Refused: the server is not serving, or this robot has too many calls in flight.
        """
        with self._changed:
            self.check_open()
            if self._calls[robot] >= MAX_CALLS_PER_ROBOT:
                sentence = f"{MAX_CALLS_PER_ROBOT} requests of this robot are in flight already"
                raise Refused(Reason.FULL, sentence)
            self._calls[robot] += 1
        try:
            yield
        finally:
            self._leave(robot)

    def wait_idle(self, timeout_s: float) -> bool:
        """Waits until no call is in flight; returns False when some still are after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._calls, timeout_s)

    def _leave(self, robot: str) -> None:
        with self._changed:
            self._calls[robot] -= 1
            if not self._calls[robot]:
                del self._calls[robot]
            self._changed.notify_all()
