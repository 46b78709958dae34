"""What the executor is told and what it says: its configuration, its events, its ticks.

Events are facts, not log lines: whoever runs the executor writes them down,
once per change. Nothing in this file decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from segue.core.merge import AGGREGATIONS, Blend
from segue.core.outlook import OutlookChanged
from segue.core.queue import Merged, PlannedAction
from segue.core.schedule import DropReason, RequestRule
from segue.core.specs import ActionSpec
from segue.core.types import ActionChunk, ChunkRequest, FloatArray, Strategy
from segue.core.watchdog import Cause, LevelChange, SafetyConfig, SafetyLevel

# The cause of a miss: no answer in time.
DEADLINE = "deadline"


class ExitReason(StrEnum):
    """Why a run ends."""

    DONE = "done"
    SIGNALLED = "signalled"
    LINK_LOST = "link_lost"
    CAMERA = "camera"
    ROBOT = "robot"
    DANGER = "danger"
    OTHER_POLICY = "other_policy"
    REFUSED = "refused"
    BAD_CHUNKS = "bad_chunks"
    NO_ANSWER = "no_answer"  # the end came while the link was not well, or before anything was executed
    OVERLOADED = "overloaded"
    POLICY_FAILED = "policy_failed"
    PROTOCOL = "protocol"


# What the level's cause is while a run ends for that reason.
CAUSES: Mapping[ExitReason, Cause] = MappingProxyType(
    {
        ExitReason.DONE: Cause.DONE,
        ExitReason.SIGNALLED: Cause.STOP_ASKED,
        ExitReason.LINK_LOST: Cause.OFFLINE,
        ExitReason.CAMERA: Cause.BLIND,
        ExitReason.ROBOT: Cause.ROBOT,
        ExitReason.DANGER: Cause.DANGER,
        ExitReason.OTHER_POLICY: Cause.OTHER_POLICY,
        ExitReason.REFUSED: Cause.REFUSED,
        ExitReason.BAD_CHUNKS: Cause.BAD_CHUNKS,
        ExitReason.NO_ANSWER: Cause.OFFLINE,
        ExitReason.OVERLOADED: Cause.OFFLINE,
        ExitReason.POLICY_FAILED: Cause.OFFLINE,
        ExitReason.PROTOCOL: Cause.OFFLINE,
    }
)


@dataclass(frozen=True, slots=True)
class ExecutorConfig:
    """Everything that is fixed for a session.

    Attributes:
        action: dimensions of an action.
        action_hz, control_hz: the policy's and the robot's rate, control_hz >= action_hz.
        policy_horizon: H_policy, longest chunk that the policy may send.
        rule: when to ask; its horizon is H.
        aggregate: name of an aggregation, used by `async` only.
        rest_pose: where PARK goes, shape (A,); None parks where the arm is.
        history_steps: earlier observations that the policy wants.
    """

    action: ActionSpec
    action_hz: float
    control_hz: float
    policy_horizon: int
    rule: RequestRule = field(default_factory=RequestRule)
    aggregate: str = "latest_only"
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    rest_pose: FloatArray | None = None
    history_steps: int = 0

    @property
    def blend(self) -> Blend | None:
        """How overlapping steps are joined: only `async` blends, the others replace."""
        return AGGREGATIONS[self.aggregate] if self.rule.strategy is Strategy.ASYNC else None


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """What the link learnt when it opened the session."""

    round_trip_ns: int
    warm_inference_ns: int
    policy_hash: str


@dataclass(frozen=True, slots=True)
class ChunkTaken:
    """The fact that a reply was merged.

    Attributes:
        forecast_steps: what had been forecast when it was asked for.
        delay_steps: the round trip in steps, rounded up; None when cold.
        round_trip_ns: requesting tick to this tick.
        left: actions planned after the merge.
    """

    chunk: ActionChunk
    merged: Merged
    forecast_steps: int
    delay_steps: int | None
    round_trip_ns: int
    left: int


@dataclass(frozen=True, slots=True)
class ChunkDropped:
    """The fact that a reply was not merged.

    Attributes:
        round_trip_ns: requesting tick to this tick; None where it was not the awaited one.
        delay_steps: what the forecast learnt from it; None when nothing.
    """

    number: int
    epoch: int
    reason: DropReason
    round_trip_ns: int | None = None
    delay_steps: int | None = None


@dataclass(frozen=True, slots=True)
class RequestMissed:
    """The fact that a request failed, or a dial did (number 0)."""

    number: int
    cause: str


@dataclass(frozen=True, slots=True)
class LevelChanged:
    """The fact that the safety level changed; ages in ns, `detect_ns` since the trouble began."""

    change: LevelChange
    detail: str
    left: int
    action_age_ns: int | None
    detect_ns: int


Event = ChunkTaken | ChunkDropped | RequestMissed | LevelChanged | OutlookChanged


@dataclass(frozen=True, slots=True)
class Tick:
    """What one turn of the control loop comes to.

    Attributes:
        action: the command, shape (A,), robot units; always to be written.
        request: to be sent, or None.
        began: the action that began on this tick, or None.
        level: present safety level.
        waiting: nothing to execute and that is as it should be (start, pause of sync).
        events: facts of this tick, in order.
        exit: set on the tick after which the run is over.
    """

    action: FloatArray
    request: ChunkRequest | None
    began: PlannedAction | None
    level: SafetyLevel
    waiting: bool
    events: tuple[Event, ...]
    exit: ExitReason | None
