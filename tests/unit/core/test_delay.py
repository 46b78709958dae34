"""The delay forecast in steps."""

from __future__ import annotations

import pytest

from segue.core.delay import WINDOW, DelayForecast
from segue.core.interpolate import StepGrid

from .driver import MS, SECOND


def test_before_the_first_sample_it_is_handshake_plus_declared_inference() -> None:
    """50 ms and 300 ms at 10 Hz are 4 steps; declared anew at the next handshake."""
    forecast = DelayForecast(10.0, 100.0)
    assert forecast.steps == 1
    forecast.declare(50 * MS, 300 * MS)
    assert (forecast.steps, forecast.time_ns) == (4, 400 * MS)
    forecast.declare(0, 0)
    assert forecast.steps == 1


def test_a_sample_outweighs_what_was_declared() -> None:
    """After the first measured round trip the declaration no longer counts."""
    forecast = DelayForecast(10.0, 100.0)
    forecast.declare(SECOND, SECOND)
    assert forecast.observe(150 * MS) == 2
    assert forecast.steps == 2


def test_a_spike_is_forgotten_after_the_window() -> None:
    """One slow inference is remembered for ten chunks, then the forecast returns: no all-time maximum."""
    forecast = DelayForecast(10.0, 100.0)
    forecast.observe(2 * SECOND)
    seen = []
    for _ in range(20):
        forecast.observe(200 * MS)
        seen.append(forecast.steps)
    assert seen == [20] * (WINDOW - 1) + [2] * 11


@pytest.mark.parametrize(
    ("ms", "steps"), [(10, 1), (100, 1), (110, 2), (300, 3), (310, 4), (350, 4), (600, 6), (0, 1)]
)
def test_a_round_trip_is_rounded_up_to_whole_steps(ms: int, steps: int) -> None:
    """At 10 Hz every begun 100 ms is a step, exact multiples included, and less than one there is not."""
    assert DelayForecast(10.0, 100.0).observe(ms * MS) == steps


@pytest.mark.parametrize("jitter_ns", [-300_000, -1_000, 1, 7_000, 300_000])
@pytest.mark.parametrize(
    ("action_hz", "control_hz"), [(10.0, 10.0), (10.0, 100.0), (30.0, 100.0), (30.0, 30.0)]
)
def test_microseconds_of_lateness_never_make_a_step(
    action_hz: float, control_hz: float, jitter_ns: int
) -> None:
    """Both ends of a round trip lie on ticks, so jitter far below a tick changes nothing."""
    for ticks in range(1, 60):
        exact = round(ticks * SECOND / control_hz)
        forecasts = [DelayForecast(action_hz, control_hz).observe(exact + j) for j in (0, jitter_ns)]
        assert forecasts[0] == forecasts[1] == max(1, -(-ticks * action_hz // control_hz))


def test_what_may_have_been_a_cold_start_is_believed_until_the_next_answer() -> None:
    """A suspicion raises the forecast, lowers it never, and goes with the next sample."""
    forecast = DelayForecast(10.0, 100.0)
    forecast.suspect(2 * SECOND)
    assert forecast.steps == 20
    assert forecast.observe(300 * MS) == forecast.steps == 3
    forecast.suspect(100 * MS)
    assert forecast.steps == 3


@pytest.mark.parametrize(("action_hz", "control_hz"), [(10.0, 10.0), (10.0, 100.0), (30.0, 100.0)])
def test_steps_that_would_have_begun_lie_on_the_grid(action_hz: float, control_hz: float) -> None:
    """They are those which begin before the tick of the answer, and never more than the delay in steps."""
    forecast, grid = DelayForecast(action_hz, control_hz), StepGrid.of(action_hz, control_hz)
    for ticks in range(60):
        waited_ns = round(ticks * SECOND / control_hz)
        begun = sum(grid.begin(k) < ticks for k in range(61))
        assert forecast.begun_in(waited_ns) == begun <= max(forecast.steps_of(waited_ns), 0 if ticks else 1)


def test_time_is_exact_at_rates_that_do_not_divide_a_second() -> None:
    """Three steps at 30 Hz are a tenth of a second, to the nanosecond."""
    forecast = DelayForecast(30.0, 100.0)
    forecast.observe(100 * MS)
    assert (forecast.steps, forecast.time_ns) == (3, 100 * MS)
