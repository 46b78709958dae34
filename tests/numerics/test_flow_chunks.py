"""Guided chunks through the policy's real entry: batches, windows, units and bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segue.core.types import FloatArray, Guidance, Jacobian, Leftover, Schedule, Strategy
from segue.policies.base import PolicyInput
from segue.policies.flow import FlowPolicy

MakePolicy = Callable[..., FlowPolicy]
Ask = Callable[..., PolicyInput]
H = 16
# Sums in another order, as a batched matrix product takes them, differ by this much in float32.
FLOAT32 = {"rtol": 0.0, "atol": 2e-5}


def model_chunk(policy: FlowPolicy, item: PolicyInput) -> FloatArray:
    (answer,) = policy.infer([item])
    assert answer.model_actions is not None
    return answer.model_actions


def leftover_of(policy: FlowPolicy, item: PolicyInput, begun: int) -> Leftover:
    (answer,) = policy.infer([item])
    assert answer.model_actions is not None
    return Leftover(answer.robot_actions[begun:], answer.model_actions[begun:])


def test_many_chunks_continue_each_other(make_policy: MakePolicy, ask: Ask) -> None:
    """Each of six chunks in a row, guided by what the last one left, is nearer to it than a free one."""
    policy, leftover = make_policy(), None
    rng = np.random.default_rng(0)
    for k in range(6):
        item = ask(leftover, seed=k)
        seen = replace(item.observation, state=item.observation.state + rng.normal(size=3))
        chunk = model_chunk(policy, replace(item, observation=seen))
        free = model_chunk(policy, replace(item, observation=seen, leftover=None))
        if leftover is not None:
            assert leftover.model_actions is not None
            known = leftover.model_actions[:4]
            assert np.abs(chunk[:4] - known).mean() < np.abs(free[:4] - known).mean()
        leftover = Leftover(np.zeros((H - 5, 3)), chunk[5:])


def test_batched_equals_single(make_policy: MakePolicy, ask: Ask) -> None:
    """Rows of other robots, delays, windows, schedules and Jacobians do not change a row's chunk."""
    policy = make_policy()
    leftover = leftover_of(policy, ask(), 5)
    short = Leftover(leftover.robot_actions[:3], None)
    batch = [
        ask(leftover, seed=1, delay_steps=2),
        ask(None, seed=2),
        ask(short, Guidance(jacobian=Jacobian.IDENTITY, max_weight=2.0), seed=3, delay_steps=3),
        ask(leftover, Guidance(schedule=Schedule.LINEAR, prefix_end=7), seed=4, delay_steps=7),
        ask(leftover, Guidance(strategy=Strategy.ASYNC), seed=5),
    ]
    together = policy.infer(batch)
    assert [answer.conditioned_delay for answer in together] == [2, 0, 3, 7, 0]
    for item, answer in zip(batch, together, strict=True):
        np.testing.assert_allclose(answer.model_actions, model_chunk(policy, item), **FLOAT32)


def test_free_rows_of_a_guided_batch_are_the_plain_sampler(make_policy: MakePolicy, ask: Ask) -> None:
    """A row without leftover gets bit for bit what the same batch gives it when nobody is guided."""
    policy = make_policy()
    guided, free = ask(leftover_of(policy, ask(), 5), seed=1), ask(None, seed=2)
    mixed = policy.infer([guided, free])[1]
    plain = policy.infer([replace(guided, leftover=None), free])[1]
    np.testing.assert_array_equal(mixed.robot_actions, plain.robot_actions)


def test_seed_decides_the_chunk(make_policy: MakePolicy, ask: Ask) -> None:
    """The same seed gives the same chunk whatever was sampled before; another seed gives another."""
    policy = make_policy()
    first = model_chunk(policy, ask(seed=11))
    torch.manual_seed(99)
    other = model_chunk(policy, ask(seed=12))
    np.testing.assert_array_equal(model_chunk(policy, ask(seed=11)), first)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize("prefix_end", [None, 6])
def test_nothing_beyond_the_window_is_seen(make_policy: MakePolicy, ask: Ask, prefix_end: int | None) -> None:
    """What lies in a leftover beyond the window's end, even undefined numbers, changes nothing."""
    policy = make_policy()
    leftover = leftover_of(policy, ask(), 8)
    assert leftover.model_actions is not None
    end, guidance = prefix_end or 8, Guidance(prefix_end=prefix_end)
    chunks = []
    for content in (0.0, 1e6, np.nan):
        padded = np.full((H, 3), content)
        padded[:end] = leftover.model_actions[:end]
        item = ask(Leftover(padded, padded), guidance, chunk_length=end)
        chunks.append(model_chunk(policy, item))
    np.testing.assert_array_equal(chunks[0], chunks[1])
    np.testing.assert_array_equal(chunks[0], chunks[2])
    assert np.isfinite(chunks[0]).all()


