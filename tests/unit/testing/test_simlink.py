from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segue.testing.simlink import Direction, LinkModel, Partition, SimLink

MS = 1_000_000


def _arrivals(model: LinkModel, seed: int, count: int = 200) -> list[tuple[int, Direction, int]]:
    link: SimLink[int] = SimLink(model, seed)
    for number in range(count):
        link.send(Direction.UP, number, number * MS)
    return list(link.arrivals(10**12))


def test_a_seed_replays_the_same_network() -> None:
    """The same seed and the same messages give the same arrivals; another seed gives others."""
    model = LinkModel(delay_ms=20, jitter_ms=10, loss=0.1, reorder=True)
    assert _arrivals(model, 3) == _arrivals(model, 3)
    assert _arrivals(model, 3) != _arrivals(model, 4)


@given(delay=st.floats(0, 500), jitter=st.floats(0, 100), seed=st.integers(0, 2**32))
def test_nothing_overtakes_unless_it_may(delay: float, jitter: float, seed: int) -> None:
    """Without reordering messages arrive in the order in which they were sent, none before its delay."""
    arrivals = _arrivals(LinkModel(delay_ms=delay, jitter_ms=jitter), seed, count=50)
    assert [message for _, _, message in arrivals] == list(range(50))
    assert all(at >= number * MS + int(delay * MS) for at, _, number in arrivals)


def test_messages_may_overtake_when_reordering() -> None:
    """With reordering and jitter some message overtakes another."""
    arrivals = _arrivals(LinkModel(delay_ms=5, jitter_ms=30, reorder=True), seed=1)
    order = [message for _, _, message in arrivals]
    assert order != sorted(order)
    assert sorted(order) == list(range(200))


def test_a_partition_swallows_exactly_what_is_sent_in_it() -> None:
    """Messages sent within a partition are lost in the directions that it cuts, and only those."""
    link: SimLink[int] = SimLink(
        LinkModel(partitions=(Partition(50 * MS, 100 * MS, up=True, down=False),)), 0
    )
    for number in range(200):
        link.send(Direction.UP, number, number * MS)
        link.send(Direction.DOWN, number, number * MS)
    arrived = list(link.arrivals(10**12))
    up = {message for _, direction, message in arrived if direction is Direction.UP}
    down = {message for _, direction, message in arrived if direction is Direction.DOWN}
    assert up == set(range(50)) | set(range(100, 200))
    assert down == set(range(200))


def test_about_the_stated_share_is_lost() -> None:
    """The share of lost messages is near the model's, and they are counted."""
    link: SimLink[int] = SimLink(LinkModel(loss=0.2), 0)
    for number in range(5000):
        link.send(Direction.UP, number, number)
    assert 0.17 < link.lost / link.sent < 0.23
    assert len(link.arrivals(10**12)) == link.sent - link.lost


def test_a_duplicate_comes_after_its_first_copy() -> None:
    """About the stated share of messages arrives a second time, never before the first."""
    arrivals = _arrivals(LinkModel(delay_ms=5, duplicate=0.3, duplicate_ms=50), seed=2, count=1000)
    times: dict[int, list[int]] = {}
    for at_ns, _, number in arrivals:
        times.setdefault(number, []).append(at_ns)
    twice = [at for at in times.values() if len(at) == 2]
    assert 200 < len(twice) < 400
    assert len(times) == 1000
    assert all(first == number * MS + 5 * MS for number, (first, *_) in times.items())
