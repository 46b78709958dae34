"""The line takes real bytes apart, answers at the speed of the wire, and fails as it is told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.clock import NS_PER_MS
from segue.errors import RobotFault
from segue.robots import packets
from segue.robots import sts3215 as sts
from segue.robots.feetech import ServoBus
from segue.robots.sts3215 import Status
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo import Servo
from segue.testing.servo_arm import so101_servos
from segue.testing.servo_line import ServoLine, Write

IDS = [1, 2, 3, 4, 5, 6]
BYTE_NS = 10_000


def line() -> ServoLine:
    """Returns the servos of an arm on a line."""
    return ServoLine(so101_servos())


def answers(replies: list[tuple[bytes, int]]) -> list[packets.StatusPacket]:
    """Returns the replies as packets."""
    found = [packets.find_status(data) for data, _ in replies]
    assert all(packet is not None and rest == b"" for packet, rest in found)
    return [packet for packet, _ in found if packet is not None]


def bus(made: ServoLine) -> tuple[ServoBus, VirtualClock]:
    """Returns our driver's bus on a port under a virtual clock."""
    clock = VirtualClock(start_ns=1)
    return ServoBus(DirectPort(made, clock), clock), clock


def test_a_ping_is_answered_after_the_time_on_the_wire() -> None:
    """Six bytes there and six back at ten bits each take 120 us, and the return delay twice its number."""
    made = line()
    made.servo(2).set(sts.RETURN_DELAY, 250)
    assert made.feed(packets.ping(1), 1000) == [(packets.packet(1, 0), 1000 + 12 * BYTE_NS)]
    assert made.feed(packets.ping(2), NS_PER_MS) == [
        (packets.packet(2, 0), NS_PER_MS + 12 * BYTE_NS + 500_000)
    ]
    assert made.feed(packets.ping(99), 2 * NS_PER_MS) == []


def test_all_answer_a_ping_to_all_in_turn() -> None:
    """A broadcast ping is answered by each servo in the order of the ids, one after the other."""
    replies = line().feed(packets.ping(packets.BROADCAST), 0)
    assert [packet.id for packet in answers(replies)] == IDS
    assert [due for _, due in replies] == [60_000 + 60_000 * turn for turn in IDS]


def test_a_sync_read_is_answered_in_the_order_of_the_question() -> None:
    """Each servo answers in its turn with its own memory."""
    made = line()
    replies = made.feed(packets.sync_read([6, 1, 3], sts.PRESENT_POSITION.address, 2), 0)
    got = {packet.id: sts.PRESENT_POSITION.decode(packet.data) for packet in answers(replies)}
    assert list(got) == [6, 1, 3]
    assert got == {each: made.servo(each).present() for each in (6, 1, 3)}
    assert [due for _, due in replies] == [(11 + 8 * turn) * BYTE_NS for turn in (1, 2, 3)]


def test_a_mute_servo_leaves_its_gap() -> None:
    """Those behind a mute or missing servo answer when they would have answered anyway."""
    made = line()
    whole = made.feed(packets.sync_read(IDS, sts.PRESENT_POSITION.address, 2), 0)
    made.faults.mute = frozenset({3})
    gap = made.feed(packets.sync_read(IDS, sts.PRESENT_POSITION.address, 2), NS_PER_MS)
    kept = [due for turn, (_, due) in enumerate(whole, 1) if turn != 3]
    assert [due - NS_PER_MS for _, due in gap] == kept
    assert [packet.id for packet in answers(gap)] == [1, 2, 4, 5, 6]


def test_a_sync_write_is_obeyed_by_all_and_answered_by_none() -> None:
    """Every goal arrives, torque comes with it, and nobody says a word."""
    made = line()
    goals = {each: made.servo(each).present() + each for each in IDS}
    rows = {each: sts.GOAL_POSITION.encode(goal) for each, goal in goals.items()}
    assert made.feed(packets.sync_write(sts.GOAL_POSITION.address, rows), 0) == []
    assert {servo.id: servo.get(sts.GOAL_POSITION) for servo in made.servos} == goals


