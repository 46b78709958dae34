"""The bus asks with deadlines, asks again only whom it must, and believes only what is an answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.errors import RobotFault
from segue.robots import packets, sts3215
from segue.robots.answer_times import ADAPTER_MARGIN_NS
from segue.robots.feetech import ServoBus
from segue.robots.sts3215 import GOAL_POSITION, MODEL, PRESENT_POSITION, Status
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo_arm import so101_servos
from segue.testing.servo_line import ServoLine

MS = 1_000_000
SIX = (1, 2, 3, 4, 5, 6)
BLOCK = (PRESENT_POSITION.address, 10)


class Scripted:
    """A port that answers each question with pieces of bytes, each fetched by a read of its own."""

    def __init__(self, clock: VirtualClock, *answer: bytes) -> None:
        self.asked: list[bytes] = []
        self.waiting: list[bytes] = []
        self._clock, self._answer = clock, answer

    def write(self, data: bytes) -> None:
        """Takes a question."""
        self.asked.append(data)
        self.waiting += self._answer

    def read(self, deadline_ns: int) -> bytes:
        """Returns the next piece, or waits."""
        if self.waiting:
            return self.waiting.pop(0)
        self._clock.sleep_until(deadline_ns)
        return b""

    def discard(self) -> None:
        """Throws the rest away."""
        self.waiting.clear()

    def close(self) -> None:
        """Has nothing to close."""


@pytest.fixture
def clock() -> VirtualClock:
    """A clock that moves when somebody waits."""
    return VirtualClock(1)


@pytest.fixture
def line() -> ServoLine:
    """Six servos."""
    return ServoLine(so101_servos())


@pytest.fixture
def bus(line: ServoLine, clock: VirtualClock) -> ServoBus:
    """A bus to them."""
    return ServoBus(DirectPort(line, clock), clock)


def asked_for_all(bus: ServoBus, clock: VirtualClock, budget_ns: int = 7 * MS) -> dict[int, int]:
    """Returns the positions of those that answer within the budget."""
    answers = bus.sync_read(SIX, *BLOCK, clock.now_ns() + budget_ns)
    return {servo: PRESENT_POSITION.decode(answer.data) for servo, answer in answers.items()}


def test_registers_are_read_and_written(bus: ServoBus, line: ServoLine) -> None:
    """What is written to a servo is what the servo has, and what is read is what it holds."""
    assert bus.read(3, MODEL).value == 777
    assert bus.write(3, sts3215.HOMING_OFFSET, -1023) == 0
    assert line.servo(3).get(sts3215.HOMING_OFFSET) == -1023
    assert bus.read(3, sts3215.HOMING_OFFSET).value == -1023
    assert bus.read_all(SIX, sts3215.ID) == {servo: servo for servo in SIX}
    bus.sync_write(GOAL_POSITION, {2: 2000, 5: 1000})
    assert (line.servo(2).get(GOAL_POSITION), line.servo(5).get(GOAL_POSITION)) == (2000, 1000)


def test_a_whole_question_takes_hardly_more_than_its_wire_time(bus: ServoBus, clock: VirtualClock) -> None:
    """Six servos' block is there after the 110 bytes that it takes."""
    began_ns = clock.now_ns()
    assert list(asked_for_all(bus, clock)) == list(SIX)
    assert clock.now_ns() - began_ns == (14 + 6 * 16) * 10_000
    assert bus.counts.retries == 0


def test_status_bits_come_with_every_answer(bus: ServoBus, line: ServoLine) -> None:
    """A servo in trouble says so whatever it is asked."""
    line.servo(2).injected = Status.OVERLOADED
    line.servo(2).advance(0)
    assert bus.ping(2) == Status.OVERLOADED
    assert bus.read(2, MODEL).status == Status.OVERLOADED
    assert bus.write(2, sts3215.ACCELERATION, 254) == Status.OVERLOADED
    assert bus.ping(1) == 0


def test_only_the_mute_are_asked_again(line: ServoLine, clock: VirtualClock) -> None:
    """After one lost answer the second question is for that servo alone."""
    line.faults.lose_replies = 1
    port = DirectPort(line, clock)
    asked: list[bytes] = []
    written = port.write
    port.write = lambda data: (asked.append(data), written(data))[1]  # type: ignore[method-assign]
    bus = ServoBus(port, clock)
    assert set(asked_for_all(bus, clock)) == set(SIX)
    assert asked == [packets.sync_read(SIX, *BLOCK), packets.sync_read((1,), *BLOCK)]
    assert (bus.counts.questions, bus.counts.retries, bus.counts.unanswered) == (1, 1, 0)


def test_a_mute_servo_costs_two_retries_and_never_more_than_the_budget(
    bus: ServoBus, line: ServoLine, clock: VirtualClock
) -> None:
    """The five others are answered for, and the deadline is kept to the nanosecond."""
    line.faults.mute = frozenset({4})
    began_ns = clock.now_ns()
    assert set(asked_for_all(bus, clock, budget_ns=int(6.5 * MS))) == set(SIX) - {4}
    assert clock.now_ns() - began_ns <= 6.5 * MS
    assert (bus.counts.retries, bus.counts.unanswered) == (2, 1)
    began_ns = clock.now_ns()
    asked_for_all(bus, clock, budget_ns=100 * MS)
    # Three questions at most, however long the budget.
    assert clock.now_ns() - began_ns <= 3 * (ADAPTER_MARGIN_NS + 1_200_000)
    began_ns = clock.now_ns()
    asked_for_all(bus, clock, budget_ns=2 * MS)
    assert clock.now_ns() - began_ns <= 2 * MS