def test_short_leftover_is_not_padded_with_the_mean_pose(make_policy: MakePolicy, ask: Ask) -> None:
    """Three actions left are three actions to continue, not three and a mean pose (zeros) after them."""
    policy = make_policy()
    leftover = leftover_of(policy, ask(), 5)
    assert leftover.model_actions is not None
    known = leftover.model_actions[:3]
    zeros = np.concatenate([known, np.zeros((H - 3, 3))])
    short = model_chunk(policy, ask(Leftover(known, known), delay_steps=3))
    as_if = model_chunk(policy, ask(Leftover(zeros, zeros), delay_steps=3))
    assert np.abs(short - as_if).max() > 1e-2


def test_robot_units_serve_where_model_units_are_missing(make_policy: MakePolicy, ask: Ask) -> None:
    """A leftover in robot units alone is normalised to the same guidance as one in model units."""
    policy = make_policy()
    leftover = leftover_of(policy, ask(), 5)
    both = model_chunk(policy, ask(leftover))
    robot_only = model_chunk(policy, ask(Leftover(leftover.robot_actions, None)))
    np.testing.assert_allclose(robot_only, both, **FLOAT32)


def test_model_units_win_over_robot_units(make_policy: MakePolicy, ask: Ask) -> None:
    """Where a leftover comes in both units the policy's own are used."""
    policy = make_policy()
    leftover = leftover_of(policy, ask(), 5)
    bent = Leftover(leftover.robot_actions + 100.0, leftover.model_actions)
    np.testing.assert_array_equal(model_chunk(policy, ask(bent)), model_chunk(policy, ask(leftover)))


def test_units_of_a_joint_do_not_matter(make_policy: MakePolicy, ask: Ask) -> None:
    """A joint counted in other units everywhere gives the same model chunk and the rescaled robot chunk."""
    scale = np.array([1.0, 57.29578, 0.01])
    policy, scaled = make_policy(), make_policy(unit_scale=tuple(scale))
    leftover = Leftover(leftover_of(policy, ask(), 5).robot_actions, None)
    item = ask(leftover)
    seen = replace(item.observation, state=item.observation.state * scale)
    other = replace(item, observation=seen, leftover=Leftover(leftover.robot_actions * scale, None))
    (mine,), (theirs,) = policy.infer([item]), scaled.infer([other])
    np.testing.assert_allclose(theirs.model_actions, mine.model_actions, **FLOAT32)
    np.testing.assert_allclose(theirs.robot_actions, mine.robot_actions * scale, rtol=1e-4, atol=1e-4)


def test_soft_schedules_equal_hard_when_all_is_committed(make_policy: MakePolicy, ask: Ask) -> None:
    """With d at the window's end all four schedules give the same chunk."""
    policy = make_policy()
    leftover = leftover_of(policy, ask(), 9)
    chunks = [
        model_chunk(policy, ask(leftover, Guidance(schedule=schedule), delay_steps=7))
        for schedule in Schedule
    ]
    for chunk in chunks[1:]:
        np.testing.assert_array_equal(chunk, chunks[0])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    delay=st.integers(0, 2 * H),
    left=st.integers(0, 2 * H),
    length=st.integers(1, 2 * H),
    prefix_end=st.none() | st.integers(1, 2 * H),
    schedule=st.sampled_from(Schedule),
    jacobian=st.sampled_from(Jacobian),
)
def test_bounds_of_delay_window_and_chunk(
    make_policy: MakePolicy,
    ask: Ask,
    delay: int,
    left: int,
    length: int,
    prefix_end: int | None,
    schedule: Schedule,
    jacobian: Jacobian,
) -> None:
    """Any delay, leftover, chunk length and window give a finite whole chunk and an honest delay."""
    known = np.random.default_rng(0).normal(size=(left, 3))
    guidance = Guidance(schedule=schedule, prefix_end=prefix_end, jacobian=jacobian)
    item = ask(Leftover(known, known), guidance, delay_steps=delay, chunk_length=length)
    (answer,) = make_policy().infer([item])
    assert answer.robot_actions.shape == (H, 3)
    assert np.isfinite(answer.robot_actions).all()
    assert answer.conditioned_delay == min(
        delay, left, prefix_end or length, length if prefix_end is None else H, H
    )