def test_a_write_is_answered_unless_it_is_to_all_or_not_asked_for() -> None:
    """Response_Status_Level 0 keeps a servo silent after a write, and nobody answers a broadcast."""
    made = line()
    order = packets.write(4, sts.ACCELERATION.address, b"\x32")
    assert answers(made.feed(order, 0)) == [packets.StatusPacket(4, 0, b"")]
    made.servo(4).set(sts.RESPONSE_LEVEL, 0)
    assert made.feed(order, NS_PER_MS) == []
    everybody = packets.write(packets.BROADCAST, sts.ACCELERATION.address, b"\x0a")
    assert made.feed(everybody, 2 * NS_PER_MS) == []
    assert {servo.get(sts.ACCELERATION) for servo in made.servos} == {10}


def test_a_registered_write_waits_for_the_action() -> None:
    """What was registered is written when the action comes, once."""
    made = line()
    parameters = bytes((sts.ACCELERATION.address, 50))
    assert len(made.feed(packets.packet(1, 0x04, parameters), 0)) == 1
    assert made.servo(1).get(sts.ACCELERATION) == 0
    assert made.feed(packets.packet(packets.BROADCAST, 0x05), NS_PER_MS) == []
    assert made.servo(1).get(sts.ACCELERATION) == 50
    assert [write.register for write in made.writes] == ["Acceleration"]


def test_a_new_id_is_acknowledged_by_the_old_one() -> None:
    """The servo that is given another id answers as who was asked, and hears its new id from then on."""
    made = ServoLine([Servo("new", 1)])
    assert answers(made.feed(packets.write(1, sts.ID.address, b"\x06"), 0))[0].id == 1
    assert made.feed(packets.ping(1), NS_PER_MS) == []
    assert answers(made.feed(packets.ping(6), 2 * NS_PER_MS))[0].id == 6


@settings(max_examples=200, deadline=None)
@given(noise=st.binary(max_size=40), cut=st.integers(0, 60))
def test_any_garbage_is_passed_over(noise: bytes, cut: int) -> None:
    """After garbage of any kind and some silence a question is answered."""
    made = line()
    made.feed(noise[:cut], 0)
    made.feed(noise[cut:], NS_PER_MS)
    replies = made.feed(packets.ping(5), 100 * NS_PER_MS)
    assert [packet.id for packet in answers(replies)] == [5]


@pytest.mark.parametrize(
    "noise", [b"\x00", b"\xff", b"\xff\xff\x01\x02", b"\xff\xff\x05\x02\x01\x00", b"abc"]
)
def test_garbage_before_a_header_costs_nothing(noise: bytes) -> None:
    """A packet right behind noise is heard, if the noise is not its beginning."""
    made = line()
    made.feed(noise, 0)
    whole = made.feed(packets.ping(5) + packets.ping(5), 10_000)
    assert answers(whole)[-1].id == 5


def test_a_wrong_checksum_is_not_answered() -> None:
    """A packet with one bit turned over is obeyed by nobody."""
    made = line()
    order = bytearray(packets.write(1, sts.TORQUE_ENABLE.address, b"\x01"))
    order[6] ^= 0x10
    assert made.feed(bytes(order), 0) == []
    assert not made.servo(1).torque
    assert list(made.writes) == []
    assert made.ignored == len(order)


def test_a_packet_may_come_in_pieces() -> None:
    """The answer is due from the last byte on, and pieces that never become whole are forgotten."""
    made = line()
    question = packets.ping(1)
    assert made.feed(question[:3], 0) == []
    assert len(made.feed(question[3:], NS_PER_MS)) == 1
    made.feed(question[:3], 20 * NS_PER_MS)
    assert made.feed(question[3:], 60 * NS_PER_MS) == []
    assert len(made.feed(question, 61 * NS_PER_MS)) == 1


@pytest.mark.parametrize(
    "question",
    [
        packets.packet(1, 0x77, b"\x01\x02"),
        packets.packet(1, packets.Instruction.READ),
        packets.packet(1, packets.Instruction.WRITE, b"\x28"),
        packets.packet(packets.BROADCAST, packets.Instruction.READ, b"\x38\x02"),
        packets.packet(packets.BROADCAST, packets.Instruction.SYNC_WRITE, b"\x2a"),
    ],
)
def test_what_no_servo_knows_is_met_with_silence(question: bytes) -> None:
    """An unknown instruction and one without its parameters do nothing and get no answer."""
    made = line()
    assert made.feed(question, 0) == []
    assert list(made.writes) == []
    assert made.ignored == len(question)


