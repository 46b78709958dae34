from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segue.client.samples import Samples

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(numbers, min_size=1, max_size=200))
def test_a_short_run_is_exact(values: list[float]) -> None:
    """As long as everything fits, percentiles are those of all values."""
    samples = Samples(most=256)
    for value in values:
        samples.add(value)
    assert samples.percentile(95) == float(np.percentile(values, 95))
    assert samples.largest == max(values)


def test_a_long_run_is_an_even_sample_in_bounded_memory() -> None:
    """A million values keep at most a thousand, spread over all of them, and the exact maximum."""
    samples = Samples(most=1000)
    for value in range(1_000_000):
        samples.add(float(value))
    assert len(samples._kept) < 1000
    assert abs((samples.percentile(50) or 0) / 500_000 - 1) < 0.01
    assert abs((samples.percentile(99) or 0) / 990_000 - 1) < 0.01
    assert samples.largest == 999_999.0


def test_nothing_measured_is_none() -> None:
    """Without a value there is no percentile."""
    assert Samples().percentile(50) is None
