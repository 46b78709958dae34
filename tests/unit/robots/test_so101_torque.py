"""Torque comes on where the arm is, goes off gently, and nothing counts that was not read back."""

from __future__ import annotations

import pytest

from segue.errors import RobotFault
from segue.robots import so101_torque
from segue.robots.calibration import JOINT_IDS
from segue.robots.feetech import ServoBus
from segue.robots.sts3215 import GOAL_POSITION, LOCK, MAX_TORQUE, TORQUE_ENABLE, TORQUE_LIMIT
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


def test_a_goal_is_kept_within_its_range(bus: ServoBus, clock: VirtualClock, line: ServoLine) -> None:
    """A joint that lies a little beyond its end is held at the end."""
    at = line.servo(2).present()
    goals = so101_torque.hold_here(bus, clock, {**RANGES, 2: (at + 20, 4095)})
    assert goals[2] == at + 20 == line.servo(2).get(GOAL_POSITION)
    assert [servo.get(LOCK) for servo in line.servos] == [1] * 6


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
    so101_torque.hold_here(bus, clock, RANGES)
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
