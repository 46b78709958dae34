"""The scripted policy: the same action for a step in every chunk, in any dimensions, without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.specs import Dimension, Kind
from segue.core.types import Guidance, Leftover, Observation, RtcMode, Schedule
from segue.errors import ConfigError, PolicyError
from segue.policies.base import PolicyInput, PolicyOutput
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy, Wave


def answer(
    policy: ScriptedPolicy, step: int, leftover: Leftover | None = None, **guidance: object
) -> PolicyOutput:
    item = PolicyInput(
        observation=Observation(step, 0, state=np.zeros(len(policy.spec.action))),
        history=(),
        task="",
        leftover=leftover,
        delay_steps=0 if leftover is None else 4,
        chunk_length=policy.spec.horizon,
        guidance=replace(Guidance(), **guidance),  # type: ignore[arg-type]
        seed=0,
    )
    return policy.infer([item])[0]


@given(first=st.integers(0, 10**6), later=st.integers(0, 49))
def test_chunks_agree_where_they_overlap(first: int, later: int) -> None:
    """The action for a step is the same whichever chunk brings it."""
    policy = ScriptedPolicy()
    a, b = answer(policy, first).robot_actions, answer(policy, first + later).robot_actions
    np.testing.assert_allclose(a[later:], b[: 50 - later], atol=1e-6)


def test_stays_around_its_centre_and_moves_smoothly() -> None:
    """Over a minute no joint leaves centre ± amplitude, nor moves faster than its sine wave may."""
    policy = ScriptedPolicy()
    actions = policy.actions(np.arange(600.0))
    waves = policy.config.waves
    centre, amplitude = np.array([w.centre for w in waves]), np.array([w.amplitude for w in waves])
    assert (np.abs(actions - centre) <= amplitude + 1e-9).all()
    speed = 2 * np.pi * amplitude / np.array([w.period_s for w in waves])
    assert (np.abs(np.diff(actions, axis=0)) <= speed / policy.config.action_hz + 1e-9).all()
    np.testing.assert_array_equal(actions[0], centre)


def test_rate_changes_the_steps_and_not_the_motion() -> None:
    """The same second holds the same pose at 10 Hz and at 30 Hz."""
    slow, fast = ScriptedPolicy(), ScriptedPolicy(ScriptedConfig(action_hz=30.0))
    np.testing.assert_allclose(slow.actions(np.arange(20.0)), fast.actions(np.arange(0.0, 60.0, 3)))


def test_any_dimensions_will_do() -> None:
    """A robot of two dimensions of other names and kinds gets a spec and chunks of its own."""
    waves = (
        Wave(Dimension("slide", "m"), 0.1, 0.05, 2.0),
        Wave(Dimension("valve", "percent", Kind.DISCRETE), 50.0, 0.0, 1.0),
    )
    policy = ScriptedPolicy(ScriptedConfig(waves, action_hz=25.0, horizon=64))
    assert policy.spec.action.names == ("slide", "valve")
    assert policy.spec.action_hz == 25.0
    assert answer(policy, 3).robot_actions.shape == (64, 2)


def test_bent_leftover_is_continued() -> None:
    """The hard prefix is the leftover's own, the free end the wave's, and nothing jumps in between."""
    policy = ScriptedPolicy()
    free = answer(policy, 20).robot_actions
    bent = Leftover(free[:30] + 5.0)
    chunk = answer(policy, 20, bent)
    assert chunk.conditioned_delay == 4
    np.testing.assert_allclose(chunk.robot_actions[:4], bent.robot_actions[:4])
    np.testing.assert_array_equal(chunk.robot_actions[30:], free[30:])
    offset = chunk.robot_actions - free
    assert (np.diff(offset, axis=0) <= 1e-9).all()
    assert (offset >= -1e-9).all()


def test_discrete_dimension_is_never_blended() -> None:
    """A gripper that is open or shut takes the newest value, even within the window."""
    waves = (Wave(Dimension("valve", "percent", Kind.DISCRETE), 100.0, 0.0, 1.0),)
    policy = ScriptedPolicy(ScriptedConfig(waves))
    chunk = answer(policy, 0, Leftover(np.zeros((30, 1))), schedule=Schedule.ONES)
    np.testing.assert_array_equal(chunk.robot_actions, 100.0)


def test_wrong_questions_are_refused() -> None:
    """A leftover of another robot and the trained mode are errors that say what is wrong."""
    policy = ScriptedPolicy()
    with pytest.raises(PolicyError, match="width 6"):
        answer(policy, 0, Leftover(np.zeros((5, 2))))
    with pytest.raises(PolicyError, match="trained"):
        answer(policy, 0, mode=RtcMode.TRAINED)


@pytest.mark.parametrize(
    "config", [{"waves": ()}, {"horizon": 0}, {"action_hz": 0.0}, {"action_hz": float("nan")}]
)
def test_impossible_configurations_are_refused(config: dict[str, object]) -> None:
    """Nothing to move, no action in a chunk or no rate cannot be served."""
    with pytest.raises(ConfigError):
        ScriptedPolicy(replace(ScriptedConfig(), **config))  # type: ignore[arg-type]


def test_serves_without_torch() -> None:
    """Loading and asking the scripted policy imports no torch."""
    code = (
        "import sys; from segue.policies.registry import load_policy; "
        "load_policy('builtin:scripted').warm_up(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