def test_reading_beyond_the_memory_gets_no_answer() -> None:
    """A servo has 128 bytes, and nothing is invented behind them."""
    made = line()
    assert len(made.feed(packets.read(1, 126, 2), 0)) == 1
    assert made.feed(packets.read(1, 126, 3), NS_PER_MS) == []


def test_who_talks_over_an_answer_is_not_heard() -> None:
    """The wire is for one at a time: a question in the middle of an answer is lost."""
    made = line()
    replies = made.feed(packets.sync_read(IDS, sts.PRESENT_POSITION.address, 2), 0)
    end_ns = replies[-1][1]
    assert made.feed(packets.ping(1), end_ns - 1) == []
    assert len(made.feed(packets.ping(1), end_ns + 60_000)) == 1


def test_the_error_byte_is_the_status() -> None:
    """Every reply of a servo that is unwell says so."""
    made = line()
    made.servo(3).injected = Status.OVERLOADED
    replies = answers(made.feed(packets.sync_read(IDS, sts.PRESENT_POSITION.address, 2), 0))
    assert [packet.error for packet in replies] == [0, 0, 32, 0, 0, 0]


def test_replies_are_lost_garbled_and_late_as_told() -> None:
    """Each fault strikes as often as it was told to, and then no more."""
    made = line()
    question = packets.ping(1)
    made.faults.lose_replies = 1
    assert made.feed(question, 0) == []
    made.faults.garble_replies = 1
    (garbled, _), *_ = made.feed(question, NS_PER_MS)
    assert len(garbled) == 6
    assert packets.find_status(garbled)[0] is None
    made.faults.delay_ns = 7 * NS_PER_MS
    assert made.feed(question, 2 * NS_PER_MS)[0][1] == 9 * NS_PER_MS + 12 * BYTE_NS
    made.faults.delay_ns = 0
    assert made.feed(question, 3 * NS_PER_MS) == [(packets.packet(1, 0), 3 * NS_PER_MS + 12 * BYTE_NS)]


def test_a_lost_request_is_silent() -> None:
    """A sync write that is lost moves nothing, and nobody could tell."""
    made = line()
    made.faults.lose_requests = 1
    order = packets.sync_write(sts.TORQUE_ENABLE.address, dict.fromkeys(IDS, b"\x01"))
    assert made.feed(order, 0) == []
    assert not any(servo.torque for servo in made.servos)
    made.feed(order, NS_PER_MS)
    assert all(servo.torque for servo in made.servos)


def test_every_write_is_kept_with_time_servo_register_and_value() -> None:
    """What was written can be judged afterwards: signed where the register is, register by register."""
    made = line()
    made.feed(packets.write(2, sts.HOMING_OFFSET.address, sts.HOMING_OFFSET.encode(-300)), 5)
    made.feed(packets.write(3, sts.TORQUE_ENABLE.address, b"\x01\x32\x00\x08"), NS_PER_MS)
    made.feed(packets.write(4, 19, b"\x2c"), 2 * NS_PER_MS)
    assert list(made.writes) == [
        Write(5 + 9 * BYTE_NS, 2, "Homing_Offset", -300),
        Write(NS_PER_MS + 11 * BYTE_NS, 3, "Torque_Enable", 1),
        Write(NS_PER_MS + 11 * BYTE_NS, 3, "Acceleration", 50),
        Write(NS_PER_MS + 11 * BYTE_NS, 3, "Goal_Position", 2048),
        Write(2 * NS_PER_MS + 8 * BYTE_NS, 4, "address_19", 44),
    ]


def test_our_own_bus_drives_it_under_a_virtual_clock() -> None:
    """Ping, read, write, sync read and sync write work without a pty, and take the time of the wire only."""
    made = line()
    driver, clock = bus(made)
    assert [driver.ping(each) for each in IDS] == [0] * 6
    assert clock.now_ns() == 1 + 6 * 12 * BYTE_NS
    assert driver.read(1, sts.MODEL).value == 777
    driver.write(1, sts.ACCELERATION, 254)
    assert made.servo(1).get(sts.ACCELERATION) == 254
    present = driver.read_all(IDS, sts.PRESENT_POSITION)
    driver.sync_write(sts.GOAL_POSITION, {each: count + 40 for each, count in present.items()})
    clock.sleep_until(clock.now_ns() + 500 * NS_PER_MS)
    moved = driver.read_all(IDS, sts.PRESENT_POSITION)
    assert moved == {each: count + 40 for each, count in present.items()}


