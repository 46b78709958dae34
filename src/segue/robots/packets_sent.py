"""What one servo's goal says of the others': all goals travel in one packet, and nobody takes half of it.

Nobody confirms a packet of goals, but a servo can be asked which goal it has. If
it has the newest, one of the packets arrived that carried that goal to it; and
so has everybody who was told the same in all of those. A servo whose goal did
not change, or that had the same one a while ago, says nothing of the packets in
between. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


class Packets:
    """The packets of goals that were sent, by number.

    Attributes:
        sent: the newest goal of each servo, counts.
    """

    def __init__(self, goals: Mapping[int, int]) -> None:
        """Begins with `goals`, which the servos are known to have."""
        self.sent = dict(goals)
        self._number = 0
        # The first of the packets that carried a servo's newest goal, and the last that went without it.
        self._since = dict.fromkeys(goals, 0)
        self._left_out = dict.fromkeys(goals, -1)
        # What a servo may have besides the newest.
        self._older: dict[int, set[int]] = {servo: set() for servo in goals}

    def __repr__(self) -> str:
        return f"<Packets {self._number} since={self._since}>"

    def add(self, goals: Mapping[int, int]) -> None:
        """Takes the goals that are on their way now, counts by servo."""
        self._number += 1
        for servo, before in self.sent.items():
            goal = goals.get(servo)
            if goal is None:
                self._left_out[servo] = self._number
            elif goal != before:
                if self._since[servo] < self._number:
                    self._older[servo].add(before)
                self.sent[servo], self._since[servo] = goal, self._number

    def known(self, goals: Mapping[int, int]) -> None:
        """Takes the goals that servos are known to have, counts by servo."""
        for servo, goal in goals.items():
            if goal == self.sent[servo]:
                self._older[servo].clear()
            else:
                # So the newest has not arrived yet; if it does, then by a packet to come.
                self._older[servo], self._since[servo] = {goal}, self._number + 1

    def arrived_with(self, servos: Collection[int]) -> set[int]:
        """Returns who has its newest goal because `servos` have theirs."""
        since = max((self._since[servo] for servo in servos if self._testifies(servo)), default=None)
        if since is None:
            return set()
        return {s for s, first in self._since.items() if first <= since and self._left_out[s] < since}

    def witness(self, doubtful: Sequence[int], asked: Collection[int]) -> list[int]:
        """Returns whom to ask whether the `doubtful` have their goals, unless `asked` can tell."""
        since = max((self._since[servo] for servo in doubtful), default=None)
        if since is None or any(self._since[s] >= since and self._testifies(s) for s in asked):
            return []
        able = [servo for servo in self.sent if self._testifies(servo)]
        return [max(able or doubtful, key=self._since.__getitem__)]

    def _testifies(self, servo: int) -> bool:
        """Returns whether a servo can have its newest goal only by the newest packets."""
        return self.sent[servo] not in self._older[servo]
