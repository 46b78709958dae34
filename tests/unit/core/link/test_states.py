"""The link's table, literally, and the bounds of the waiting time between dials."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.link.states import TRANSITIONS, Backoff, LinkEvent, LinkState, follow
from tests.unit.core.driver import MS

S, E = LinkState, LinkEvent
TABLE = {
    (S.DOWN, E.DIAL): S.DIALING,
    (S.DIALING, E.CONNECTED): S.OPENING,
    (S.DIALING, E.FAILED): S.DOWN,
    (S.DIALING, E.REFUSED): S.REFUSED,
    (S.OPENING, E.OPENED): S.READY,
    (S.OPENING, E.FAILED): S.DOWN,
    (S.OPENING, E.REFUSED): S.REFUSED,
    (S.READY, E.FAILED): S.DOWN,
    (S.READY, E.STALE): S.OPENING,
    (S.READY, E.REFUSED): S.REFUSED,
}


def test_the_table() -> None:
    """These ten transitions and no other."""
    assert TRANSITIONS == TABLE


@pytest.mark.parametrize("state", list(LinkState))
@pytest.mark.parametrize("event", list(LinkEvent))
def test_an_event_that_is_not_listed_changes_nothing(state: LinkState, event: LinkEvent) -> None:
    """A state stays where the table says nothing, and REFUSED stays for ever."""
    assert follow(state, event) is TABLE.get((state, event), state)
    assert follow(LinkState.REFUSED, event) is LinkState.REFUSED


def test_a_broken_link_is_opened_again_by_dial_and_handshake() -> None:
    """From READY the way back leads through DOWN, DIALING and OPENING."""
    state, way = LinkState.READY, []
    for event in (E.FAILED, E.DIAL, E.FAILED, E.DIAL, E.CONNECTED, E.OPENED):
        state = follow(state, event)
        way.append(state)
    assert way == [S.DOWN, S.DIALING, S.DOWN, S.DIALING, S.OPENING, S.READY]


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_backoff_stays_between_100_and_500_ms(failures: int, chance: float) -> None:
    """However often the dial failed, the wait is never shorter than 100 ms nor longer than 500 ms."""
    assert 100 * MS <= Backoff().wait_ns(failures, chance) <= 500 * MS


def test_backoff_grows_and_is_jittered() -> None:
    """The longest wait doubles up to its bound, and two robots with different luck wait differently."""
    longest = [Backoff().wait_ns(n, 1.0) for n in range(1, 5)]
    assert longest == [200 * MS, 400 * MS, 500 * MS, 500 * MS]
    assert [Backoff().wait_ns(n, 0.0) for n in range(1, 5)] == [100 * MS] * 4
    assert Backoff().wait_ns(1, 0.3) != Backoff().wait_ns(1, 0.7)
