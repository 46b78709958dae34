"""Whether the arm follows its goals: a joint that is blocked must not snap when it comes free.

The speed limit is one of commands. A joint that is held back falls behind them,
and would go the whole way at the motor's full speed once nothing holds it any
more. So no goal is further from where the joint is than it can be behind in
motion, and a joint that stays far behind is a danger that a person has to look
at. The gripper is left out: it closes on things, and is behind by design.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from segue.clock import NS_PER_MS, NS_PER_S
from segue.errors import SafetyLatch
from segue.robots.so101_health import Health
from segue.robots.sts3215 import COUNTS_PER_TURN

_COUNTS_PER_DEG = COUNTS_PER_TURN / 360
# At 180 degrees a second a soft servo is behind by some 25 degrees, for as long as it moves.
REACH_COUNTS = round(45 * _COUNTS_PER_DEG)
REACH_COUNTS_S = 180 * _COUNTS_PER_DEG
BEHIND_COUNTS = round(30 * _COUNTS_PER_DEG)
BEHIND_LIMIT_NS = 500 * NS_PER_MS
# A joint that comes along so far in that time is only slow.
MOVING_COUNTS = round(10 * _COUNTS_PER_DEG)


class _Spell(NamedTuple):
    """Since when a joint is far behind, and where it was then."""

    since_ns: int
    at: int


class Follow:
    """Compares goals and positions of some servos."""

    def __init__(self, health: Health, servos: Collection[int]) -> None:
        """Takes the servos that have to follow."""
        self._health = health
        self._behind: dict[int, _Spell | None] = dict.fromkeys(servos)

    def __repr__(self) -> str:
        return f"<Follow behind={self._behind}>"

    def bound(self, goals: Mapping[int, int], positions: Mapping[int, int], age_ns: int) -> dict[int, int]:
        """Returns `goals` no further from `positions`, which are `age_ns` old, than a joint may be behind."""
        reach = REACH_COUNTS + round(REACH_COUNTS_S * age_ns / NS_PER_S)
        bounded = dict(goals)
        for servo in self._behind.keys() & goals.keys():
            at = positions[servo]
            bounded[servo] = min(max(goals[servo], at - reach), at + reach)
        return bounded

    def forget(self) -> None:
        """Begins anew to see who is behind."""
        self._behind = dict.fromkeys(self._behind)

    def heed(self, goals: Mapping[int, int], positions: Mapping[int, int], now_ns: int) -> None:
        """Takes a fresh pose beside the goals that were sent.

        Raises:
            SafetyLatch: a joint has been far behind for too long; it is named.
        """
        for servo, spell in self._behind.items():
            at = positions[servo]
            behind = abs(goals.get(servo, at) - at)
            if behind <= BEHIND_COUNTS:
                self._behind[servo] = None
            elif spell is None or abs(at - spell.at) >= MOVING_COUNTS:
                self._behind[servo] = _Spell(now_ns, at)
            elif now_ns - spell.since_ns >= BEHIND_LIMIT_NS:
                degrees = behind / _COUNTS_PER_DEG
                raise SafetyLatch(
                    f"{self._health.name(servo)} does not follow: {degrees:.0f}° behind its goal"
                )
