"""Joining a new chunk to the plan, by numbers."""

from __future__ import annotations

import numpy as np
import pytest

from segue.core.merge import AGGREGATIONS, Plan, merge, temporal_ensemble
from segue.core.types import FloatArray

from .driver import stepped

CONTINUOUS = np.array([False, False])
SECOND_DISCRETE = np.array([False, True])
LOW, HIGH = np.array([-50.0, -np.inf]), np.array([50.0, np.inf])


def plan_of(values: list[float], captured_ns: int = 0, model: bool = True) -> Plan:
    actions = stepped(values)
    return Plan.of_chunk(actions, actions / 10 if model else None, captured_ns, LOW, HIGH)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("weighted_average", [0.3 * 10 + 0.7 * 20, 0.3 * 11 + 0.7 * 24]),
        ("latest_only", [20.0, 24.0]),
        ("average", [15.0, 17.5]),
        ("conservative", [0.7 * 10 + 0.3 * 20, 0.7 * 11 + 0.3 * 24]),
    ],
)
def test_the_four_aggregations(name: str, expected: list[float]) -> None:
    """Overlapping steps are joined with the weights of their name; later ones are the new chunk's."""
    joined = merge(plan_of([10, 11]), plan_of([20, 24, 28]), AGGREGATIONS[name], CONTINUOUS)
    np.testing.assert_allclose(joined.robot_actions, stepped([*expected, 28.0]))


def act_ensemble(covering: list[FloatArray], decay: float = 0.01) -> FloatArray:
    """Temporal ensembling as ACT states it: all predictions of a step, the oldest first, at once."""
    weights = np.exp(-decay * np.arange(len(covering)))
    return np.sum(np.array(covering) * (weights / weights.sum())[:, None], axis=0)


@pytest.mark.parametrize("chunks", [2, 3, 7])
def test_the_ensemble_computed_step_by_step_equals_the_direct_formula(chunks: int) -> None:
    """However many chunks cover a step, the incremental mean is ACT's exponential mean of them all."""
    dice = np.random.default_rng(1)
    predictions = dice.uniform(-40, 40, size=(chunks, 9, 2))
    plan, blend = Plan.empty(2), AGGREGATIONS["temporal_ensemble"]
    for k in range(chunks):  # chunk k begins at step k; one step is executed between two of them
        plan = merge(plan[1:], Plan.of_chunk(predictions[k], None, k, LOW, HIGH), blend, CONTINUOUS)
    now = chunks - 1
    for ahead in range(len(plan)):
        step = now + ahead
        covering = [predictions[k][step - k] for k in range(chunks) if 0 <= step - k < 9]
        np.testing.assert_allclose(plan.robot_actions[ahead], act_ensemble(covering))
        assert plan.covered[ahead] == len(covering)


def test_a_strong_decay_weighs_the_oldest_most() -> None:
    """With decay 10 the second chunk hardly moves the row."""
    blended = temporal_ensemble(stepped([1.0]), stepped([2.0]), np.array([1]), decay=10.0)
    np.testing.assert_allclose(blended, 1.0 + np.exp(-10) / (1 + np.exp(-10)))


@pytest.mark.parametrize("name", sorted(AGGREGATIONS))
def test_discrete_dimensions_are_never_blended(name: str) -> None:
    """A gripper that is open or closed takes the latest chunk's word, whatever the aggregation."""
    joined = merge(plan_of([0, 0, 0]), plan_of([1, 1]), AGGREGATIONS[name], SECOND_DISCRETE)
    assert joined.robot_actions[:, 1].tolist() == [1, 1, 0]


@pytest.mark.parametrize("name", sorted(AGGREGATIONS))
def test_a_shorter_chunk_leaves_the_old_tail(name: str) -> None:
    """Beyond the new chunk's end the old plan stays, with its model units and stamps."""
    joined = merge(plan_of([1, 2, 3, 4], 5), plan_of([11, 12], 9), AGGREGATIONS[name], CONTINUOUS)
    assert joined.robot_actions[2:, 0].tolist() == [3, 4]
    np.testing.assert_allclose(joined.model_actions[2:, 0], [0.3, 0.4])
    assert joined.intact[2:].all()
    assert joined.captured_ns[2:].tolist() == [5, 5]


@pytest.mark.parametrize("name", sorted(AGGREGATIONS))
def test_the_first_chunk_stands_as_it_is(name: str) -> None:
    """With nothing planned there is nothing to blend with."""
    new = plan_of([1, 2, 3], 5)
    joined = merge(Plan.empty(2), new, AGGREGATIONS[name], CONTINUOUS)
    np.testing.assert_array_equal(joined.robot_actions, new.robot_actions)
    assert joined.intact.all()


def test_blended_rows_are_nobodys_output() -> None:
    """Model units are gone where two chunks were blended and nowhere else."""
    joined = merge(plan_of([1, 2]), plan_of([3, 4, 5]), AGGREGATIONS["average"], CONTINUOUS)
    assert joined.intact.tolist() == [False, False, True]
    again = merge(joined, plan_of([6, 7, 8]), None, CONTINUOUS)
    assert again.intact.all()


def test_limits_are_applied_to_the_plan() -> None:
    """A row beyond a limit is clipped and loses its model units; its neighbours keep theirs."""
    plan = plan_of([49.0, 50.0, 51.0, -70.0])
    assert plan.robot_actions[:, 0].tolist() == [49, 50, 50, -50]
    assert plan.robot_actions[:, 1].tolist() == [49, 50, 51, -70]
    assert plan.intact.tolist() == [True, True, False, False]


def test_a_policy_without_model_units_has_none_to_hand_on() -> None:
    """Rows without model actions are never intact, also behind a chunk that has them."""
    assert not plan_of([1, 2], model=False).intact.any()
    joined = merge(plan_of([1, 2, 3], model=False), plan_of([4]), None, CONTINUOUS)
    assert joined.intact.tolist() == [True, False, False]
    assert joined.model_actions.shape == (3, 2)


def test_more_model_rows_than_used_are_cut() -> None:
    """A policy that samples 50 and of which 4 are used leaves 4 rows in both units."""
    plan = Plan.of_chunk(stepped([1, 2, 3, 4]), np.ones((50, 7)), 0, LOW, HIGH)
    assert plan.model_actions.shape == (4, 7)


def test_a_blended_row_is_as_old_as_the_oldest_observation_in_it() -> None:
    """The age of an action counts from the oldest observation that shaped it."""
    joined = merge(plan_of([1, 2], 5), plan_of([3, 4, 5], 9), AGGREGATIONS["average"], CONTINUOUS)
    assert joined.captured_ns.tolist() == [5, 5, 9]
    assert merge(plan_of([1, 2], 5), plan_of([3], 9), None, CONTINUOUS).captured_ns.tolist() == [9, 5]