def test_a_pulled_plug_is_a_robot_fault() -> None:
    """Every use of a port that is unplugged or closed says that it is gone."""
    made = line()
    driver, _ = bus(made)
    made.faults.unplugged = True
    with pytest.raises(RobotFault, match="unplugged"):
        driver.ping(1)
    made.faults.unplugged = False
    assert driver.ping(1) == 0
    driver.close()
    with pytest.raises(RobotFault, match="gone"):
        driver.port.read(0)


def test_a_servo_that_is_not_there_is_named() -> None:
    """Asking for a servo by a wrong name lists those that there are."""
    with pytest.raises(KeyError, match="shoulder_pan"):
        line().servo("elbow")
    assert line().servo("elbow_flex") is not None


def test_replies_are_halved_with_noise_after_them() -> None:
    """Of a halved reply no packet is left, and the one after it is found."""
    made = line()
    made.faults.halve_replies = 1
    replies = made.feed(packets.sync_read([1, 2], sts.PRESENT_POSITION.address, 2), 0)
    found, _ = packets.find_status(b"".join(data for data, _ in replies))
    assert found is not None
    assert found.id == 2


def test_goals_may_be_lost_while_questions_are_heard() -> None:
    """A lost packet for all reaches nobody; a question right after it is answered."""
    made = line()
    made.faults.lose_goals = 1
    order = packets.sync_write(sts.GOAL_POSITION.address, {1: b"\x01\x02"})
    made.feed(order, 0)
    assert list(made.goals) == []
    assert len(made.feed(packets.ping(1), NS_PER_MS)) == 1
    made.feed(order, 2 * NS_PER_MS)
    assert list(made.goals) == [(2 * NS_PER_MS + len(order) * BYTE_NS, "shoulder_pan", 513.0)]


def test_in_a_silence_nobody_hears_anything() -> None:
    """Until it is over nothing is answered and nothing obeyed."""
    made = line()
    made.faults.silent_until_ns = 5 * NS_PER_MS
    assert made.feed(packets.ping(1), 4 * NS_PER_MS) == []
    assert len(made.feed(packets.ping(1), 5 * NS_PER_MS)) == 1


def test_an_adapter_that_stands_still_delivers_all_at_once() -> None:
    """What the host wrote meanwhile reaches the servos in the moment at which it goes on."""
    made = line()
    waits = made.adapter.waits
    waits.held_until_ns = 50 * NS_PER_MS
    orders = [packets.sync_write(sts.GOAL_POSITION.address, {1: bytes((n, 8))}) for n in range(3)]
    for number, order in enumerate(orders):
        assert made.feed(order, number * 10 * NS_PER_MS) == []
    assert (len(made.goals), made.adapter.held_until_ns) == (0, 50 * NS_PER_MS)
    assert made.release(49 * NS_PER_MS) == []
    made.release(60 * NS_PER_MS)
    assert [value for _, _, value in made.goals] == [2048.0, 2049.0, 2050.0]
    assert {at_ns for at_ns, _, _ in made.goals} == {50 * NS_PER_MS + 3 * len(orders[0]) * BYTE_NS}
    assert made.adapter.held_until_ns is None


def test_an_adapter_on_a_grid_hands_on_at_its_multiples() -> None:
    """A reply waits for the next multiple of 16 ms, and one that is there in time is not held longer."""
    made = line()
    made.adapter.waits.grid_ns = 16 * NS_PER_MS
    for asked_ms in (0, 1, 15, 17, 31.8):
        asked_ns = round(asked_ms * NS_PER_MS)
        ((_, due_ns),) = made.feed(packets.ping(1), asked_ns)
        assert due_ns == -(-(asked_ns + 120_000) // (16 * NS_PER_MS)) * 16 * NS_PER_MS


def test_jitter_keeps_the_order() -> None:
    """Replies come later by a time that is drawn anew for each question, in the order of the wire."""
    made = line()
    made.adapter.waits.jitter_ns = 8 * NS_PER_MS
    dues = [made.feed(packets.ping(1), n * 3 * NS_PER_MS)[0][1] for n in range(50)]
    late = [due - n * 3 * NS_PER_MS - 120_000 for n, due in enumerate(dues)]
    assert dues == sorted(dues)
    assert min(late) >= 0
    assert len(set(late)) > 20
    assert max(late) <= 8 * NS_PER_MS + 3 * NS_PER_MS
