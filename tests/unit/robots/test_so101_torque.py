"""Torque comes on where the arm is, goes off gently, and nothing counts that was not read back."""

from __future__ import annotations

import pytest

from segue.clock import NS_PER_S
from segue.errors import RobotFault
from segue.robots import so101_torque
from segue.robots.calibration import JOINT_IDS
from segue.robots.feetech import ServoBus
from segue.robots.sts3215 import (
    GOAL_POSITION,
    GOAL_TIME,
    GOAL_VELOCITY,
    LOCK,
    MAX_TORQUE,
    TORQUE_ENABLE,
    TORQUE_LIMIT,
    Register,
)
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo_arm import so101_servos
from segue.testing.servo_line import ServoLine

SERVOS = list(JOINT_IDS.values())
RANGES = dict.fromkeys(SERVOS, (0, 4095))


@pytest.fixture
def line() -> ServoLine:
    """Six servos without torque."""
    return ServoLine(so101_servos())


@pytest.fixture
def clock() -> VirtualClock:
    """A clock that moves when somebody waits."""
    return VirtualClock(1)


@pytest.fixture
def bus(line: ServoLine, clock: VirtualClock) -> ServoBus:
    """A bus to them."""
    return ServoBus(DirectPort(line, clock), clock)


def pose(line: ServoLine) -> dict[int, int]:
    """Returns where each servo is, counts."""
    return {servo.id: servo.present() for servo in line.servos}


def test_a_goal_is_kept_within_its_range(bus: ServoBus, clock: VirtualClock, line: ServoLine) -> None:
    """A joint that lies a little beyond its end is held at the end."""
    at = line.servo(2).present()
    goals = so101_torque.hold_here(bus, clock, {**RANGES, 2: (at + 20, 4095)}, pose(line))
    assert goals[2] == at + 20 == line.servo(2).get(GOAL_POSITION)
    assert [servo.get(LOCK) for servo in line.servos] == [1] * 6


@pytest.mark.parametrize("away", [-200, 200])
def test_an_arm_that_was_pushed_since_it_was_checked_gets_no_torque(
    bus: ServoBus, clock: VirtualClock, line: ServoLine, away: int
) -> None:
    """Nothing is written to an arm that is no longer where its pose was found to be good."""
    checked = pose(line)
    line.servo(3).shaft.push(away)
    with pytest.raises(RobotFault, match="servo 3 moved after its pose was checked; let the arm rest"):
        so101_torque.hold_here(bus, clock, RANGES, checked)
    assert list(line.writes) == []
    assert not any(servo.torque for servo in line.servos)


@pytest.mark.parametrize("beyond", [35, 200])
def test_an_arm_outside_its_range_gets_no_torque(
    bus: ServoBus, clock: VirtualClock, line: ServoLine, beyond: int
) -> None:
    """A joint further outside than one that rests on its stop is refused, not pulled in."""
    at = line.servo(2).present()
    says = f"servo 2 is at {at}, outside of its range from {at + beyond} to 4095"
    with pytest.raises(RobotFault, match=says):
        so101_torque.hold_here(bus, clock, {**RANGES, 2: (at + beyond, 4095)}, pose(line))
    assert list(line.writes) == []
    assert not any(servo.torque for servo in line.servos)


def test_bounds_that_were_left_on_torque_and_speed_are_gone(
    bus: ServoBus, clock: VirtualClock, line: ServoLine
) -> None:
    """An arm whose release was cut off, or that another tool told to crawl, is as strong and quick as any."""
    line.servo("elbow_flex").set(TORQUE_LIMIT, 120)
    line.servo("elbow_flex").set(GOAL_VELOCITY, 5)
    line.servo("wrist_flex").set(GOAL_TIME, 3000)
    so101_torque.hold_here(bus, clock, RANGES, pose(line))
    assert [servo.get(TORQUE_LIMIT) for servo in line.servos] == [1000] * 5 + [500]
    assert [(servo.get(GOAL_VELOCITY), servo.get(GOAL_TIME)) for servo in line.servos] == [(0, 0)] * 6
    line.writes.clear()
    so101_torque.hold_here(bus, clock, RANGES, pose(line))
    bounds = {TORQUE_LIMIT.name, GOAL_VELOCITY.name, GOAL_TIME.name}
    assert not [each for each in line.writes if each.register in bounds]


@pytest.mark.parametrize(("register", "value"), [(TORQUE_LIMIT, 20), (GOAL_VELOCITY, 5)])
def test_an_arm_that_holds_far_from_its_goal_does_not_jump_there(
    bus: ServoBus, clock: VirtualClock, line: ServoLine, register: Register, value: int
) -> None:
    """One that sagged or crawls stays where it is when it gets its strength and speed back."""
    servo = line.servo("elbow_flex")
    at = servo.present()
    servo.set(register, value)
    servo.write(GOAL_POSITION.address, GOAL_POSITION.encode(at - 900))
    so101_torque.hold_here(bus, clock, RANGES, pose(line))
    clock.sleep_until(clock.now_ns() + NS_PER_S)
    line.advance(clock.now_ns())
    assert servo.get(register) != value
    assert abs(servo.present() - at) < 10
    orders = [each.register for each in line.writes if each.servo == servo.id]
    assert orders.index(GOAL_POSITION.name) < orders.index(register.name)


def test_lost_orders_are_given_again(bus: ServoBus, line: ServoLine) -> None:
    """A sync write that nobody heard is noticed by reading, and repeated for those who missed it."""
    line.faults.lose_requests = 1
    so101_torque.write_all(bus, TORQUE_LIMIT, {1: 400, 2: 300})
    assert [line.servo(servo).get(TORQUE_LIMIT) for servo in (1, 2, 3)] == [400, 300, 1000]


def test_a_servo_that_does_not_obey_is_named(bus: ServoBus, line: ServoLine) -> None:
    """After three tries the servo, what it keeps and what it was sent are said."""
    servo = line.servo(3)
    servo.write = lambda address, data: None  # type: ignore[method-assign]
    with pytest.raises(RobotFault, match="Torque_Limit cannot be written: servo 3 keeps 1000, not 5"):
        so101_torque.write_all(bus, TORQUE_LIMIT, {1: 5, 3: 5})


def test_torque_sinks_step_by_step(bus: ServoBus, clock: VirtualClock, line: ServoLine) -> None:
    """The limit only ever goes down while there is torque, and is whole again without it."""
    so101_torque.hold_here(bus, clock, RANGES, pose(line))
    line.writes.clear()
    so101_torque.lower(bus, clock, [2, 3])
    orders = [(each.register, each.value) for each in line.writes if each.servo == 2]
    off = orders.index((TORQUE_ENABLE.name, 0))
    sinking = [value for register, value in orders[:off] if register == TORQUE_LIMIT.name]
    assert sinking == sorted(sinking, reverse=True)
    assert sinking[-1] == 0
    assert max(a - b for a, b in zip([1000, *sinking], sinking, strict=False)) <= 50
    assert line.servo(2).get(TORQUE_LIMIT) == line.servo(2).get(MAX_TORQUE)
    assert [servo.get(TORQUE_ENABLE) for servo in line.servos] == [1, 0, 0, 1, 1, 1]
