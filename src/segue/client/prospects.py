"""What a person is told of how long plans last and how old actions get, a sentence each.

The laws are the core's (`core.feasibility`, `core.outlook`); this file puts
their numbers into words, with what would mend what they find. The same words
serve before the arm moves, from what was declared, and while it moves, from
what was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from segue.clock import NS_PER_MS, NS_PER_S
from segue.core.feasibility import longest_delay, starved_share
from segue.core.outlook import Outlook, Standing
from segue.core.pace import AGE_FLAG
from segue.core.schedule import RequestRule
from segue.core.types import Strategy


@dataclass(frozen=True, slots=True)
class Prospects:
    """A rule at its rate, and what the policy can give.

    Attributes:
        policy_horizon: H_policy, the longest chunk that the policy makes.
        ceiling_ns: the oldest that an action may ever be.
    """

    rule: RequestRule
    action_hz: float
    blends: bool
    policy_horizon: int
    ceiling_ns: int

    def of(self, delay_steps: int) -> str:
        """Returns what a steady delay of so many steps means; empty when the plan lasts."""
        outlook = Outlook(self.rule, self.action_hz, self.blends)
        outlook.begin(delay_steps, self.ceiling_ns)
        return "" if outlook.said is Standing.LASTS else self.words(outlook.said, delay_steps)

    def words(self, standing: Standing, delay_steps: int) -> str:
        """Returns the sentence of a standing.

        Args:
            standing: as `Outlook` has it.
            delay_steps: the delay behind it.
        """
        hz, horizon = self.action_hz, self.rule.horizon
        takes = f"an answer takes {_counted(delay_steps, 'step')} at {hz:g} Hz ({delay_steps / hz:.2f} s)"
        if standing is Standing.TOO_OLD:
            outlook = Outlook(self.rule, hz, self.blends)
            oldest_s = outlook.oldest_ns(delay_steps) / NS_PER_S
            return (
                f"{takes}, with which actions get {oldest_s:.2f} s old, and none may be older than "
                f"{self.ceiling_ns / NS_PER_S:.2f} s ({AGE_FLAG}): the arm will hold"
            )
        if standing is Standing.LASTS:
            return f"{takes} again, and a chunk has {horizon}: the plan lasts"
        if self.rule.strategy is Strategy.SYNC:
            return (
                f"{takes}, and a chunk has {horizon}: it cannot be aligned with time, "
                "and begins at its first action while that is so"
            )
        share = f"{100 * starved_share(horizon, delay_steps):.1f} % of the ticks will starve"
        if standing is Standing.OUTLASTED:
            takes += f", a chunk of {horizon} lasts no longer, and the next is asked for when it has ended"
            return f"{takes}: {share}; {self._remedies(delay_steps)}"
        return f"{takes}, and a chunk has {horizon}: {share}; {self._remedies(delay_steps)}"

    def _remedies(self, delay_steps: int) -> str:
        """Returns which chunks, rate or round trip would be enough, each by itself."""
        enough, hz = longest_delay(self.rule.horizon), self.action_hz
        longer, most = 2 * delay_steps, self.policy_horizon
        how = f"the policy makes {most}" if longer > most else "--actions_per_chunk"
        ways = [f"chunks of {longer} actions ({how})"]
        if enough:
            slower_hz = math.floor(100 * enough * hz / delay_steps) / 100
            ways.append(f"{slower_hz:g} steps a second (--fps)")
            ways.append(f"a round trip of {math.floor(enough * NS_PER_S / hz / NS_PER_MS)} ms")
        return f"{' or '.join((', '.join(ways[:-1]), ways[-1])) if len(ways) > 1 else ways[0]} would mend it"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
