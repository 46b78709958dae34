"""How many steps the next inference will probably take.

A forecast, used to tell the policy what to treat as fixed and to set
deadlines; never to decide how much of a chunk is skipped. It is the largest of
the last ten round trips, so a spike is remembered for ten chunks and no longer.
Cold starts (first inference, compilation, reconnect) are left out. One that was
so slow that its answer could not be used may have been no cold start at all: it
is believed until the next answer shows which.
"""

from __future__ import annotations

import math
from collections import deque
from fractions import Fraction

WINDOW = 10


class DelayForecast:
    """The delay forecast of one robot.

    Source: RTC Algorithm 1 (arXiv:2506.07339), TIMELINE rule 7.
    """

    def __init__(self, action_hz: float, control_hz: float) -> None:
        self._steps_per_tick = Fraction(action_hz) / Fraction(control_hz)
        self._control_hz = Fraction(control_hz)
        self._action_hz = Fraction(action_hz)
        self._step_ns = 1_000_000_000 / self._action_hz
        self._declared_steps = 1
        self._suspected_steps = 0
        self._samples: deque[int] = deque(maxlen=WINDOW)

    def __repr__(self) -> str:
        return f"<DelayForecast steps={self.steps} samples={list(self._samples)}>"

    @property
    def steps(self) -> int:
        """The forecast in steps, >= 1."""
        known = max(self._samples) if self._samples else self._declared_steps
        return max(known, self._suspected_steps)

    @property
    def time_ns(self) -> int:
        """The forecast as a time."""
        return self.steps * self._step_ns.numerator // self._step_ns.denominator

    def declare(self, handshake_ns: int, warm_inference_ns: int) -> None:
        """Sets what is assumed before the first sample: handshake round trip plus declared inference."""
        exact = Fraction(handshake_ns + warm_inference_ns, 1_000_000_000) * self._action_hz
        self._declared_steps = max(1, _ceil(exact))

    def observe(self, round_trip_ns: int) -> int:
        """Adds a round trip, from the requesting tick to the one that took the chunk; returns it in steps."""
        self._suspected_steps = 0
        steps = self.steps_of(round_trip_ns)
        self._samples.append(steps)
        return steps

    def suspect(self, round_trip_ns: int) -> None:
        """Notes a round trip that may have been a cold start, to be believed until the next answer."""
        self._suspected_steps = self.steps_of(round_trip_ns)

    def steps_of(self, round_trip_ns: int) -> int:
        """Returns a round trip in steps, rounded up, at least 1.

        It is counted in ticks, to the nearest, because both ends lie on ticks: a wake-up that is
        late by microseconds must not make a step of it.
        """
        return max(1, _ceil(self._ticks(round_trip_ns) * self._steps_per_tick))

    def begun_in(self, round_trip_ns: int) -> int:
        """Returns how many steps would have begun in that time, the first of them on its first tick."""
        ticks = self._ticks(round_trip_ns)
        return 0 if ticks < 1 else 1 + math.floor((ticks - 1) * self._steps_per_tick)

    def _ticks(self, duration_ns: int) -> int:
        return round(Fraction(duration_ns, 1_000_000_000) * self._control_hz)


def _ceil(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)
