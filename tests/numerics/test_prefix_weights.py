"""The prefix weights against the values of the paper's formula, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.types import Schedule
from segue.policies.prefix import Window, guidance_window, prefix_weights

steps = st.integers(0, 60)


def test_golden_eight_steps() -> None:
    """With H = 8, five actions left and d = 2 the exponential weights are the known ones."""
    window = guidance_window(delay_steps=2, leftover_steps=5, chunk_length=8)
    expected = [1, 1, 0.487551, 0.188770, 0.041324, 0, 0, 0]
    np.testing.assert_allclose(prefix_weights(window, 8, Schedule.EXP), expected, atol=5e-7)


@pytest.mark.parametrize(
    ("left", "soft"),
    [(11, [0.7123, 0.4876, 0.3158, 0.1888, 0.0993, 0.0413, 0.0097]), (7, [0.4876, 0.1888, 0.0413])],
)
def test_golden_short_leftover(left: int, soft: list[float]) -> None:
    """With a short leftover the decay is made anew for the shorter window, not cut off."""
    window = guidance_window(delay_steps=4, leftover_steps=left, chunk_length=16)
    expected = [1.0] * 4 + soft + [0.0] * (16 - left)
    np.testing.assert_allclose(prefix_weights(window, 16, Schedule.EXP), expected, atol=5e-5)


def test_golden_linear_ones_zeros() -> None:
    """The other schedules are a straight line, a full window and the hard prefix alone."""
    window = Window(delay=2, end=5)
    np.testing.assert_allclose(prefix_weights(window, 7, Schedule.LINEAR), [1, 1, 0.75, 0.5, 0.25, 0, 0])
    np.testing.assert_array_equal(prefix_weights(window, 7, Schedule.ONES), [1, 1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(prefix_weights(window, 7, Schedule.ZEROS), [1, 1, 0, 0, 0, 0, 0])


def test_lerobot_meaning_of_prefix_end() -> None:
    """A `prefix_end` of ten ends the window at step ten, whatever the chunk's length."""
    assert guidance_window(3, leftover_steps=40, chunk_length=50, prefix_end=10) == Window(3, 10)
    assert guidance_window(3, leftover_steps=6, chunk_length=50, prefix_end=10) == Window(3, 6)
    assert guidance_window(12, leftover_steps=40, chunk_length=50, prefix_end=10) == Window(10, 10)


@given(delay=steps, left=steps, length=st.integers(1, 60), prefix_end=st.none() | st.integers(1, 60))
def test_window_at_all_bounds(delay: int, left: int, length: int, prefix_end: int | None) -> None:
    """The window never ends beyond the leftover or the wished end, and the delay never beyond the window."""
    window = guidance_window(delay, left, length, prefix_end)
    assert window.end == min(left, length if prefix_end is None else prefix_end)
    assert window.delay == min(delay, window.end)


@given(left=steps, delay=steps, horizon=st.integers(1, 60), schedule=st.sampled_from(Schedule))
def test_weights_at_all_bounds(left: int, delay: int, horizon: int, schedule: Schedule) -> None:
    """Weights are finite, one before d, zero after the end, and never rise in between."""
    window = guidance_window(delay, min(left, horizon), horizon)
    weights = prefix_weights(window, horizon, schedule)
    assert weights.shape == (horizon,)
    assert np.isfinite(weights).all()
    np.testing.assert_array_equal(weights[: window.delay], 1)
    np.testing.assert_array_equal(weights[window.end :], 0)
    assert (np.diff(weights) <= 0).all()


@given(left=st.integers(1, 40), delay=st.integers(0, 40))
def test_exponential_formula(left: int, delay: int) -> None:
    """Each soft weight is c·(e^c − 1)/(e − 1) with c = (end − i)/(end − d + 1), one by one."""
    window = guidance_window(delay, left, chunk_length=40)
    weights = prefix_weights(window, 40, Schedule.EXP)
    for i in range(window.delay, window.end):
        c = (window.end - i) / (window.end - window.delay + 1)
        assert weights[i] == pytest.approx(c * (math.exp(c) - 1) / (math.e - 1), rel=1e-12)


@given(left=steps, schedule=st.sampled_from(Schedule))
def test_soft_equals_hard_when_all_is_committed(left: int, schedule: Schedule) -> None:
    """With d at the end of the window every schedule is the hard prefix."""
    window = guidance_window(left, left, chunk_length=60)
    hard = prefix_weights(window, 60, Schedule.ZEROS)
    np.testing.assert_array_equal(prefix_weights(window, 60, schedule), hard)
