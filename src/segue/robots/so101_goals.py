"""The goals of an arm's servos: which may be sent, and which have arrived.

A goal counts as arrived when a servo that is looked back at has it, and then for
all who were told theirs by the same packets (`packets_sent`). As long as that
is not known the next goal is within a tick's way of both, the old and the new.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from segue.clock import NS_PER_S
from segue.core.types import FloatArray
from segue.robots.goals import BoolArray, GoalLimit
from segue.robots.packets_sent import Packets
from segue.robots.so101_follow import Follow
from segue.robots.so101_units import ArmUnits

# Of a tick's way: below, the next goal is within reach of the old one and the new one as a rule.
_DOUBT = 0.4


class Goals:
    """The goals of one arm."""

    def __init__(self, units: ArmUnits, follow: Follow, tick_ns: int, goals: Mapping[int, int]) -> None:
        """Begins with the `goals` that the servos have, counts.

        Args:
            units: of the arm, with the speeds of its joints.
            follow: bounds how far a joint may be behind.
            tick_ns: time between two goals.
            goals: by servo.
        """
        self._packets = Packets(goals)
        self._units, self._follow = units, follow
        self._servos = list(units.ids.values())
        reach = np.array([each.max_speed for each in units.dimensions()]) * (tick_ns / NS_PER_S)
        self._limit = GoalLimit(reach, units.to_units(goals))
        self._wanted = self._limit.told
        middle = {joint.id: joint.range_min for joint in units.calibration.values()}
        beside = {servo: count + 1 for servo, count in middle.items()}
        a_count = np.abs(units.to_units(beside) - units.to_units(middle))
        self._doubt = np.maximum(a_count, _DOUBT * reach)

    @property
    def sent(self) -> Mapping[int, int]:
        """The newest goal that each servo was sent, counts."""
        return self._packets.sent

    def forget(self) -> None:
        """Begins anew to see who is behind, as after the computer slept."""
        self._follow.forget()

    def __repr__(self) -> str:
        return f"<Goals {self.sent} {self._limit!r}>"

    def bound(self, target: FloatArray, positions: Mapping[int, int], age_ns: int) -> dict[int, int]:
        """Returns what may be sent of `target`, shape (6,), counts by servo.

        Args:
            target: within the limits, the arm's units.
            positions: where the joints are, counts by servo.
            age_ns: of the positions.
        """
        wanted = self._limit.within(target)
        goals = self._units.to_counts(wanted)
        near = self._follow.bound(goals, positions, age_ns)
        if near != goals:
            cut = np.array([near[servo] != goals[servo] for servo in self._servos])
            # Back to where a joint is it goes no faster than anywhere else.
            wanted = self._limit.within(np.where(cut, self._units.to_units(near), wanted))
            goals = self._units.to_counts(wanted)
        self._wanted = wanted
        return goals

    def tell(self, sent: Mapping[int, int]) -> FloatArray:
        """Notes that of what `bound` returned last `sent` is on its way, and returns what each was told last.

        Returns:
            shape (6,), the arm's units.
        """
        self._packets.add(sent)
        self._limit.tell(self._wanted, self._mask(sent))
        return self._limit.told

    def witness(self, asked: Collection[int]) -> list[int]:
        """Returns whom to ask besides `asked` whether the goals in doubt have arrived; mostly nobody."""
        doubtful = np.flatnonzero(self._limit.unsure >= self._doubt)
        return self._packets.witness([self._servos[place] for place in doubtful], asked)

    def looked(self, goals: Mapping[int, int], whole: bool = False) -> None:
        """Takes the goals that servos were found to have, counts; `whole` when all were asked."""
        have = {servo for servo, goal in goals.items() if goal == self.sent[servo]}
        others = goals.keys() - have
        if others:
            self._limit.found(self._units.to_units({**self.sent, **goals}), self._mask(others))
        elif have and not whole:
            have |= self._packets.arrived_with(have)
        if have:
            self._limit.arrived(self._mask(have))
        self._packets.known({**{servo: goals[servo] for servo in others}, **{s: self.sent[s] for s in have}})

    def heed(self, positions: Mapping[int, int], now_ns: int) -> None:
        """Takes a fresh pose, counts by servo, beside the goals that were sent.

        Raises:
            SafetyLatch: a joint has been far behind for too long; it is named.
        """
        self._follow.heed(self.sent, positions, now_ns)

    def _mask(self, servos: Collection[int]) -> BoolArray:
        return np.array([servo in servos for servo in self._servos])
