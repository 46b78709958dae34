"""The plan, indexed by step: what is next, what is left, what was skipped.

`step` is the index of the next action not yet begun, and the only truth about
time (TIMELINE rules 1 to 4): it moves when an action is begun and stands still
otherwise; it is also told to go on, where `sync` keeps in step with time. A
chunk says for which step its first action is meant; how many of its actions are
skipped is the subtraction `step - start_step` and nothing else. The queue knows
no clock and no reason: it is told.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.core.merge import Blend, BoolArray, Plan, merge
from segue.core.types import FloatArray, Leftover


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """One action taken from the plan: its step, target (A,) and the stamp of the observation behind it."""

    step: int
    target: FloatArray
    captured_ns: int


@dataclass(frozen=True, slots=True)
class Merged:
    """The fact that a chunk was merged.

    Attributes:
        skipped: actions of the chunk whose steps had begun.
        kept: actions of the chunk that are now planned.
        replaced: planned actions that it replaced or was blended with.
    """

    skipped: int
    kept: int
    replaced: int


@dataclass(slots=True)
class QueueCounts:
    """Where every action went: merged = executed + skipped + replaced + leftover, at all times."""

    merged: int = 0
    executed: int = 0
    skipped: int = 0
    replaced: int = 0


class ActionQueue:
    """The plan from the next step on."""

    def __init__(self, discrete: BoolArray) -> None:
        self.step = 0
        self.counts = QueueCounts()
        self._discrete = discrete
        self._plan = Plan.empty(len(discrete))

    def __len__(self) -> int:
        return len(self._plan)

    def __repr__(self) -> str:
        return f"<ActionQueue step={self.step} left={len(self)}>"

    def leftover(self) -> Leftover | None:
        """Returns plan[step:], the next action included; None when there is none."""
        if len(self._plan) == 0:
            return None
        model = self._plan.model_actions if self._plan.intact.all() else None
        return Leftover(self._plan.robot_actions, model)

    def next_captured_ns(self) -> int | None:
        """Returns the stamp of the observation behind the next action; None without one."""
        return int(self._plan.captured_ns[0]) if len(self._plan) else None

    def skip_to(self, step: int) -> None:
        """Goes on to `step` without beginning what lies before it; nothing may be planned."""
        self.step = step

    def merge(self, chunk: Plan, start_step: int, blend: Blend | None) -> Merged | None:
        """Joins a chunk to the plan.

        Args:
            chunk: all its actions, index 0 meant for `start_step`.
            start_step: step of the request, <= `step`.
            blend: how overlapping steps are joined; None replaces.

        Returns:
            What happened, or None when every action of the chunk lies in the past.
        """
        skip = self.step - start_step
        if skip < 0 or skip >= len(chunk):
            return None
        new = chunk[skip:]
        replaced = min(len(self._plan), len(new))
        self._plan = merge(self._plan, new, blend, self._discrete)
        self.counts.merged += len(chunk)
        self.counts.skipped += skip
        self.counts.replaced += replaced
        return Merged(skip, len(new), replaced)

    def begin(self) -> PlannedAction:
        """Takes the next action and moves on by one step; the plan must not be empty."""
        action = PlannedAction(self.step, self._plan.robot_actions[0], int(self._plan.captured_ns[0]))
        self._plan = self._plan[1:]
        self.step += 1
        self.counts.executed += 1
        return action

    def clear(self) -> int:
        """Forgets the plan and returns how many actions that were; `step` stays."""
        dropped = len(self._plan)
        self.counts.replaced += dropped
        self._plan = Plan.empty(len(self._discrete))
        return dropped
