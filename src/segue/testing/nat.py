"""A router that translates addresses and forgets: what it knows of a connection ends by silence.

A home router or a mobile network keeps a mapping for each connection, and drops
it when nothing was sent either way for a while: minutes mostly, 30 s where
memory is short. Neither end is told. What is sent afterwards is thrown away, or
answered by a reset. Pure: the caller says what time it is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Nat:
    """The router, the same for all connections.

    Attributes:
        after_s: silence after which a mapping is forgotten; 0 means never.
        resets: what is sent on a forgotten mapping is answered by a reset, instead of not at all.
    """

    after_s: float = 0.0
    resets: bool = False


class Mapping:
    """What the router knows of one connection."""

    def __init__(self, nat: Nat, now_s: float) -> None:
        """Begins with the connection, at `now_s`."""
        self.forgotten = False
        self._nat = nat
        self._used_s = now_s

    def __repr__(self) -> str:
        return f"<Mapping {'forgotten' if self.forgotten else 'known'} used_s={self._used_s:g}>"

    def carries(self, now_s: float) -> bool:
        """Notes that something is sent, either way; returns whether it goes through.

        Raises:
            ConnectionResetError: it does not, and the router says so.
        """
        nat = self._nat
        self.forgotten = self.forgotten or 0.0 < nat.after_s < now_s - self._used_s
        self._used_s = now_s
        if self.forgotten and nat.resets:
            raise ConnectionResetError("the mapping was forgotten")
        return not self.forgotten
