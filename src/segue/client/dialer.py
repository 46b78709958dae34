"""Dials, opens, and dials again: the one who knows in which state the link is.

The states and what may follow what are the core's table; this file does what
each move means. A broken link is dialled on a fresh channel and followed by a
fresh handshake, since whoever answers may be another server. It waits only as
long as one dial takes; when to dial again is told, not slept for.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from segue.client.channel import CallFailed, PolicyChannel, Session, refused
from segue.client.diagnose import certain_refusal
from segue.client.plan import LinkPlan
from segue.clock import Clock
from segue.core.link import LinkEvent, LinkState, follow
from segue.errors import AuthenticationError, Overloaded, SegueError
from segue.wire.records import Handshake

# A connection may take twice what the last one took; before the first, twice what was too short.
_PATIENCE = 2
_MOST_PATIENCE = 4


class DialFailed(Exception):
    """Nobody opened a session this time; a later dial may succeed."""


def _nothing() -> None:
    """Is called when a connection breaks that nobody watches."""


class Dialer:
    """The link's state, its channel and its session; `on_broken` is called when the connection breaks."""

    def __init__(self, plan: LinkPlan, handshake: Handshake, clock: Clock) -> None:
        """Starts with the link down."""
        self.state = LinkState.DOWN
        self.channel: PolicyChannel | None = None
        self.session: Session | None = None
        self.failures = 0
        self.due_ns = 0
        self.on_broken: Callable[[], None] = _nothing
        self._plan = plan
        self._handshake = handshake
        self._clock = clock
        self._patience_ns = plan.connect_timeout_ns

    def __repr__(self) -> str:
        return f"<Dialer {self.state.value} {self._plan.server_address} failures={self.failures}>"

    def dial(self) -> Session:
        """Connects on a fresh channel and opens a session.

        Raises:
            DialFailed: not now; `due_ns` says when to try again.
            SegueError: refused, and asking again would not change it.
        """
        self.close()
        self._move(LinkEvent.DIAL)
        plan, began_ns = self._plan, self._clock.now_ns()
        self.channel = PolicyChannel(plan.server_address, self._clock, self._tell, plan.security)
        if not self.channel.connect(self._patience_ns):
            raise self._unconnected(self.channel)
        took_ns = self._clock.now_ns() - began_ns
        self._patience_ns = max(plan.connect_timeout_ns, _PATIENCE * took_ns)
        self._move(LinkEvent.CONNECTED)
        return self._open(self.channel)

    def reopen(self) -> Session:
        """Opens a new session on the present channel: the server does not know the old one.

        Raises:
            DialFailed: not now; the next step is `dial`.
            SegueError: refused, and asking again would not change it.
        """
        self._move(LinkEvent.STALE)
        if self.channel is None:
            raise self._failed("no channel")
        return self._open(self.channel)

    def lost(self) -> None:
        """Notes that the link failed: the next dial is due at once."""
        self._move(LinkEvent.FAILED)
        self.failures = 0
        self.due_ns = self._clock.now_ns()

    def close(self) -> None:
        """Closes the channel; may be called twice."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def _tell(self) -> None:
        self.on_broken()

    def _open(self, channel: PolicyChannel) -> Session:
        previous = self.session.welcome.session_id if self.session else ""
        handshake = replace(self._handshake, previous_session_id=previous)
        try:
            self.session = channel.open(handshake, self._plan.handshake_timeout_ns)
        except CallFailed as failure:
            error = refused(failure)
            # A robot that was let in once waits for a place; a newcomer is told that there is none.
            if error is None or (self.session is not None and isinstance(error, Overloaded)):
                raise self._failed(str(failure)) from None
            self._move(LinkEvent.REFUSED)
            raise error from None
        except SegueError:
            self._move(LinkEvent.REFUSED)
            raise
        self._move(LinkEvent.OPENED)
        self.failures = 0
        return self.session

    def _unconnected(self, channel: PolicyChannel) -> Exception:
        """Returns what to raise when no connection came about.

        A dial that timed out is not looked into: the look would take as long again, and a network
        that comes back is to be met by the next dial.
        """
        plan = self._plan
        if not channel.turned_away and self.session is None:
            # The way may be long: TLS takes three round trips. No arm is waiting yet.
            self._patience_ns = min(_PATIENCE * self._patience_ns, _MOST_PATIENCE * plan.connect_timeout_ns)
        if channel.turned_away:
            why = certain_refusal(plan.server_address, plan.security, plan.connect_timeout_ns)
            if why is not None:
                self._move(LinkEvent.REFUSED)
                return AuthenticationError(why)
        return self._failed("no connection")

    def _failed(self, cause: str) -> DialFailed:
        self._move(LinkEvent.FAILED)
        self.failures += 1
        self.due_ns = self._clock.now_ns() + self._plan.backoff.wait_ns(self.failures, random.random())
        return DialFailed(f"{self._plan.server_address}: {cause}")

    def _move(self, event: LinkEvent) -> None:
        self.state = follow(self.state, event)
