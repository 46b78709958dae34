"""A policy small enough to see through, and the robot it fits: shared by the tests of the server."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from segue.core.specs import ActionSpec, CameraSpec, Dimension, ObservationSpec, PolicySpec, RobotSpec
from segue.core.types import ChunkRequest, Guidance, Leftover, Observation
from segue.policies.base import PolicyInput, PolicyOutput
from segue.wire.records import Handshake, RequestContext

HORIZON = 8
JOINTS = (Dimension("pan", "deg", low=-90.0, high=90.0), Dimension("grip", "percent", low=0.0, high=100.0))
CAMERAS = (CameraSpec("front", 48, 64),)
SPEC = PolicySpec(
    name="toy",
    observation=ObservationSpec(state=JOINTS, environment=("cube_x",)),
    action=ActionSpec(JOINTS),
    action_hz=10.0,
    horizon=HORIZON,
    model_action_dim=3,
    history_steps=0,
    rtc_modes=("guided",),
    warm_inference_ns=0,
    policy_hash="0123abcd",
)
ROBOT = RobotSpec("toy_arm", ObservationSpec(JOINTS, ("cube_x",), CAMERAS), ActionSpec(JOINTS))


@dataclass
class ToyPolicy:
    """Answers with the state, counted up by one each step; `before` may do anything to a batch first."""

    spec: PolicySpec = SPEC
    batches: list[int] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    warm: bool = False

    def warm_up(self) -> None:
        self.spec = replace(self.spec, warm_inference_ns=1_000_000)
        self.warm = True

    def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        self.batches.append(len(batch))
        self.tasks += [item.task for item in batch]
        self.before(batch)
        return [self.answer(item) for item in batch]

    def before(self, batch: Sequence[PolicyInput]) -> None:
        """Does nothing; tests put something else here."""

    def answer(self, item: PolicyInput) -> PolicyOutput:
        steps = np.arange(HORIZON, dtype=np.float64)[:, None]
        return PolicyOutput(item.observation.state + steps, np.zeros((HORIZON, 3)), item.delay_steps)


class SlowPolicy(ToyPolicy):
    """Serves a batch only when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)

    def before(self, batch: Sequence[PolicyInput]) -> None:
        self.began.release()
        assert self.may_end.acquire(timeout=20)


def handshake(**changes: object) -> Handshake:
    """Returns what the toy's robot says of itself."""
    return replace(Handshake(robot_id="arm-1", robot=ROBOT), **changes)  # type: ignore[arg-type]


def context(session_id: str, **changes: object) -> RequestContext:
    """Returns the context of a request of that session."""
    plain = RequestContext("arm-1", session_id, SPEC.spec_hash(), "lift", Guidance(), HORIZON, 7)
    return replace(plain, **changes)  # type: ignore[arg-type]


def request(number: int = 1, **changes: object) -> ChunkRequest:
    """Returns a request with a leftover of four actions."""
    leftover = Leftover(np.zeros((4, 2)), np.zeros((4, 3)))
    observation = Observation(5, 123_456_789, np.array([1.0, 2.0]), np.array([0.5]))
    plain = ChunkRequest(number, 3, 5, observation, (), leftover, 2, 0, 0, 200_000_000)
    return replace(plain, **changes)  # type: ignore[arg-type]
