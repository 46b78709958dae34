"""The built-in flow policy as it is shipped: its promises, its answers, its refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from segue.core.types import Guidance, Leftover, Observation, RtcMode
from segue.errors import ConfigError, PolicyError
from segue.policies.base import PolicyInput
from segue.policies.flow import FlowPolicy, load_flow_policy
from segue.policies.registry import WEIGHTS

BELT = WEIGHTS / "belt.safetensors"


class SteppingClock:
    """A clock that moves on by a fixed time whenever it is read."""

    def __init__(self, step_ns: int) -> None:
        self.step_ns, self.at_ns = step_ns, 0

    def now_ns(self) -> int:
        self.at_ns += self.step_ns
        return self.at_ns

    def sleep_until(self, deadline_ns: int) -> None:
        self.at_ns = max(self.at_ns, deadline_ns)


@pytest.fixture(scope="module")
def belt() -> FlowPolicy:
    return load_flow_policy(BELT, "cpu")


@pytest.fixture
def question(belt: FlowPolicy) -> PolicyInput:
    joints, seen = len(belt.spec.observation.state), belt.normaliser.observation_mean
    return PolicyInput(
        observation=Observation(0, 0, state=seen[:joints], environment=seen[joints:]),
        history=(),
        task="lift the cubes",
        leftover=None,
        delay_steps=0,
        chunk_length=50,
        guidance=Guidance(),
        seed=1,
    )


def test_shipped_weights_keep_their_promises(belt: FlowPolicy) -> None:
    """The file is at most 5 MB and holds a policy of at least 50 actions at 30 Hz, without cameras."""
    assert BELT.stat().st_size <= 5_000_000
    spec = belt.spec
    assert spec.horizon >= 50
    assert spec.action_hz == 30.0
    assert spec.observation.cameras == ()
    assert spec.action.dimensions == spec.observation.state
    assert [d.name for d in spec.action.dimensions][-1] == "gripper"
    assert spec.rtc_modes == ("guided",)


def test_warm_up_declares_the_median_of_guided_runs(question: PolicyInput) -> None:
    """Before `warm_up` no duration is declared, afterwards the one that the clock showed."""
    policy = load_flow_policy(BELT, "cpu")
    assert policy.spec.warm_inference_ns == 0
    before = policy.spec.spec_hash()
    policy.warm_up(SteppingClock(step_ns=7_000_000))
    assert policy.spec.warm_inference_ns == 7_000_000
    assert policy.spec.spec_hash() == before


def test_answer_is_a_whole_chunk_in_both_units(belt: FlowPolicy, question: PolicyInput) -> None:
    """Robot units are the model's own, scaled back, for every step of the horizon."""
    (answer,) = belt.infer([question])
    assert answer.model_actions is not None
    assert answer.robot_actions.shape == answer.model_actions.shape == (belt.spec.horizon, 6)
    np.testing.assert_allclose(answer.robot_actions, belt.normaliser.robot_actions(answer.model_actions))
    assert answer.conditioned_delay == 0
    assert belt.infer([]) == []


def test_guided_chunk_continues_the_plan(belt: FlowPolicy, question: PolicyInput) -> None:
    """Over twenty plans the hard prefix is met at least a third nearer than a free chunk meets it."""
    free, guided = [], []
    for seed in range(20):
        plan = belt.infer([replace(question, seed=seed)])[0]
        assert plan.model_actions is not None
        left = Leftover(plan.robot_actions[10:], plan.model_actions[10:])
        # The same observation ten steps on: a free chunk starts over, so the plan has to be held against it.
        again = replace(question, seed=1000 + seed)
        for distances, item in ((free, again), (guided, replace(again, leftover=left, delay_steps=9))):
            (answer,) = belt.infer([item])
            assert answer.model_actions is not None
            assert answer.conditioned_delay == item.delay_steps
            distances.append(np.abs(answer.model_actions[:9] - plan.model_actions[10:19]).mean())
    assert np.mean(guided) < np.mean(free) * 2 / 3


def test_trained_mode_is_refused(belt: FlowPolicy, question: PolicyInput) -> None:
    """A policy that was not trained on prefixes says so instead of guiding in its place."""
    with pytest.raises(PolicyError, match="trained on prefixes"):
        belt.infer([replace(question, guidance=Guidance(mode=RtcMode.TRAINED))])


def test_too_few_joints_are_refused(belt: FlowPolicy, question: PolicyInput) -> None:
    """An observation of another size is an error that says what came and what was expected."""
    with pytest.raises(PolicyError, match="5 joints and 0 environment numbers, 21 in all"):
        belt.infer([replace(question, observation=Observation(0, 0, state=np.zeros(5)))])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_undefined_observations_are_refused(belt: FlowPolicy, question: PolicyInput, value: float) -> None:
    """A joint that is no number is an error, never an action."""
    seen = replace(question.observation, state=np.full(6, value))
    with pytest.raises(PolicyError, match="not finite"):
        belt.infer([replace(question, observation=seen)])


def test_wrong_leftover_is_refused(belt: FlowPolicy, question: PolicyInput) -> None:
    """A leftover of another width, or with undefined numbers within the window, is an error."""
    with pytest.raises(PolicyError, match="width"):
        belt.infer([replace(question, leftover=Leftover(np.zeros((5, 6)), np.zeros((5, 7))))])
    with pytest.raises(PolicyError, match="not finite"):
        belt.infer([replace(question, leftover=Leftover(np.full((5, 6), np.nan)))])


def test_chunk_that_is_not_finite_is_an_error(question: PolicyInput) -> None:
    """Weights that have burst give an error, never an action."""
    policy = load_flow_policy(BELT, "cpu")
    with torch.no_grad():
        next(policy.network.chunk_out.parameters()).fill_(float("nan"))
    with pytest.raises(PolicyError, match="not finite"):
        policy.infer([question])


def test_hash_names_weights_and_sampler(tmp_path: Path) -> None:
    """One file gives one hash; other Euler steps or another weight give another."""
    changed = tmp_path / "changed.safetensors"
    content = bytearray(BELT.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    hashes = [
        load_flow_policy(path, "cpu", steps).spec.policy_hash
        for path, steps in ((BELT, None), (BELT, None), (BELT, 10), (changed, None))
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_a_file_that_is_no_policy_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or foreign file is an error that names the path."""
    path = tmp_path / "some.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"some\.safetensors"):
        load_flow_policy(path, "cpu")


def test_weights_without_description_are_refused(tmp_path: Path) -> None:
    """Tensors alone do not say whose joints they move, so they are not taken."""
    path = tmp_path / "bare.safetensors"
    save_file(load_file(BELT), path)
    with pytest.raises(ConfigError, match="not a flow policy"):
        load_flow_policy(path, "cpu")


@pytest.mark.parametrize("steps", [-1, 21])
def test_impossible_sampler_steps_are_refused(steps: int) -> None:
    """The number of Euler steps lies within 1 and 20."""
    with pytest.raises(ConfigError, match="sampler steps"):
        load_flow_policy(BELT, "cpu", steps)
