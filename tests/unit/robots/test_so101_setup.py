"""Settings are brought to LeRobot's, once, and only where they differ."""

from __future__ import annotations

import pytest

from segue.errors import RobotFault
from segue.robots import so101_setup, sts3215
from segue.robots.calibration import JOINT_IDS
from segue.robots.feetech import ServoBus
from segue.robots.sts3215 import REGISTERS, TORQUE_LIMIT
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo_arm import so101_servos
from segue.testing.servo_line import ServoLine

WANTED = {
    "Return_Delay_Time": 0,
    "Operating_Mode": 0,
    "P_Coefficient": 16,
    "I_Coefficient": 0,
    "D_Coefficient": 32,
    "Maximum_Acceleration": 254,
    "Acceleration": 254,
}
GRIPPER = {"Max_Torque_Limit": 500, "Protection_Current": 250, "Overload_Torque": 25}


def bus_to(line: ServoLine) -> ServoBus:
    """Returns a bus to `line` under a clock of its own."""
    clock = VirtualClock(1)
    return ServoBus(DirectPort(line, clock), clock)


def test_servos_from_the_factory_get_all_settings_for_good() -> None:
    """After configuring and a loss of power every setting in EEPROM is LeRobot's, the gripper's too."""
    line = ServoLine(so101_servos(role="leader"))
    for servo in line.servos:
        servo.set(sts3215.RETURN_DELAY, 250)
    so101_setup.configure(bus_to(line), JOINT_IDS, holds=False)
    for servo in line.servos:
        wanted = WANTED | (GRIPPER if servo.name == "gripper" else {})
        assert {name: servo.get(REGISTERS[name]) for name in wanted} == wanted
        servo.power_cycle()
        kept = {name: value for name, value in wanted.items() if name != "Acceleration"}
        assert {name: servo.get(REGISTERS[name]) for name in kept} == kept


def test_the_second_time_nothing_is_written() -> None:
    """Configured servos are asked and left alone."""
    line = ServoLine(so101_servos(role="leader"))
    bus = bus_to(line)
    so101_setup.configure(bus, JOINT_IDS, holds=False)
    line.writes.clear()
    so101_setup.configure(bus, JOINT_IDS, holds=True)
    assert list(line.writes) == []


def test_a_limit_of_torque_that_was_left_low_is_given_back() -> None:
    """An arm whose release was cut off in the middle has its whole torque again."""
    line = ServoLine(so101_servos())
    line.servo("elbow_flex").set(TORQUE_LIMIT, 120)
    so101_setup.configure(bus_to(line), JOINT_IDS, holds=False)
    assert [servo.get(TORQUE_LIMIT) for servo in line.servos] == [1000] * 5 + [500]


def test_under_torque_a_setting_in_eeprom_is_refused_and_nothing_is_written() -> None:
    """The joint and the setting are named, with what to do first."""
    line = ServoLine(so101_servos())
    line.servo("elbow_flex").set(sts3215.OPERATING_MODE, 1)
    with pytest.raises(RobotFault, match=r"elbow_flex Operating_Mode.*`segue release` first"):
        so101_setup.configure(bus_to(line), JOINT_IDS, holds=True)
    assert list(line.writes) == []
