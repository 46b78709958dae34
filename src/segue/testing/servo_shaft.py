"""What an emulated servo turns: a free shaft by default.

Angles are counts of the encoder, 4096 to a turn, as a number that does not
wrap. The free shaft follows its goal with the speed and the acceleration that
it is given, stays where it is without torque, can be pushed by hand and can be
held fast. It knows no gravity: a joint that falls needs a simulated arm, which
is another `Shaft`.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from segue.clock import NS_PER_S

# 52 turns a minute at 7.4 V without load.
TOP_SPEED_COUNTS_S = 52 / 60 * 4096
FULL_EFFORT = 1000.0  # of the motor's voltage, in thousandths
# At its factory gain an STS3215 gives its full voltage about this far from its goal.
FULL_EFFORT_COUNTS = 100
FACTORY_GAIN = 32
# With less of its torque a servo still holds an arm that rests on it, but no longer moves it.
CARRYING_SHARE = 0.25

_STEP_NS = 1_000_000
_REST_COUNTS = 0.01
_MOVING_EFFORT = 60.0


class Order(NamedTuple):
    """What a servo wants of its shaft.

    Attributes:
        goal: where to, counts.
        share: of the full torque that may be used, 0 to 1; at 0 the shaft is free.
        speed: at most, counts/s.
        acceleration: at most, counts/s^2.
        gain: the servo's P coefficient.
    """

    goal: float
    share: float
    speed: float
    acceleration: float
    gain: int


FREE = Order(0.0, 0.0, 0.0, 0.0, 0)


class Shaft(Protocol):
    """What a servo turns and measures.

    Attributes:
        position: counts, not wrapped.
        speed: counts/s, signed.
        effort: of the motor, thousandths of its full voltage, signed.
    """

    position: float
    speed: float
    effort: float

    def obey(self, order: Order) -> None:
        """Goes by `order` from where it is now on."""
        ...

    def turn(self, now_ns: int) -> None:
        """Moves from where it was at the last call to where it is at `now_ns`."""
        ...

    def push(self, counts: float) -> None:
        """Moves by hand, as far as the motor lets it."""
        ...


class FreeShaft:
    """A shaft without anything on it."""

    def __init__(self, position: float) -> None:
        self.position = position
        self.speed = 0.0
        self.effort = 0.0
        self.blocked = False
        self._order = FREE
        self._now_ns: int | None = None

    def __repr__(self) -> str:
        return f"<FreeShaft at={self.position:.1f}{' blocked' if self.blocked else ''}>"

    def obey(self, order: Order) -> None:
        """Goes by `order` from where it is now on."""
        self._order = order

    def turn(self, now_ns: int) -> None:
        """Moves to where it is at `now_ns`; the first call only sets the time."""
        before_ns = now_ns if self._now_ns is None else self._now_ns
        self._now_ns = max(before_ns, now_ns)
        if self.blocked or self._order.share < CARRYING_SHARE:
            self.speed = 0.0
        else:
            self._run(self._order, now_ns - before_ns)
        self.effort = self._effort(self._order)

    def push(self, counts: float) -> None:
        """Moves by hand; a motor with torque does not let it."""
        if self._order.share < CARRYING_SHARE:
            self.position += counts

    def _run(self, order: Order, span_ns: int) -> None:
        while span_ns > 0 and (self.speed or abs(order.goal - self.position) > _REST_COUNTS):
            step_s = min(span_ns, _STEP_NS) / NS_PER_S
            span_ns -= _STEP_NS
            self._step(order, step_s)

    def _step(self, order: Order, step_s: float) -> None:
        away = order.goal - self.position
        change = order.acceleration * step_s
        # The fastest from which it can still stop at the goal, braking in whole steps.
        braking = math.sqrt(change * change / 4.0 + 2.0 * order.acceleration * abs(away)) - change / 2.0
        wanted = math.copysign(min(order.speed, braking, abs(away) / step_s), away)
        speed = max(self.speed - change, min(self.speed + change, wanted))
        self.position += speed * step_s
        self.speed = speed
        if abs(order.goal - self.position) <= _REST_COUNTS and abs(speed) <= 2.0 * change:
            self.position, self.speed = order.goal, 0.0

    def _effort(self, order: Order) -> float:
        away = order.goal - self.position
        if not order.share:
            return 0.0
        if self.speed:
            return math.copysign(_MOVING_EFFORT + 240.0 * abs(self.speed) / TOP_SPEED_COUNTS_S, self.speed)
        asked = away / FULL_EFFORT_COUNTS * order.gain / FACTORY_GAIN
        return max(-1.0, min(1.0, asked)) * order.share * FULL_EFFORT
