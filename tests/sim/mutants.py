"""Executors with one rule broken, to show that the seeds would notice: each mutant is one patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from segue.core import watchdog
from segue.core.executor import ChunkExecutor
from segue.core.limits import Limits
from segue.core.motion import Motion
from segue.core.queue import ActionQueue
from segue.core.schedule import DropReason, Outstanding, RequestScheduler
from segue.core.types import FloatArray, Leftover
from segue.core.watchdog import Cause, SafetyLevel, Troubles, Watchdog

Mutant = Callable[[pytest.MonkeyPatch], None]


def merge_by_forecast(patch: pytest.MonkeyPatch) -> None:
    """Skips as many actions as were forecast, not as many as were executed."""
    take, merge = ChunkExecutor._take, ActionQueue.merge
    forecast: list[int] = [0]

    def taken(self: ChunkExecutor, now_ns: int, chunk: Any, asked: Outstanding) -> DropReason | None:
        forecast[0] = asked.forecast_steps
        return take(self, now_ns, chunk, asked)

    def merged(self: ActionQueue, chunk: Any, start_step: int, *rest: Any) -> Any:
        return merge(self, chunk, max(0, self.step - forecast[0]), *rest)

    patch.setattr(ChunkExecutor, "_take", taken)
    patch.setattr(ActionQueue, "merge", merged)


def accept_stale_replies(patch: pytest.MonkeyPatch) -> None:
    """Takes any reply while a request is open, whichever request it answers."""

    def match(self: RequestScheduler, number: int, epoch: int) -> Outstanding | DropReason:
        waiting, self.outstanding = self.outstanding, None
        return waiting or DropReason.NOT_ASKED

    patch.setattr(RequestScheduler, "match", match)


def leftover_without_the_next_action(patch: pytest.MonkeyPatch) -> None:
    """Sends plan[step + 1:] as leftover."""
    leftover = ActionQueue.leftover

    def shorter(self: ActionQueue) -> Leftover | None:
        whole = leftover(self)
        if whole is None or len(whole) == 1:
            return whole
        model = whole.model_actions
        return Leftover(whole.robot_actions[1:], None if model is None else model[1:])

    patch.setattr(ActionQueue, "leftover", shorter)


def ignore_the_age_limit(patch: pytest.MonkeyPatch) -> None:
    """Begins actions however old they are."""
    patch.setattr(watchdog, "_too_old", lambda facts: False)


def keep_the_epoch_on_hold(patch: pytest.MonkeyPatch) -> None:
    """Clears the plan when a hold begins, but stays in the old epoch."""
    renew = ChunkExecutor._new_epoch

    def renewed(self: ChunkExecutor) -> None:
        renew(self)
        self._session.epoch -= 1

    patch.setattr(ChunkExecutor, "_new_epoch", renewed)


def keep_the_plan_on_hold(patch: pytest.MonkeyPatch) -> None:
    """Goes on with what was planned before a hold or a reset."""
    patch.setattr(ActionQueue, "clear", lambda self: 0)


def go_on_while_held(patch: pytest.MonkeyPatch) -> None:
    """Finishes the step under way instead of going back to where the driver is."""
    patch.setattr(Motion, "hold_at", lambda self, target, tick, ramp_s: None)


def no_speed_limit(patch: pytest.MonkeyPatch) -> None:
    """Sends what is wanted, however far away."""

    def slew(self: Limits, last: FloatArray, wanted: FloatArray, period_s: float) -> FloatArray:
        return wanted

    patch.setattr(Limits, "slew", slew)


def resume_without_a_fresh_look(patch: pytest.MonkeyPatch) -> None:
    """Leaves HOLD as soon as nothing is wrong any more, without a chunk from after it began."""
    rest = Watchdog._from_rest

    def from_rest(
        self: Watchdog, wanted: SafetyLevel, cause: Cause, facts: Any, troubles: Troubles, now_ns: int
    ) -> tuple[SafetyLevel, Cause]:
        if wanted < SafetyLevel.HOLD:
            return min(wanted, SafetyLevel.DEGRADED), Cause.RESUMED
        return rest(self, wanted, cause, facts, troubles, now_ns)

    patch.setattr(Watchdog, "_from_rest", from_rest)


def ask_while_asking(patch: pytest.MonkeyPatch) -> None:
    """Forgets that a request is open when a chunk is due, and sends another."""
    may_ask = ChunkExecutor._may_ask

    def forgetful(self: ChunkExecutor) -> bool:
        waiting = self.scheduler.outstanding
        if waiting is not None and self._session.begun_since_merge > self.config.rule.min_execution_steps + 3:
            self.scheduler.outstanding = None
        return may_ask(self)

    patch.setattr(ChunkExecutor, "_may_ask", forgetful)


def repeat_a_number(patch: pytest.MonkeyPatch) -> None:
    """Gives a request the number of the one before, every tenth time."""
    issue = RequestScheduler.issue

    def issued(self: RequestScheduler, outstanding: Outstanding) -> None:
        number = outstanding.number
        issue(self, outstanding)
        if number % 10 == 0:
            self.issued = number - 1

    patch.setattr(RequestScheduler, "issue", issued)


def exit_early(patch: pytest.MonkeyPatch) -> None:
    """Parks and exits before the offline limit has passed."""
    due = ChunkExecutor._due

    def sooner(self: ChunkExecutor, now_ns: int) -> Any:
        lost = self.troubles.link.lost_since_ns
        earlier = replace(self.troubles.link, lost_since_ns=None if lost is None else lost - 8_000_000_000)
        shifted = replace(self.troubles, link=earlier)
        kept, self.troubles = self.troubles, shifted
        try:
            return due(self, now_ns)
        finally:
            self.troubles = kept

    patch.setattr(ChunkExecutor, "_due", sooner)


MUTANTS: Mapping[str, Mutant] = {
    each.__name__: each
    for each in (
        merge_by_forecast,
        accept_stale_replies,
        leftover_without_the_next_action,
        ignore_the_age_limit,
        keep_the_epoch_on_hold,
        keep_the_plan_on_hold,
        go_on_while_held,
        no_speed_limit,
        resume_without_a_fresh_look,
        ask_while_asking,
        repeat_a_number,
        exit_early,
    )
}
