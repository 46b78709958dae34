"""The robot and the policy that the targets are about: a scripted policy on two joints and a gripper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segue.core.specs import ActionSpec, CameraSpec, Dimension, Kind, ObservationSpec, PolicySpec, RobotSpec
from segue.core.types import ActionChunk, ChunkRequest, Guidance, Leftover, Observation
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy, Wave
from segue.server.session import SessionLimits, Sessions
from segue.wire.checks import MAX_SENTENCE_CHARS
from segue.wire.records import Handshake, RequestContext, Welcome

HORIZON = 8
HISTORY = 2
DIMENSIONS = (
    Dimension("pan", "deg", low=-90.0, high=90.0, max_speed=60.0),
    Dimension("belt", "m/s", Kind.VELOCITY, low=-1.0, high=1.0, max_speed=2.0),
    Dimension("grip", "percent", Kind.DISCRETE, low=0.0, high=100.0),
)
CAMERA = CameraSpec("front", 16, 24)
ROBOT = RobotSpec("toy_arm", ObservationSpec(DIMENSIONS, (), (CAMERA,)), ActionSpec(DIMENSIONS))
SESSION = "session"


def policy() -> ScriptedPolicy:
    """Returns a policy that fits `ROBOT` and takes earlier observations too."""
    waves = tuple(Wave(dimension, 0.5, 0.25, 5.0) for dimension in DIMENSIONS)
    made = ScriptedPolicy(ScriptedConfig(waves, horizon=HORIZON))
    made.spec = replace(made.spec, history_steps=HISTORY)
    return made


def sessions() -> Sessions:
    """Returns an empty table whose sessions are all called `SESSION`."""
    return Sessions(SessionLimits(), new_id=lambda: SESSION)


def opened(spec: PolicySpec) -> tuple[Sessions, Welcome]:
    """Returns a table with the one session that requests may name."""
    table = sessions()
    return table, table.open(handshake(), spec, now_ns=0)


def handshake() -> Handshake:
    """Returns what the robot says of itself."""
    return Handshake("arm-1", ROBOT, policy="builtin:scripted", chunk_length=HORIZON)


def context(spec: PolicySpec) -> RequestContext:
    """Returns the context of a request that is in order."""
    return RequestContext("arm-1", SESSION, spec.spec_hash(), "lift the cube", Guidance(), HORIZON, 7)


def observation(step: int = 5) -> Observation:
    """Returns what is seen at `step`, without pictures."""
    return Observation(step, 1_000_000, np.array([1.0, 0.25, 50.0]))


def request() -> ChunkRequest:
    """Returns a request with history and leftover that is in order."""
    leftover = Leftover(np.full((4, 3), 0.5), np.full((4, 3), 0.25))
    history = tuple(observation(step) for step in (3, 4))
    return ChunkRequest(1, 1, 5, observation(), history, leftover, 2, 0, 0, 200_000_000)


def chunk(policy_hash: str) -> ActionChunk:
    """Returns an answer to the first request of a new executor."""
    actions = np.linspace([0.0, 0.0, 0.0], [20.0, 0.5, 100.0], HORIZON)
    return ActionChunk(1, 1, 0, 0, actions, actions / 10.0, 0, policy_hash)


def check_sentence(text: str, most_chars: int = MAX_SENTENCE_CHARS) -> None:
    """Checks that a refusal names its field, is short, and cannot play tricks on a terminal."""
    assert len(text) <= most_chars, text[:400]
    assert text.isprintable(), text
    assert ": " in text or text.startswith("these "), text
