"""The values that travel: what was seen, what is asked for, what comes back.

All are immutable records. Arrays in them are treated as read-only by
everybody; whoever wants to change one makes a copy. *Robot units* are the
robot's (degrees, percent), *model units* the policy's own normalised ones:
every array says whose it is by its name. Steps and epochs are defined in
docs/GLOSSARY.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
ImageArray = npt.NDArray[np.uint8]

NO_IMAGES: Mapping[str, ImageArray] = MappingProxyType({})
NO_ENVIRONMENT: FloatArray = np.zeros(0)
NO_ENVIRONMENT.setflags(write=False)


class Strategy(StrEnum):
    """How chunks follow each other."""

    SYNC = "sync"  # stop, ask, wait, go on
    ASYNC = "async"  # ask while executing; replace or blend
    RTC = "rtc"  # ask while executing; the policy continues the leftover


class Schedule(StrEnum):
    """Shape of the prefix weights between the hard prefix and the end of the window."""

    EXP = "exp"
    LINEAR = "linear"
    ONES = "ones"
    ZEROS = "zeros"


class Jacobian(StrEnum):
    """`EXACT` is the vector-Jacobian product of the paper; `IDENTITY` the cheaper stand-in."""

    EXACT = "exact"
    IDENTITY = "identity"


class RtcMode(StrEnum):
    """`GUIDED` works on any flow policy; `TRAINED` needs one trained on prefixes."""

    GUIDED = "guided"
    TRAINED = "trained"


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture: its pixels, or the JPEG that the device itself made, or both.

    Attributes:
        image: (height, width, 3) uint8 RGB; nobody writes to it after it was handed out. None
            leaves the decoding to whoever needs pixels: often nobody does.
        captured_ns: when it was taken, by `segue.clock.now_ns`, which goes on while the computer sleeps.
        number: counts up with every new picture of the device.
        jpeg: as the device delivered it, whole; None when there are only pixels.
    """

    image: ImageArray | None
    captured_ns: int
    number: int
    jpeg: bytes | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at the world, taken at one tick.

    Attributes:
        step: index of the next action not yet begun when it was taken.
        captured_ns: monotonic time of the tick, on the robot's host.
        state: joint values in robot units, shape (S,).
        environment: named extra numbers (`observation.environment_state`), shape (E,), may be empty.
        images: camera name to picture, each (height, width, 3) uint8 RGB.
    """

    step: int
    captured_ns: int
    state: FloatArray
    environment: FloatArray = field(default_factory=lambda: NO_ENVIRONMENT)
    images: Mapping[str, ImageArray] = field(default_factory=lambda: NO_IMAGES)


@dataclass(frozen=True, slots=True)
class Leftover:
    """The planned actions from `start_step` on, the next one included.

    Attributes:
        robot_actions: shape (L, A), robot units, as they will be executed.
        model_actions: shape (L, A_model), the policy's own output for the same steps;
            None when blending or a limit changed any of them.
    """

    robot_actions: FloatArray
    model_actions: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.robot_actions)


@dataclass(frozen=True, slots=True)
class Guidance:
    """How a policy is to continue a leftover; constant over a session.

    Attributes:
        prefix_end: end of the guidance window in steps; None means the chunk length used.
        max_weight: beta, the clip of the guidance factor.
    """

    strategy: Strategy = Strategy.RTC
    mode: RtcMode = RtcMode.GUIDED
    schedule: Schedule = Schedule.EXP
    prefix_end: int | None = None
    max_weight: float = 5.0
    jacobian: Jacobian = Jacobian.EXACT


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """One self-contained question for the next chunk.

    Attributes:
        number: counts up by one with every request of a session.
        epoch: bumped by reset, hold, new episode; a reply of another epoch is void.
        start_step: step of the snapshot; index 0 of the reply is meant for this step.
        observation: the snapshot; images are added by the link process.
        history: earlier observations, oldest first, for policies that need them.
        leftover: plan from `start_step` on; None when there is none.
        delay_steps: forecast d for the guidance, 1 <= d <= len(leftover); 0 without leftover.
        requested_ns: the requesting tick.
        deadline_ns: when to give this request up.
        slack_ns: time from `requested_ns` until the robot runs dry.
    """

    number: int
    epoch: int
    start_step: int
    observation: Observation
    history: tuple[Observation, ...]
    leftover: Leftover | None
    delay_steps: int
    requested_ns: int
    deadline_ns: int
    slack_ns: int


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """The answer: actions for `start_step` and the steps that follow.

    Attributes:
        request_number, epoch: the request that it answers.
        captured_ns: the client's own stamp of the observation behind it, echoed.
        robot_actions: shape (H, A), robot units.
        model_actions: shape (H_policy, A_model), the policy's own units; None when it has none.
        conditioned_delay: hard prefix d that the policy really used.
        policy_hash: of the weights that produced it.
        cold: True when this inference was the policy's first or recompiled it, so
            that its duration says nothing about the next.
    """

    request_number: int
    epoch: int
    start_step: int
    captured_ns: int
    robot_actions: FloatArray
    model_actions: FloatArray | None
    conditioned_delay: int
    policy_hash: str
    cold: bool = False
