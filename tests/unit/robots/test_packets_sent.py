"""A servo's goal tells of the others' only what one packet for all proves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segue.robots.packets_sent import Packets

SERVOS = (1, 2, 3)
GOALS = st.dictionaries(st.sampled_from(SERVOS), st.integers(0, 3), max_size=3)
LOOKS = st.lists(st.sampled_from(SERVOS), max_size=2, unique=True)


@given(st.lists(st.tuples(GOALS, st.booleans(), LOOKS), max_size=40))
def test_nobody_is_said_to_have_what_it_has_not(story: list) -> None:
    """Whatever is sent, lost and looked at, whoever is concluded to have its newest goal has it."""
    packets, has = Packets(dict.fromkeys(SERVOS, 0)), dict.fromkeys(SERVOS, 0)
    for goals, arrives, looks in story:
        packets.add(goals)
        has |= goals if arrives else {}
        seen = [servo for servo in looks if has[servo] == packets.sent[servo]]
        concluded = packets.arrived_with(seen) if len(seen) == len(looks) else set()
        assert all(has[servo] == packets.sent[servo] for servo in concluded), (concluded, has, packets.sent)
        packets.known({servo: has[servo] for servo in {*looks, *concluded}})


def test_who_moved_with_the_packet_tells_of_all() -> None:
    """A servo that has a goal which only the last packet carried says that it arrived at everybody."""
    packets = Packets(dict.fromkeys(SERVOS, 0))
    packets.add({1: 5, 2: 6, 3: 7})
    assert packets.arrived_with({2}) == {1, 2, 3}


def test_who_was_to_stay_says_nothing() -> None:
    """A servo that was told what it had tells of nobody who was told something new."""
    packets = Packets(dict.fromkeys(SERVOS, 0))
    packets.add({1: 0, 2: 6, 3: 7})
    assert packets.arrived_with({1}) == {1}


def test_who_came_back_to_an_old_goal_says_nothing() -> None:
    """A goal that a servo may have had for longer proves no packet."""
    packets = Packets(dict.fromkeys(SERVOS, 0))
    for goal in (5, 6, 5):
        packets.add({1: goal, 2: goal, 3: 1})
    assert packets.arrived_with({1}) == set()
    assert packets.arrived_with({3}) == {3}


def test_a_goal_that_had_not_arrived_may_do_so_later() -> None:
    """Found with an older goal, a servo that has the newest later tells of the packets since it was found."""
    packets = Packets(dict.fromkeys(SERVOS, 0))
    packets.add({1: 5, 2: 5, 3: 5})
    packets.known({1: 0})
    packets.add({1: 5, 2: 5, 3: 6})
    assert packets.arrived_with({1}) == {1, 2, 3}


def test_who_got_no_packet_is_not_spoken_for() -> None:
    """A servo that was left out of a packet may have missed the one that the others got."""
    packets = Packets(dict.fromkeys(SERVOS, 0))
    packets.add({1: 5, 2: 5, 3: 5})
    packets.add({1: 6, 2: 5})
    assert packets.arrived_with({1}) == {1, 2}


def test_a_witness_is_called_only_where_one_is_needed() -> None:
    """Who was told something new by the last packet is asked, unless somebody who is asked was."""
    packets = Packets(dict.fromkeys(SERVOS, 0))
    assert packets.witness([], [1]) == []
    packets.add({1: 5, 2: 0, 3: 0})
    packets.add({1: 5, 2: 6, 3: 0})
    assert packets.witness([2], [2]) == []
    assert packets.witness([2], [1]) == [2]
    assert packets.witness([1], [2]) == []
    assert packets.witness([1], [3]) == [2]
