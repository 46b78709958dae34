"""Two servos of one id are told from one, from none and from a bad line, however their answers meet."""

from __future__ import annotations

import random

import pytest

from segue.clock import NS_PER_MS, NS_PER_S
from segue.robots import packets, sts3215
from segue.robots.bus_doubles import doubled
from segue.robots.bus_scan import answering_servos
from segue.testing import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo import Servo
from segue.testing.servo_arm import so101_servos
from segue.testing.servo_line import ServoLine
from segue.testing.servo_overlap import Overlap
from segue.testing.servo_shaft import FreeShaft
from tests.unit.robots.test_bus_scan import NOISES, Chatter

IDS = (1, 2, 3, 4, 5, 6)
every_overlap = pytest.mark.parametrize("how", Overlap)


def line_with(how: Overlap, *further: Servo) -> ServoLine:
    """Returns an arm's servos and `further` ones."""
    line = ServoLine([*so101_servos(), *further])
    line.faults.overlap = how
    return line


def look(line: ServoLine, clock: VirtualClock | None = None) -> dict[int, bool]:
    """Returns the ids of an arm that are doubled, by our driver's own look."""
    clock = clock or VirtualClock(1)
    return doubled(DirectPort(line, clock), clock, IDS)


def another(servo: int, position: float = 1234.0, delay: int = 0) -> Servo:
    """Returns a servo with an id that an arm has already."""
    made = Servo("another", servo, FreeShaft(position))
    made.set(sts3215.RETURN_DELAY, delay)
    return made


@every_overlap
@pytest.mark.parametrize("delay", [0, 3, 100, 250])
@pytest.mark.parametrize("servo", [1, 3, 6])
def test_an_id_with_two_servos_is_found(how: Overlap, delay: int, servo: int) -> None:
    """Whichever id it is and however their answers meet, it is found, and no other."""
    assert list(look(line_with(how, another(servo, delay=delay)))) == [servo]


@every_overlap
def test_six_new_servos_of_one_id_are_found(how: Overlap) -> None:
    """Servos as they come from the factory all answer to 1, alike but for where they are."""
    line = ServoLine([Servo(f"new{number}", 1, FreeShaft(100.0 + 300 * number)) for number in range(6)])
    line.faults.overlap = how
    assert list(look(line)) == [1]


@every_overlap
def test_two_doubled_ids_are_both_found(how: Overlap) -> None:
    """One does not hide the other."""
    assert list(look(line_with(how, another(2), another(5, 777.0)))) == [2, 5]


def test_it_is_certain_where_two_whole_answers_came() -> None:
    """Answers that are garbled each time are also those of a bad cable, and are told apart from two."""
    assert look(line_with(Overlap.IN_TURN, another(3))) == {3: True}
    assert look(line_with(Overlap.COLLIDE, another(3, delay=250))) == {3: True}
    assert look(line_with(Overlap.COLLIDE, another(3))) == {3: False}


def test_hardly_any_pair_of_servos_passes_for_one() -> None:
    """Of 300 drawn places in which two servos collide none is overlooked, though a checksum may fit."""
    dice = random.Random(9)
    for _ in range(300):
        line = line_with(Overlap.COLLIDE, another(3, float(dice.randrange(4096))))
        line.servo("elbow_flex").shaft.position = float(dice.randrange(4096))
        assert list(look(line)) == [3]


def test_an_arm_with_each_id_once_is_passed_within_a_tenth_of_a_second() -> None:
    """Nobody is doubled, nothing is written, and it costs a start little."""
    clock = VirtualClock(1)
    line = line_with(Overlap.COLLIDE)
    assert look(line, clock) == {}
    assert clock.now_ns() < NS_PER_S // 10
    assert list(line.writes) == []


@pytest.mark.parametrize("delay_ms", [1, 8, 16])
def test_late_answers_are_no_second_ones(delay_ms: int) -> None:
    """An adapter that holds each answer back for 16 ms doubles nobody, and hides no double."""
    line = line_with(Overlap.COLLIDE)
    line.faults.delay_ns = delay_ms * NS_PER_MS
    assert look(line) == {}
    line = line_with(Overlap.IN_TURN, another(4))
    line.faults.delay_ns = delay_ms * NS_PER_MS
    assert look(line) == {4: True}


@pytest.mark.parametrize("fault", ["lose_replies", "garble_replies", "lose_requests"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_bad_line_is_no_double(fault: str, count: int) -> None:
    """Some answers that are lost or garbled, anywhere on the way, make no second servo."""
    for before in range(14):
        line = line_with(Overlap.COLLIDE)
        feed = line.feed

        def spoiled(data: bytes, now_ns: int, line: ServoLine = line, feed=feed, at=before):  # type: ignore[no-untyped-def]
            if line.requests == at:
                setattr(line.faults, fault, count)
            return feed(data, now_ns)

        line.feed = spoiled  # type: ignore[method-assign]
        assert look(line) == {}


def test_who_is_mute_or_not_there_is_no_double() -> None:
    """Silence is not garbage."""
    line = line_with(Overlap.COLLIDE)
    line.faults.mute = frozenset({2, 5})
    assert look(line) == {}
    assert look(ServoLine([])) == {}


@pytest.mark.parametrize("noise", [*NOISES, packets.packet(3, 0, bytes(62)) * 2])
def test_a_line_that_chatters_is_left(noise: bytes) -> None:
    """What comes without an end is not listened to without an end."""
    doubled(Chatter(noise), VirtualClock(1), IDS)


@every_overlap
@pytest.mark.parametrize("servo", [0, 9, 252])
def test_the_scan_finds_an_id_that_two_share(how: Overlap, servo: int) -> None:
    """Where the answers to a ping fall on each other, and an adapter is slow, the id is found, too."""
    for delay_ms in (0, 16):
        clock = VirtualClock(1)
        line = ServoLine([Servo("one", servo), another(servo), Servo("alone", 40)])
        line.faults.overlap, line.faults.delay_ns = how, delay_ms * NS_PER_MS
        assert answering_servos(DirectPort(line, clock), clock) == sorted([servo, 40])
