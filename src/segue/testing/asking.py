"""The oracle's books of delays: what was learnt of them, and when a chunk had to be asked for.

Worked out from the requests and answers of a run, with none of the core's code:
a forecast of its own, the step of the last request that was answered, and the
rule as the design says it. Where the oracle cannot know a forecast, because
nothing but a handshake had been measured, it judges nothing that depends on it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

from segue.core.facts import ExecutorConfig, RequestMissed
from segue.core.schedule import DropReason
from segue.core.types import ChunkRequest, Strategy

NS_PER_S = 1_000_000_000
REMEMBERED = 10
# Of these a session survives: the server did not answer in time, or too late for its answer to be used.
_SESSION_STAYS = ("deadline", DropReason.TOO_OLD.value)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was known when a request was made: the forecast, and whether the session had answered before."""

    forecast: int | None
    warm: bool


class AskingBooks:
    """What one run knows of its delays; `jumped` steps were gone past without beginning them."""

    def __init__(self, config: ExecutorConfig) -> None:
        self.asked: Asked | None = None
        self.answered_step = 0
        self.jumped = 0
        self._rule = config.rule
        self._tick_hz = Fraction(config.control_hz)
        self._ticks_per_step = Fraction(config.control_hz) / Fraction(config.action_hz)
        self._delays: deque[int] = deque(maxlen=REMEMBERED)
        self._suspected = 0
        self._warm = False

    def __repr__(self) -> str:
        return f"<AskingBooks {self.forecast} {list(self._delays)}>"

    @property
    def forecast(self) -> int | None:
        """The longest of the last delays in steps; None before the first."""
        return max(*self._delays, self._suspected, 1) if self._delays else None

    def begins(self, linked: bool) -> None:
        """Notes a tick, and whether a session is open on it."""
        self._warm = self._warm and linked

    def missed(self, event: RequestMissed) -> None:
        """Notes a failure; what is not a mere silence may mean another session."""
        self._warm = self._warm and event.cause in _SESSION_STAYS

    def steps(self, round_trip_ns: int) -> int:
        """Returns a round trip in steps, counted in ticks and rounded up."""
        return max(1, math.ceil(self._ticks(round_trip_ns) / self._ticks_per_step))

    def passed(self, round_trip_ns: int) -> int:
        """Returns how many steps would have begun before the tick on which an answer is merged."""
        count = 0
        while math.ceil(count * self._ticks_per_step) < self._ticks(round_trip_ns):
            count += 1
        return count

    def answered(self, request: ChunkRequest, round_trip_ns: int, said: int | None, linked: bool) -> str:
        """Notes an answer that was taken, whether or not anything of it was left; returns what is wrong.

        Args:
            request: what it answers.
            round_trip_ns: requesting tick to this one.
            said: the delay that the executor learnt; None for none.
            linked: whether a session is open.
        """
        self.answered_step = request.start_step
        return self._learnt(round_trip_ns, said, linked)

    def too_old(self, round_trip_ns: int, said: int | None, linked: bool) -> str:
        """Notes an answer that was refused for its age; returns what is wrong."""
        if said is None:
            self._suspected = self.steps(round_trip_ns)
        return self._learnt(round_trip_ns, said, linked)

    def _learnt(self, round_trip_ns: int, said: int | None, linked: bool) -> str:
        steps, warm = self.steps(round_trip_ns), self.asked is not None and self.asked.warm
        self._warm = linked
        if said is None:
            return f"a warm answer of {steps} steps taught nothing" if warm else ""
        self._delays.append(said)
        self._suspected = 0
        return "" if said == steps else f"{said} steps were learnt, it took {steps}"

    def _ticks(self, duration_ns: int) -> int:
        return round(duration_ns * self._tick_hz / NS_PER_S)

    def due(self, left: int, step: int) -> bool | None:
        """Returns whether it is time to ask; None where that depends on what the oracle cannot know.

        Args:
            left: actions planned, the next one included.
            step: the next one.
        """
        rule, forecast = self._rule, self.forecast
        if left == 0:
            return True
        if rule.strategy is Strategy.SYNC:
            return False
        low_water = int(round(rule.threshold * rule.horizon, 9))
        enough = step - self.answered_step >= rule.min_execution_steps
        if forecast is None:
            return None
        if forecast >= rule.horizon:
            return False
        return left <= forecast + 1 or (left <= low_water and enough)

    def ask(self) -> None:
        """Notes a request."""
        self.asked = Asked(self.forecast, self._warm)
