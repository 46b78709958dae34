"""When to ask for the next chunk, and which answer is the awaited one.

At most one request is outstanding (TIMELINE rule 5): a second one would be
guided by a plan that the first reply replaces. A reply is taken only when it
carries the number and epoch of that request; whatever else arrives is late, a
duplicate, or from before a reset, and is named so. Numbers never repeat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from segue.core.types import ChunkRequest, Strategy

# LeRobot's own figure, where nobody says another.
DEFAULT_HORIZON = 50
# `rtc` asks about so many times a second at most: more would hardly be newer, and load the server.
RTC_REQUESTS_PER_S = 5
ASYNC_MIN_STEPS = 10


@dataclass(frozen=True, slots=True)
class RuleWishes:
    """What somebody wishes of the rule by which chunks are asked for; None leaves it open.

    Attributes:
        strategy: None takes `rtc` where the policy offers it.
        horizon: actions used per chunk, >= 1.
        threshold: share of a chunk, 0..1.
        min_execution_steps: >= 1.
        aligned: `sync` goes on where the time has come to.
    """

    strategy: Strategy | None = None
    horizon: int | None = None
    threshold: float | None = None
    min_execution_steps: int | None = None
    aligned: bool = False

    def settled(self, policy_horizon: int, action_hz: float) -> RequestRule:
        """Returns the rule that comes of it, with defaults for what is open.

        Args:
            policy_horizon: H_policy; nothing of a chunk beyond it can be used.
            action_hz: steps per second.

        Source: TIMELINE rule 6.
        """
        strategy = self.strategy or Strategy.RTC
        horizon = min(self.horizon or DEFAULT_HORIZON, policy_horizon)
        threshold, steps = self.threshold, self.min_execution_steps
        if threshold is None:
            threshold = 1.0 if strategy is Strategy.RTC else 0.5
        if steps is None:
            often = math.ceil(action_hz / RTC_REQUESTS_PER_S) if strategy is Strategy.RTC else ASYNC_MIN_STEPS
            steps = max(1, min(often, horizon // 2))
        return RequestRule(strategy, horizon, threshold, min(steps, horizon), self.aligned)


@dataclass(frozen=True, slots=True)
class RequestRule(RuleWishes):
    """When to ask: wishes of which none is open any more.

    Attributes:
        strategy: sync asks only when nothing is planned; the others while executing.
        horizon: H, actions used per chunk, >= 1.
        threshold: g, asks when at most this share of H is left, 0..1.
        min_execution_steps: s, steps begun since the last answered request was made, >= 1.
        aligned: `sync` goes on where the time has come to, and skips what lies before.
    """

    strategy: Strategy = Strategy.RTC
    horizon: int = DEFAULT_HORIZON
    threshold: float = 0.5
    min_execution_steps: int = 10

    def wants(self, left: int, begun: int, forecast_steps: int) -> bool:
        """Returns whether it is time to ask, nothing being outstanding.

        Args:
            left: actions planned, the next one included.
            begun: actions begun since the `start_step` of the last request that was answered.
            forecast_steps: the delay forecast.

        Source: TIMELINE rule 6. `s` yields where the plan would end before the answer comes. An
        answer that takes a whole chunk's time or more finds everything past that was planned when
        it was asked for: asking before the plan is empty would waste every second one.
        """
        if left == 0:
            return True
        if self.strategy is Strategy.SYNC or forecast_steps >= self.horizon:
            return False
        if left <= forecast_steps + 1:
            return True
        return left <= self.low_water and begun >= self.min_execution_steps

    @property
    def low_water(self) -> int:
        """Whole actions in g * H; 0.57 * 100 is 57 although floats make it a hair less."""
        return int(round(self.threshold * self.horizon, 9))


class DropReason(StrEnum):
    """Why a chunk was not merged."""

    NOT_ASKED = "not_asked"  # late, duplicate, or of a cancelled request
    OLD_EPOCH = "old_epoch"
    ALL_PAST = "all_past"
    TOO_OLD = "too_old"  # its observation passed the age limit, and nothing else is wrong with it
    BAD_SHAPE = "bad_shape"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    OTHER_POLICY = "other_policy"


@dataclass(frozen=True, slots=True)
class Outstanding:
    """The request that is under way."""

    number: int
    epoch: int
    start_step: int
    captured_ns: int
    requested_ns: int
    deadline_ns: int
    forecast_steps: int
    after_handshake: bool

    @classmethod
    def of(cls, request: ChunkRequest, forecast_steps: int, after_handshake: bool) -> Outstanding:
        """Returns what is remembered of `request` until its answer comes."""
        return cls(
            number=request.number,
            epoch=request.epoch,
            start_step=request.start_step,
            captured_ns=request.observation.captured_ns,
            requested_ns=request.requested_ns,
            deadline_ns=request.deadline_ns,
            forecast_steps=forecast_steps,
            after_handshake=after_handshake,
        )


class RequestScheduler:
    """Numbers the requests and knows the one that is outstanding."""

    def __init__(self, rule: RequestRule) -> None:
        self.rule = rule
        self.outstanding: Outstanding | None = None
        self.issued = 0

    def __repr__(self) -> str:
        waiting = self.outstanding.number if self.outstanding else None
        return f"<RequestScheduler issued={self.issued} outstanding={waiting}>"

    def issue(self, outstanding: Outstanding) -> None:
        """Notes a request as sent; its number must be `issued` + 1 and nothing else outstanding."""
        self.issued = outstanding.number
        self.outstanding = outstanding

    def match(self, number: int, epoch: int) -> Outstanding | DropReason:
        """Returns the outstanding request if this is its answer, else why not; an answer ends it."""
        waiting = self.outstanding
        if waiting is not None and (number, epoch) == (waiting.number, waiting.epoch):
            self.outstanding = None
            return waiting
        if waiting is not None and epoch < waiting.epoch:
            return DropReason.OLD_EPOCH
        return DropReason.NOT_ASKED

    def expire(self, now_ns: int) -> Outstanding | None:
        """Cancels and returns the request whose deadline has passed."""
        waiting = self.outstanding
        if waiting is None or now_ns < waiting.deadline_ns:
            return None
        self.outstanding = None
        return waiting

    def cancel(self, number: int | None = None) -> Outstanding | None:
        """Cancels and returns what is outstanding; with `number` only if it is that one."""
        waiting = self.outstanding
        if waiting is None or (number is not None and number != waiting.number):
            return None
        self.outstanding = None
        return waiting
