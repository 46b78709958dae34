"""Earlier observations, one per step, for policies that look back.

A policy was trained on observations that lie one step apart. While actions are
executed that is how they are taken; while nothing is under way every tick looks,
and most of those looks are left out here. Where there is not enough past yet the
oldest observation stands for what came before it, as it does in training.
"""

from __future__ import annotations

from collections import deque

from segue.core.types import Observation

NS_PER_S = 1_000_000_000


class ObservationHistory:
    """The last few observations, a step apart."""

    def __init__(self, steps: int, action_hz: float, control_hz: float) -> None:
        """Remembers nothing yet.

        Args:
            steps: how many observations before the present one the policy wants.
            action_hz: steps per second.
            control_hz: ticks per second.
        """
        self._steps = steps
        # Steps begin on ticks, so they lie up to a tick apart from their own period.
        self._least_gap_ns = round(NS_PER_S / action_hz - 0.5 * NS_PER_S / control_hz)
        self._seen: deque[Observation] = deque(maxlen=steps)

    def __repr__(self) -> str:
        return f"<ObservationHistory {len(self._seen)} of {self._steps}>"

    def before(self, present: Observation) -> tuple[Observation, ...]:
        """Returns the observations before `present`, oldest first, always as many as the policy wants."""
        known = tuple(self._seen)
        oldest = known[0] if known else present
        return (oldest,) * (self._steps - len(known)) + known

    def add(self, observation: Observation) -> None:
        """Remembers an observation, unless it follows too soon on the one before."""
        if not self._seen or observation.captured_ns - self._seen[-1].captured_ns >= self._least_gap_ns:
            self._seen.append(observation)

    def clear(self) -> None:
        """Forgets everything, as a new epoch does."""
        self._seen.clear()
