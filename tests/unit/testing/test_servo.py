"""One emulated servo has the memory, the dynamics and the habits of an STS3215."""

from __future__ import annotations

from itertools import pairwise

import pytest

from segue.clock import NS_PER_MS, NS_PER_S
from segue.robots import sts3215 as sts
from segue.robots.sts3215 import Register, Status
from segue.testing.servo import CALIBRATE_MIDDLE, PROTECTION_TIME, PROTECTIVE_TORQUE, Servo
from segue.testing.servo_shaft import TOP_SPEED_COUNTS_S, FreeShaft


def order(servo: Servo, register: Register, value: int) -> None:
    """Writes as a host does."""
    servo.write(register.address, register.encode(value))


def at(position: int = 2048) -> Servo:
    """Returns a servo that knows the time."""
    servo = Servo("joint", 7, FreeShaft(float(position)))
    servo.advance(0)
    return servo


def run(servo: Servo, from_ns: int, to_ns: int, step_ns: int = 10 * NS_PER_MS) -> list[int]:
    """Returns the positions that it reports on the way."""
    seen = []
    for now_ns in range(from_ns, to_ns + 1, step_ns):
        servo.advance(now_ns)
        seen.append(servo.get(sts.PRESENT_POSITION))
    return seen


def test_it_comes_as_from_the_factory() -> None:
    """Model, gains, limits, voltage and temperature are those of a new STS3215, torque off."""
    servo = at()
    assert servo.get(sts.MODEL) == 777
    assert (servo.get(sts.P_GAIN), servo.get(sts.D_GAIN), servo.get(sts.I_GAIN)) == (32, 32, 0)
    assert (servo.get(sts.MIN_POSITION), servo.get(sts.MAX_POSITION)) == (0, 4095)
    assert servo.get(sts.PRESENT_VOLTAGE) == 74
    assert servo.get(sts.TORQUE_ENABLE) == 0
    assert servo.status == Status(0)


def test_it_goes_to_its_goal_and_stops_there() -> None:
    """It arrives without passing the goal, moves meanwhile, and rests afterwards."""
    servo = at(1000)
    order(servo, sts.GOAL_POSITION, 3000)
    servo.advance(100 * NS_PER_MS)
    assert servo.get(sts.MOVING) == 1
    assert servo.get(sts.PRESENT_VELOCITY) > 0
    seen = run(servo, 100 * NS_PER_MS, 2 * NS_PER_S)
    assert seen == sorted(seen)
    assert seen[-1] == 3000
    assert servo.get(sts.MOVING) == 0
    assert servo.get(sts.PRESENT_VELOCITY) == 0


def test_it_is_no_faster_than_the_motor() -> None:
    """A far goal is approached at 52 turns a minute and no faster."""
    servo = at(100)
    order(servo, sts.GOAL_POSITION, 4000)
    seen = run(servo, 0, NS_PER_S)
    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps) == pytest.approx(TOP_SPEED_COUNTS_S / 100, abs=1.5)


