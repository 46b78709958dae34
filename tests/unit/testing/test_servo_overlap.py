"""Two servos of one id on the emulated wire: what of their answers is heard, however they meet."""

from __future__ import annotations

import pytest

from segue.clock import NS_PER_MS
from segue.robots import packets
from segue.robots import sts3215 as sts
from segue.testing.servo import Servo
from segue.testing.servo_line import NS_PER_BYTE, ServoLine
from segue.testing.servo_overlap import Overlap, Turn, met
from segue.testing.servo_shaft import FreeShaft

MODEL = packets.read(3, sts.MODEL.address, 2)
PLACE = packets.read(3, sts.PRESENT_POSITION.address, 2)


def two(how: Overlap, delay: int = 0) -> ServoLine:
    """Returns a line with two servos of id 3, at 1000 and at 3000; the second waits `delay` times 2 us."""
    servos = [Servo("one", 3, FreeShaft(1000.0)), Servo("other", 3, FreeShaft(3000.0))]
    servos[1].set(sts.RETURN_DELAY, delay)
    line = ServoLine(servos)
    line.faults.overlap = how
    return line


def heard(line: ServoLine, question: bytes, at_ns: int = 0) -> bytes:
    """Returns all bytes that come to a question."""
    return b"".join(data for data, _ in line.feed(question, at_ns))


def test_colliding_answers_are_heard_where_they_are_equal() -> None:
    """What both say alike passes for one answer, and what they say differently is no packet."""
    line = two(Overlap.COLLIDE)
    assert heard(line, packets.ping(3)) == packets.packet(3, 0)
    assert heard(line, MODEL, NS_PER_MS) == packets.packet(3, 0, b"\x09\x03")
    garbled = heard(line, PLACE, 2 * NS_PER_MS)
    assert len(garbled) == 8
    assert packets.find_status(garbled)[0] is None


def test_one_that_waits_longer_overlaps_in_part_or_not_at_all() -> None:
    """After 40 us the second answer falls into the first one, after 500 us it comes behind it."""
    garbled = heard(two(Overlap.COLLIDE, delay=20), PLACE)
    assert len(garbled) == 12
    assert packets.find_status(garbled)[0] is None
    line = two(Overlap.COLLIDE, delay=250)
    ((both, due_ns),) = line.feed(PLACE, 0)
    first, rest = packets.find_status(both)
    second, rest = packets.find_status(rest)
    assert first is not None
    assert second is not None
    places = [sts.PRESENT_POSITION.decode(each.data) for each in (first, second)]
    assert (places, rest) == ([1000, 3000], b"")
    assert due_ns == (8 + 50 + 8) * NS_PER_BYTE


def test_interleaved_answers_are_never_a_packet() -> None:
    """Byte by byte in turn even a ping is garbled."""
    line = two(Overlap.INTERLEAVE)
    for number, question in enumerate((packets.ping(3), MODEL, PLACE)):
        data = heard(line, question, number * NS_PER_MS)
        assert len(data) in (12, 16)
        assert packets.find_status(data)[0] is None


def test_answers_one_after_the_other_are_both_whole() -> None:
    """A read, a sync read and a write are each answered twice."""
    line = two(Overlap.IN_TURN)
    sync = packets.sync_read([3, 4], sts.PRESENT_POSITION.address, 2)
    for number, question in enumerate((PLACE, sync, packets.write(3, sts.ACCELERATION.address, b"\x01"))):
        replies = line.feed(question, number * NS_PER_MS)
        assert [packets.find_status(data)[0] is not None for data, _ in replies] == [True, True]


def test_both_obey_what_one_is_told() -> None:
    """A write reaches both, a sync write, too, and even a new id is taken by both."""
    line = two(Overlap.COLLIDE)
    line.feed(packets.write(3, sts.ACCELERATION.address, b"\x07"), 0)
    line.feed(packets.sync_write(sts.TORQUE_LIMIT.address, {3: b"\x05\x00"}), NS_PER_MS)
    line.feed(packets.write(3, sts.ID.address, b"\x04"), 2 * NS_PER_MS)
    held = [(each.get(sts.ACCELERATION), each.get(sts.TORQUE_LIMIT), each.id) for each in line.servos]
    assert held == [(7, 5, 4)] * 2


@pytest.mark.parametrize("how", Overlap)
def test_others_are_heard_as_ever(how: Overlap) -> None:
    """Only neighbours of one id meet; a gap stays a gap."""
    turns = [Turn(1, b"abc", 0), Turn(None, b"..", 0), Turn(2, b"de", 40), Turn(1, b"f", 0)]
    assert list(met(turns, how, NS_PER_BYTE)) == turns