def test_a_garbled_answer_is_asked_for_again(bus: ServoBus, line: ServoLine, clock: VirtualClock) -> None:
    """A wrong checksum counts as no answer; the numbers that come out are the true ones."""
    expected = asked_for_all(bus, clock)
    line.faults.garble_replies = 2
    assert asked_for_all(bus, clock) == expected
    assert bus.counts.retries == 1


def test_who_stays_mute_is_named(bus: ServoBus, line: ServoLine) -> None:
    """A question to one servo that nobody answers ends with its number and its register."""
    line.faults.mute = frozenset({4})
    assert bus.ping(4) is None
    with pytest.raises(RobotFault, match="servo 4 does not answer a question for its Model_Number"):
        bus.read(4, MODEL)
    with pytest.raises(RobotFault, match="servo 4 does not confirm that its Goal_Position is 7"):
        bus.write(4, GOAL_POSITION, 7)
    with pytest.raises(RobotFault, match="servo 4 does not answer a question for its ID"):
        bus.read_all(SIX, sts3215.ID)


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(
    bus: ServoBus, line: ServoLine, clock: VirtualClock
) -> None:
    """Two registers of one size that are read one after the other through a slow adapter keep apart."""
    line.faults.delay_ns = 30 * MS
    line.servo(1).set(sts3215.MIN_POSITION, 700)
    line.servo(1).set(sts3215.MAX_POSITION, 3000)
    for _ in range(5):
        assert bus.read(1, sts3215.MIN_POSITION).value == 700
        assert bus.read(1, sts3215.MAX_POSITION).value == 3000


def test_what_lay_about_is_thrown_away_before_a_question(clock: VirtualClock) -> None:
    """An old answer that nobody fetched is not the answer to the next question."""
    port = Scripted(clock, packets.packet(1, 0, b"\x09\x03"))
    port.waiting.append(packets.packet(1, 0, b"\x00\x00"))
    assert ServoBus(port, clock).read(1, MODEL).value == 777


@pytest.mark.parametrize(
    "wrong",
    [
        packets.packet(2, 0, b"\x01\x00"),
        packets.packet(1, 0, b"\x01"),
        packets.packet(1, 0, b"\x01\x00\x00"),
        packets.packet(1, 0, b"\x01\x00")[:-1] + b"\x00",
        packets.packet(packets.BROADCAST, packets.Instruction.SYNC_READ, b"\x01\x00"),
        b"\xff\xff\x01\xf0",
        b"\xff\xff\xff",
    ],
)
def test_answers_that_are_none_are_passed_over(clock: VirtualClock, wrong: bytes) -> None:
    """A wrong servo, length or checksum before the answer does not hide it."""
    port = Scripted(clock, wrong, packets.packet(1, 0, b"\x09\x03"))
    assert ServoBus(port, clock).read(1, MODEL).value == 777
    assert len(port.asked) == 1


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from((b"\xff", b"\xff\xff\x01"))), max_size=12))
def test_noise_never_breaks_the_bus(pieces: list[bytes]) -> None:
    """Whatever comes in place of an answer, the bus returns in time, and only what is really an answer."""
    clock = VirtualClock(1)
    noise = b"".join(pieces)
    bus = ServoBus(Scripted(clock, *(each for each in pieces if each)), clock)
    answers = bus.sync_read(SIX, *BLOCK, clock.now_ns() + 7 * MS)
    assert clock.now_ns() <= 1 + 7 * MS
    for servo, answer in answers.items():
        assert packets.packet(servo, answer.error, answer.data) in noise


@given(st.data())
def test_answers_are_found_however_the_line_cuts_them(data: st.DataObject) -> None:
    """Answers in pieces of any size, with noise that has no header between them, are all found."""
    answers = {servo: data.draw(st.binary(min_size=10, max_size=10)) for servo in SIX}
    noise = st.binary(max_size=5).map(lambda each: each.replace(b"\xff", b"\x00"))
    stream = b"".join(data.draw(noise) + packets.packet(servo, 0, each) for servo, each in answers.items())
    ends = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1))) | {len(stream)})
    pieces = [stream[start:end] for start, end in pairwise([0, *ends])]
    clock = VirtualClock(1)
    found = ServoBus(Scripted(clock, *pieces), clock).sync_read(SIX, *BLOCK, clock.now_ns() + 7 * MS)
    assert {servo: each.data for servo, each in found.items()} == answers


def test_a_line_that_chatters_for_ever_ends_with_the_deadline(clock: VirtualClock) -> None:
    """Noise without an end does not keep the bus listening past its budget."""

    class Chatter(Scripted):
        def read(self, deadline_ns: int) -> bytes:
            self._clock.sleep_until(self._clock.now_ns() + 10_000)
            return b"\x55"

    bus = ServoBus(Chatter(clock), clock)
    assert bus.sync_read(SIX, *BLOCK, clock.now_ns() + 7 * MS) == {}
    assert clock.now_ns() <= 1 + 7 * MS + 10_000