def test_it_is_no_faster_than_it_is_told() -> None:
    """Goal_Velocity and Acceleration limit the way to the goal."""
    servo = at(1000)
    order(servo, sts.GOAL_VELOCITY, 500)
    order(servo, sts.ACCELERATION, 10)
    order(servo, sts.GOAL_POSITION, 2000)
    half_s = run(servo, 0, NS_PER_S // 2)
    assert half_s[-1] - 1000 == pytest.approx(500 * 500 / (2 * 1000), abs=5)
    assert run(servo, NS_PER_S // 2, 4 * NS_PER_S)[-1] == 2000


def test_without_torque_it_stays_and_can_be_pushed() -> None:
    """A goal in the register moves nothing without torque and a hand does; with torque it is the reverse."""
    servo = at(1500)
    order(servo, sts.GOAL_POSITION, 1500)
    servo.shaft.push(300)
    assert servo.present() == 1500
    order(servo, sts.TORQUE_ENABLE, 0)
    servo.set(sts.GOAL_POSITION, 2500)
    run(servo, 0, NS_PER_S)
    assert servo.present() == 1500
    servo.shaft.push(300)
    assert servo.present() == 1800


def test_a_goal_switches_torque_on() -> None:
    """Writing Goal_Position is enough to make a servo move, as on the real one."""
    servo = at(1500)
    order(servo, sts.GOAL_POSITION, 1600)
    assert servo.torque
    assert run(servo, 0, NS_PER_S)[-1] == 1600


def test_torque_goes_to_the_goal_in_the_register_however_old() -> None:
    """Who switches torque on without a new goal sends the joint back to the last one."""
    servo = at(1500)
    order(servo, sts.GOAL_POSITION, 1500)
    order(servo, sts.TORQUE_ENABLE, 0)
    servo.shaft.push(400)
    order(servo, sts.TORQUE_ENABLE, 1)
    assert run(servo, 0, NS_PER_S)[-1] == 1500


def test_limits_clamp_the_goal() -> None:
    """A goal beyond the position limits is approached as far as they allow."""
    servo = at(2000)
    servo.set(sts.MIN_POSITION, 1800)
    servo.set(sts.MAX_POSITION, 2300)
    order(servo, sts.GOAL_POSITION, 4000)
    assert run(servo, 0, NS_PER_S)[-1] == 2300
    order(servo, sts.GOAL_POSITION, 0)
    assert run(servo, NS_PER_S, 2 * NS_PER_S)[-1] == 1800


@pytest.mark.parametrize("offset", [-2047, -1, 0, 512, 2047])
def test_the_offset_is_taken_off_the_position(offset: int) -> None:
    """Present is actual minus offset within one turn, and a goal is meant in the same counts."""
    servo = at(2100)
    servo.set(sts.HOMING_OFFSET, offset)
    servo.advance(0)
    assert servo.get(sts.PRESENT_POSITION) == (2100 - offset) % 4096
    order(servo, sts.GOAL_POSITION, 1234)
    assert run(servo, 0, 3 * NS_PER_S)[-1] == 1234


def counting_beyond_a_turn(position: int = 2048) -> Servo:
    """Returns a servo whose Phase says so, and that had power at the middle of its first turn."""
    servo = at()
    servo.set(sts.PHASE, servo.get(sts.PHASE) | sts.MULTI_TURN)
    servo.shaft.push(position - 2048)
    servo.advance(0)
    return servo


@pytest.mark.parametrize("position", [-32767, -9000, -1, 0, 4095, 4096, 6000, 9000, 32767])
def test_with_bit_4_of_phase_it_counts_on_beyond_a_turn(position: int) -> None:
    """Every position that the register can hold is reported, with its sign; without the bit none is."""
    servo = counting_beyond_a_turn(position)
    assert servo.get(sts.PRESENT_POSITION) == position
    servo.set(sts.HOMING_OFFSET, 2047)
    assert servo.present() == max(position - 2047, -32767)
    servo.set(sts.PHASE, servo.get(sts.PHASE) & ~sts.MULTI_TURN)
    assert servo.present() == (position - 2047) % 4096


def test_beyond_a_turn_a_goal_is_meant_in_the_same_counts() -> None:
    """A goal within the limits is turned back to, over several turns."""
    servo = counting_beyond_a_turn(9000)
    order(servo, sts.GOAL_POSITION, 3000)
    assert run(servo, 0, 6 * NS_PER_S)[-1] == 3000
    assert servo.shaft.position == 3000


def test_the_turns_are_forgotten_with_the_power() -> None:
    """After power on the count begins within the turn in which the shaft then is."""
    servo = counting_beyond_a_turn(9000)
    servo.power_cycle()
    assert servo.present() == 9000 % 4096
    servo.shaft.push(4096)
    assert servo.present() == 9000 % 4096 + 4096


def test_some_keep_their_count_until_power_is_off() -> None:
    """Where firmware goes on counting after the bit was cleared, only the loss of power ends it."""
    servo = counting_beyond_a_turn(6000)
    servo.keeps_count = True
    order(servo, sts.LOCK, 0)
    order(servo, sts.PHASE, 12)
    assert servo.present() == 6000
    servo.power_cycle()
    assert (servo.get(sts.PHASE), servo.present()) == (12, 6000 % 4096)


def test_128_makes_here_the_middle() -> None:
    """Writing 128 to Torque_Enable sets the offset so that the present position reads 2048."""
    for actual in (0, 1000, 2048, 4095):
        servo = at(actual)
        order(servo, sts.LOCK, 0)
        order(servo, sts.TORQUE_ENABLE, CALIBRATE_MIDDLE)
        assert abs(servo.present() - 2048) <= (actual == 0)
        assert servo.get(sts.TORQUE_ENABLE) == 0
        offset = servo.get(sts.HOMING_OFFSET)
        servo.power_cycle()
        assert servo.get(sts.HOMING_OFFSET) == offset


def test_eeprom_lasts_only_when_unlocked() -> None:
    """A locked register takes a write until power is lost, an unlocked one for good, another one never."""
    servo = at()
    order(servo, sts.P_GAIN, 16)
    assert servo.get(sts.P_GAIN) == 16
    servo.power_cycle()
    assert servo.get(sts.P_GAIN) == 32
    order(servo, sts.LOCK, 0)
    order(servo, sts.P_GAIN, 16)
    order(servo, sts.ACCELERATION, 50)
    servo.power_cycle()
    assert servo.get(sts.P_GAIN) == 16
    assert servo.get(sts.ACCELERATION) == 0


def test_power_comes_back_without_torque_and_with_the_maximum() -> None:
    """After power on torque is off, the goal is where the joint is and the limit is Max_Torque_Limit."""
    servo = at(1000)
    servo.set(sts.MAX_TORQUE, 500)
    order(servo, sts.GOAL_POSITION, 1200)
    run(servo, 0, NS_PER_S)
    servo.power_cycle()
    assert not servo.torque
    assert servo.get(sts.GOAL_POSITION) == 1200
    assert servo.get(sts.TORQUE_LIMIT) == 500


def test_what_it_measures_cannot_be_written() -> None:
    """Model, position, voltage and status keep their values whatever is written to them."""
    servo = at(1234)
    for register in (sts.MODEL, sts.PRESENT_POSITION, sts.PRESENT_VOLTAGE, sts.STATUS):
        before = servo.get(register)
        servo.write(register.address, b"\x55" * register.size)
        assert servo.get(register) == before


def test_an_overloaded_servo_keeps_a_fifth_of_its_torque() -> None:
    """Held fast away from its goal it strains for Protection_Time, then says so and gives way."""
    servo = at(2000)
    shaft = servo.shaft
    assert isinstance(shaft, FreeShaft)
    shaft.blocked = True
    order(servo, sts.GOAL_POSITION, 3000)
    patience_ns = servo.get(PROTECTION_TIME) * 10 * NS_PER_MS
    run(servo, 0, patience_ns - 20 * NS_PER_MS)
    assert servo.status == Status(0)
    assert servo.get(sts.PRESENT_LOAD) == 1000
    assert servo.holds
    run(servo, patience_ns, patience_ns + 20 * NS_PER_MS)
    assert servo.status == Status.OVERLOADED
    assert servo.order().share == servo.get(PROTECTIVE_TORQUE) / 100
    assert not servo.holds
    shaft.push(-50)
    assert servo.present() == 1950


def test_overload_lasts_until_torque_is_switched() -> None:
    """The status stays when the strain is over, and a write to Torque_Enable ends it."""
    servo = at(2000)
    assert isinstance(servo.shaft, FreeShaft)
    servo.shaft.blocked = True
    order(servo, sts.GOAL_POSITION, 3000)
    run(servo, 0, 3 * NS_PER_S)
    servo.shaft.blocked = False
    run(servo, 3 * NS_PER_S, 4 * NS_PER_S)
    assert servo.status == Status.OVERLOADED
    assert servo.present() == 2000
    order(servo, sts.TORQUE_ENABLE, 1)
    assert run(servo, 4 * NS_PER_S, 5 * NS_PER_S)[-1] == 3000
    assert servo.status == Status(0)


def test_a_hot_servo_lets_go_and_a_badly_supplied_one_does_not() -> None:
    """Above its temperature limit torque is gone until it is cooler; a wrong voltage is only reported."""
    servo = at(2000)
    order(servo, sts.TORQUE_ENABLE, 1)
    servo.sense(sts.PRESENT_TEMPERATURE, 71)
    servo.advance(1)
    assert servo.status == Status.OVERHEATED
    assert servo.order().share == 0.0
    servo.heal()
    servo.advance(2)
    assert servo.status == Status(0)
    assert servo.holds
    servo.sense(sts.PRESENT_VOLTAGE, 39)
    servo.advance(3)
    assert servo.status == Status.VOLTAGE
    assert servo.holds


def test_what_is_injected_stays_until_it_is_healed() -> None:
    """An injected status survives a new torque, which a real overload does not."""
    servo = at()
    order(servo, sts.TORQUE_ENABLE, 1)
    servo.injected = Status.OVERLOADED
    servo.advance(1)
    order(servo, sts.TORQUE_ENABLE, 1)
    servo.advance(2)
    assert servo.status == Status.OVERLOADED
    assert not servo.holds
    servo.heal()
    servo.advance(3)
    assert servo.status == Status(0)
