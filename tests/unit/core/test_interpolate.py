"""Which tick begins a step, and what is sent within it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.interpolate import Interpolator, StepGrid
from segue.core.specs import ActionSpec, Dimension, Kind

SPEC = ActionSpec(
    (
        Dimension("joint", "deg"),
        Dimension("gripper", "", Kind.DISCRETE),
        Dimension("wheel", "m/s", Kind.VELOCITY),
        Dimension("torque", "Nm", Kind.EFFORT),
    )
)
LAST, TARGET = np.array([10.0, 0.0, 1.0, 2.0]), np.array([20.0, 1.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("action_hz", "control_hz", "begins"),
    [
        (10, 10, [0, 1, 2, 3, 4]),
        (10, 100, [0, 10, 20, 30, 40]),
        (30, 100, [0, 4, 7, 10, 14, 17, 20]),
        (50, 60, [0, 2, 3, 4, 5, 6, 8]),
    ],
)
def test_the_grid(action_hz: float, control_hz: float, begins: list[int]) -> None:
    """Step k begins at the first tick at or after k / action_hz."""
    grid = StepGrid.of(action_hz, control_hz)
    assert [grid.begin(k) for k in range(len(begins))] == begins
    assert [grid.length(k) for k in range(len(begins) - 1)] == np.diff(begins).tolist()


def test_every_step_of_a_day_has_its_own_tick() -> None:
    """Over a day of 30 -> 100 Hz nothing drifts and no tick begins two steps."""
    grid = StepGrid.of(30.0, 100.0)
    steps = 24 * 3600 * 30
    assert grid.begin(steps) == 24 * 3600 * 100
    assert {grid.length(k) for k in range(0, steps, 997)} == {3, 4}


@given(action=st.floats(0.1, 200), ratio=st.floats(1, 50), k=st.integers(0, 10**7))
def test_a_step_never_begins_early_and_never_a_tick_late(action: float, ratio: float, k: int) -> None:
    """The begin lies within one tick after the step's exact time, at any pair of rates."""
    control = action * ratio
    grid = StepGrid.of(action, max(action, control))
    exact = k * Fraction(max(action, control)) / Fraction(action)
    assert 0 <= grid.begin(k) - exact < 1
    assert grid.length(k) >= 1


@pytest.mark.parametrize(("action_hz", "control_hz"), [(0, 10), (-1, 10), (20, 10), (float("nan"), 10)])
def test_impossible_rates_are_refused(action_hz: float, control_hz: float) -> None:
    """A robot slower than its policy, or a rate that is none, is an error that names both."""
    with pytest.raises(ValueError, match=f"{action_hz} and {control_hz}"):
        StepGrid.of(action_hz, control_hz)


@pytest.mark.parametrize("ticks", [1, 2, 3, 4, 10])
def test_no_action_is_taken_early(ticks: int) -> None:
    """A position is at its action on the step's last tick and never before it."""
    interpolator, last, path = Interpolator(SPEC), LAST, []
    for left in range(ticks, 0, -1):
        last = interpolator.command(last, TARGET, left)
        path.append(last)
    np.testing.assert_allclose([p[0] for p in path], 10 + 10 * np.arange(1, ticks + 1) / ticks)
    assert path[-1][0] == 20.0
    assert all(p[0] < 20.0 for p in path[:-1])


@given(last=st.floats(-1e6, 1e6), target=st.floats(-1e6, 1e6))
def test_the_last_tick_arrives_exactly(last: float, target: float) -> None:
    """Rounding never leaves the command beside its action, or beyond a limit the action lies on."""
    interpolator = Interpolator(ActionSpec((Dimension("joint", "deg"),)))
    assert interpolator.command(np.array([last]), np.array([target]), 1)[0] == target
    way = interpolator.command(np.array([last]), np.array([target]), 3)[0]
    assert min(last, target) <= way <= max(last, target)


def test_the_line_continues_from_the_last_command_sent() -> None:
    """A tick that was held back by a limit is caught up over the rest of the step."""
    interpolator = Interpolator(SPEC)
    assert interpolator.command(np.array([12.0, 0, 0, 0]), TARGET, 4)[0] == 14.0
    assert interpolator.command(np.array([12.0, 0, 0, 0]), TARGET, 2)[0] == 16.0


def test_other_kinds_jump_at_once() -> None:
    """Discrete, velocity and effort dimensions have their action's value from the step's first tick."""
    assert Interpolator(SPEC).command(LAST, TARGET, 5)[1:].tolist() == [1.0, 3.0, 4.0]


def test_what_holding_means() -> None:
    """Positions and discrete dimensions keep, velocity and effort are zero."""
    assert Interpolator(SPEC).hold(TARGET).tolist() == [20.0, 1.0, 0.0, 0.0]


def test_what_resting_means() -> None:
    """Positions go to the rest pose, a discrete gripper keeps what it holds, the others are zero."""
    assert Interpolator(SPEC).rest(TARGET, LAST).tolist() == [20.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(("share", "joint"), [(0.25, 12.5), (0.5, 15.0), (1.0, 20.0), (1.5, 20.0)])
def test_easing_blends_positions_only(share: float, joint: float) -> None:
    """On the way out of a hold positions blend, all else is as planned."""
    assert Interpolator(SPEC).ease(LAST, TARGET, share).tolist() == [joint, 1.0, 3.0, 4.0]
