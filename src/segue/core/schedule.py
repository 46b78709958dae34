"""When to ask for the next chunk, and which answer is the awaited one.

At most one request is outstanding (TIMELINE rule 5): a second one would be
guided by a plan that the first reply replaces. A reply is taken only when it
carries the number and epoch of that request; whatever else arrives is late, a
duplicate, or from before a reset, and is named so. Numbers never repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from segue.core.types import ChunkRequest, Strategy


@dataclass(frozen=True, slots=True)
class RequestRule:
    """When to ask.

    Attributes:
        strategy: sync asks only when nothing is planned; the others while executing.
        horizon: H, actions used per chunk, >= 1.
        threshold: g, asks when at most this share of H is left, 0..1.
        min_execution_steps: s, steps begun between a merge and the next request, >= 1.
    """

    strategy: Strategy = Strategy.RTC
    horizon: int = 50
    threshold: float = 0.5
    min_execution_steps: int = 10

    def wants(self, left: int, begun_since_merge: int, forecast_steps: int) -> bool:
        """Returns whether it is time to ask, nothing being outstanding.

        Args:
            left: actions planned, the next one included.
            begun_since_merge: actions begun since the last merge.
            forecast_steps: the delay forecast.

        Source: TIMELINE rule 6. An empty plan always asks: a chunk shorter than
        `min_execution_steps` would otherwise wait for steps that never come.
        """
        if left == 0:
            return True
        if self.strategy is Strategy.SYNC:
            return False
        near = left <= max(self._low_water, forecast_steps + 1)
        return near and begun_since_merge >= self.min_execution_steps

    def kept_of_chunk(self) -> int | None:
        """Returns how much of a chunk `sync` executes before it stops and asks; None means all.

        Where the others would ask, sync stops: the same trigger for every strategy. The rest
        of its chunk would be replaced unseen, so it is not planned at all.
        """
        if self.strategy is not Strategy.SYNC:
            return None
        return max(1, self.min_execution_steps, self.horizon - self._low_water)

    @property
    def _low_water(self) -> int:
        """Whole actions in g * H; 0.57 * 100 is 57 although floats make it a hair less."""
        return int(round(self.threshold * self.horizon, 9))


class DropReason(StrEnum):
    """Why a chunk was not merged."""

    NOT_ASKED = "not_asked"  # late, duplicate, or of a cancelled request
    OLD_EPOCH = "old_epoch"
    ALL_PAST = "all_past"
    TOO_OLD = "too_old"  # its observation passed the age limit
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
