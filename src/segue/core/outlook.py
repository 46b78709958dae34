"""Whether the plan will last, judged anew as round trips are measured, and said without chattering.

The laws are those of `feasibility`, and they hold for a steady delay. One slow
answer is none: it takes two in a row to make things worse, and to make them
better a forecast, which is the longest of ten, that is well below the bound for
a while. The while doubles each time, so that a network that swings makes less
and less noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from segue.core.feasibility import NS_PER_S, longest_delay, oldest_action_ns, starved_share
from segue.core.schedule import RequestRule
from segue.core.types import Strategy

# Better is said when it has been so for that long.
QUIET_NS = 10 * NS_PER_S
# And when the delay is below the bound by a tenth of the chunk.
MARGIN = 0.1


class Standing(IntEnum):
    """How a delay and a chunk's length go together, from best to worst."""

    LASTS = 0  # the plan never runs dry
    RUNS_DRY = 1  # it does, in a known share of the time
    OUTLASTED = 2  # an answer takes a whole chunk's time or more: asked for on an empty plan only
    TOO_OLD = 3  # actions would get older than any may be


@dataclass(frozen=True, slots=True)
class OutlookChanged:
    """The fact that the plan lasts no longer, or lasts again.

    Attributes:
        before, after: the standing.
        delay_steps: the delay behind it.
        starved_share: of the time with that delay, 0..1.
        oldest_ns: how old actions get with it.
    """

    before: Standing
    after: Standing
    delay_steps: int
    starved_share: float
    oldest_ns: int


class Outlook:
    """Says when the standing of one run changes."""

    def __init__(self, rule: RequestRule, action_hz: float, blends: bool) -> None:
        """Starts silent: `begin` says with what."""
        self.said = Standing.LASTS
        self._rule = rule
        self._action_hz = action_hz
        self._blends = blends
        self._ceiling_ns: int | None = None
        self._last_steps = 0
        self._better_since_ns: int | None = None
        self._quiet_ns = QUIET_NS

    def __repr__(self) -> str:
        return f"<Outlook {self.said.name}>"

    def begin(self, delay_steps: int, ceiling_ns: int) -> None:
        """Takes what was declared as said: whoever starts a run says it before the arm moves.

        Args:
            delay_steps: the forecast before anything was measured.
            ceiling_ns: the oldest that an action may ever be.
        """
        self._ceiling_ns, self._last_steps = ceiling_ns, delay_steps
        self.said = self.of(delay_steps)

    def of(self, delay_steps: int) -> Standing:
        """Returns the standing with a steady delay of so many steps."""
        rule = self._rule
        if self._ceiling_ns is not None and self.oldest_ns(delay_steps) > self._ceiling_ns:
            return Standing.TOO_OLD
        if rule.strategy is Strategy.SYNC and not rule.aligned:
            return Standing.LASTS  # it pauses for every answer, and is meant to
        if delay_steps >= rule.horizon:
            return Standing.OUTLASTED
        dry = delay_steps > longest_delay(rule.horizon) and rule.strategy is not Strategy.SYNC
        return Standing.RUNS_DRY if dry else Standing.LASTS

    def oldest_ns(self, delay_steps: int) -> int:
        """Returns how old actions get with a steady delay of so many steps."""
        round_trip_ns = int(delay_steps * NS_PER_S / self._action_hz)
        return oldest_action_ns(self._rule, self._action_hz, round_trip_ns, self._blends)

    def note(
        self, delay_steps: int, forecast_steps: int, now_ns: int, useless: bool = False
    ) -> OutlookChanged | None:
        """Notes a measured delay; returns a change that is to be said.

        Args:
            delay_steps: of the answer that has just come.
            forecast_steps: the longest of the last ones, this one included.
            now_ns: when.
            useless: it came too late for anything, and so may every other one: no second is waited for.
        """
        steady = delay_steps if useless else min(delay_steps, self._last_steps)
        self._last_steps = delay_steps
        if self.of(steady) > self.said:
            self._better_since_ns = None
            return self._say(steady)
        margin = int(MARGIN * self._rule.horizon)
        if self.of(forecast_steps + margin) >= self.said:
            self._better_since_ns = None
            return None
        if self._better_since_ns is None:
            self._better_since_ns = now_ns
        if now_ns - self._better_since_ns < self._quiet_ns:
            return None
        self._better_since_ns, self._quiet_ns = None, 2 * self._quiet_ns
        return self._say(forecast_steps)

    def _say(self, delay_steps: int) -> OutlookChanged:
        before, self.said = self.said, self.of(delay_steps)
        share = starved_share(self._rule.horizon, delay_steps)
        if self._rule.strategy is Strategy.SYNC:
            share = 0.0
        return OutlookChanged(before, self.said, delay_steps, share, self.oldest_ns(delay_steps))
