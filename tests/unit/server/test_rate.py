"""Buckets of tokens, under a clock that the tests move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segue.server.rate import Buckets, Rate

SECOND = 1_000_000_000


def test_a_burst_and_then_the_rate() -> None:
    """Of a thousand questions at once the burst passes, and later as many as the seconds refilled."""
    buckets = Buckets(Rate(per_s=10.0, burst=5))
    assert sum(buckets.take("a", SECOND) for _ in range(1000)) == 5
    assert sum(buckets.take("a", SECOND + SECOND // 5) for _ in range(1000)) == 2
    assert sum(buckets.take("a", 60 * SECOND) for _ in range(1000)) == 5


def test_one_key_takes_nothing_from_another() -> None:
    """A key whose bucket is empty leaves the bucket of another full."""
    buckets = Buckets(Rate(per_s=1.0, burst=1))
    assert buckets.take("a", 0)
    assert not buckets.take("a", 0)
    assert buckets.take("b", 0)


def test_ever_new_keys_cost_no_memory() -> None:
    """However many keys ask, no more than the bound are kept, and one that just asked is among them."""
    buckets = Buckets(Rate(per_s=1.0, burst=1), most=100)
    for k in range(10_000):
        assert buckets.take(str(k), k)
        assert not buckets.take(str(k), k)
    assert len(buckets) <= 100


def test_full_buckets_are_forgotten_first() -> None:
    """When the table is full, those whose buckets are full again go, and the others stay counted."""
    buckets = Buckets(Rate(per_s=1.0, burst=1), most=3)
    for key in "abc":
        buckets.take(key, 0)
    assert buckets.take("d", 10 * SECOND)
    assert len(buckets) == 1
    assert not buckets.take("d", 10 * SECOND)


@given(st.lists(st.integers(0, 3 * SECOND), max_size=80), st.integers(1, 20), st.integers(1, 10))
def test_no_second_sees_more_than_the_rate_and_a_burst(asked: list[int], per_s: int, burst: int) -> None:
    """Whenever one asks, no stretch of a second lets through more than the rate and one burst."""
    buckets = Buckets(Rate(float(per_s), burst))
    passed = [at for at in sorted(asked) if buckets.take("a", at)]
    for at in passed:
        assert sum(at <= other < at + SECOND for other in passed) <= per_s + burst + 1
