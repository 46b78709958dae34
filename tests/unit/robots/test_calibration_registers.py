"""A calibration in the servos: what counts as written, and when nothing is written at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.errors import RobotFault
from segue.robots import sts3215
from segue.robots.calibration import JOINT_IDS, MotorCalibration
from segue.robots.calibration_registers import differences, read_registers, write_kept, write_registers
from segue.robots.feetech import ServoBus
from segue.testing import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo_arm import default_calibration, so101_servos
from segue.testing.servo_line import ServoLine

KNOWN = {
    name: MotorCalibration(servo, 0, -100 * servo, 10 * servo, 4000) for name, servo in JOINT_IDS.items()
}


@pytest.fixture
def line() -> ServoLine:
    return ServoLine(so101_servos())


@pytest.fixture
def bus(line: ServoLine) -> ServoBus:
    clock = VirtualClock()
    return ServoBus(DirectPort(line, clock), clock)


def test_what_the_servos_hold_is_read(bus: ServoBus) -> None:
    """Offsets with their sign and both limits come from the registers."""
    assert read_registers(bus, JOINT_IDS) == default_calibration()


def test_what_is_written_survives_power(bus: ServoBus, line: ServoLine) -> None:
    """The lock is opened for it and closed again, so that the numbers are there after power was off."""
    write_registers(bus, KNOWN)
    for servo in line.servos:
        assert servo.get(sts3215.LOCK) == 1
        servo.power_cycle()
    assert read_registers(bus, JOINT_IDS) == KNOWN


def test_an_open_lock_stays_open(bus: ServoBus, line: ServoLine) -> None:
    """LeRobot leaves the lock open with torque off, and counts on it."""
    bus.write(6, sts3215.LOCK, 0)
    write_registers(bus, KNOWN)
    assert [each.get(sts3215.LOCK) for each in line.servos] == [1, 1, 1, 1, 1, 0]


def test_nothing_is_written_under_torque(bus: ServoBus, line: ServoLine) -> None:
    """A servo that holds would jump to another place, so its offset stays and the joint is named."""
    bus.write(3, sts3215.TORQUE_ENABLE, 1)
    with pytest.raises(RobotFault, match=r"elbow_flex \(servo 3\) has torque"):
        write_registers(bus, {"elbow_flex": KNOWN["elbow_flex"]})
    assert read_registers(bus, JOINT_IDS) == default_calibration()


def test_a_confirmation_is_not_believed(
    bus: ServoBus, line: ServoLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A servo that confirms and keeps its old number is found out by reading it back."""
    monkeypatch.setattr(line.servo(2), "write", lambda address, data: None)
    with pytest.raises(RobotFault, match="servo 2 keeps Homing_Offset=-1023 although 5 was written"):
        write_kept(bus, 2, sts3215.HOMING_OFFSET, 5)


def test_differences_are_told_number_by_number() -> None:
    """Each has joint, field, what is held and what the file says; id and drive mode are no register's."""
    mine = {**KNOWN, "gripper": replace(KNOWN["gripper"], range_min=716, drive_mode=1, id=9)}
    assert differences(KNOWN, mine) == ("gripper range_min 60, not 716",)
    assert differences(KNOWN, KNOWN) == ()
