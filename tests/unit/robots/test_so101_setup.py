"""Settings are brought to LeRobot's, once, and only where they differ."""

from __future__ import annotations

import pytest

from segue.errors import ConfigError, RobotFault
from segue.robots import so101_setup, sts3215
from segue.robots.calibration import JOINT_IDS
from segue.robots.feetech import ServoBus
from segue.robots.sts3215 import REGISTERS
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo_arm import default_calibration, so101_servos
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


def test_under_torque_a_setting_in_eeprom_is_refused_and_nothing_is_written() -> None:
    """The joint and the setting are named, with what to do first."""
    line = ServoLine(so101_servos())
    line.servo("elbow_flex").set(sts3215.OPERATING_MODE, 1)
    with pytest.raises(RobotFault, match=r"elbow_flex Operating_Mode.*`segue release` first"):
        so101_setup.configure(bus_to(line), JOINT_IDS, holds=True)
    assert list(line.writes) == []


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("Max_Torque_Limit", 0, "Max_Torque_Limit is 0, expected 200 to 1000; .* the factory's 1000 "),
        ("Max_Torque_Limit", 199, "Max_Torque_Limit is 199, expected 200 to 1000"),
        ("Overload_Torque", 101, "Overload_Torque is 101, expected 0 to 100; .* the factory's 80 "),
        ("Max_Temperature_Limit", 86, "Max_Temperature_Limit is 86, expected 0 to 85; .* the factory's 70 "),
    ],
)
@pytest.mark.parametrize("holds", [False, True])
def test_a_servo_that_cannot_hold_or_protect_itself_is_refused(
    name: str, value: int, says: str, holds: bool
) -> None:
    """Joint, register, value and the factory's value are named, and nothing is written."""
    line = ServoLine(so101_servos())
    line.servo("elbow_flex").set(REGISTERS[name], value)
    line.servo("wrist_flex").set(sts3215.P_GAIN, 99)
    with pytest.raises(RobotFault, match=rf"elbow_flex \(servo 3\): {says}"):
        so101_setup.configure(bus_to(line), JOINT_IDS, holds)
    assert list(line.writes) == []


def test_a_servo_at_the_edge_of_what_is_sound_is_taken() -> None:
    """The least torque, the highest overload and the highest temperature are still good."""
    line = ServoLine(so101_servos())
    edges = {sts3215.MAX_TORQUE: 200, sts3215.OVERLOAD_TORQUE: 100, sts3215.MAX_TEMPERATURE: 85}
    for register, value in edges.items():
        line.servo("elbow_flex").set(register, value)
    so101_setup.configure(bus_to(line), JOINT_IDS, holds=False)
    assert {each: line.servo("elbow_flex").get(each) for each in edges} == edges


def test_a_gripper_with_what_lerobot_sets_anyway_is_mended() -> None:
    """Of the gripper torque and overload are brought to LeRobot's; its temperature is nobody's to set."""
    line = ServoLine(so101_servos())
    gripper = line.servo("gripper")
    gripper.set(sts3215.MAX_TORQUE, 0)
    gripper.set(sts3215.OVERLOAD_TORQUE, 255)
    so101_setup.configure(bus_to(line), JOINT_IDS, holds=False)
    assert (gripper.get(sts3215.MAX_TORQUE), gripper.get(sts3215.OVERLOAD_TORQUE)) == (500, 25)
    gripper.set(sts3215.MAX_TEMPERATURE, 100)
    with pytest.raises(RobotFault, match=r"gripper \(servo 6\): Max_Temperature_Limit is 100"):
        so101_setup.configure(bus_to(line), JOINT_IDS, holds=False)


def test_a_bit_of_phase_is_nobodys_to_clear_before_a_run() -> None:
    """Configuring leaves Phase alone: a servo that counts beyond a turn was refused before."""
    line = ServoLine(so101_servos(role="leader"))
    line.servo("elbow_flex").set(sts3215.PHASE, 28)
    so101_setup.configure(bus_to(line), JOINT_IDS, holds=False)
    assert line.servo("elbow_flex").get(sts3215.PHASE) == 28


@pytest.mark.parametrize("at", [-40, -9000, 4140, 9000])
def test_a_position_beyond_a_turn_is_no_pose(at: int) -> None:
    """Where a servo still counts its turns it is its power that has to be switched, and no joint moved."""
    calibration = default_calibration()
    line = ServoLine(so101_servos())
    roll = line.servo("wrist_roll")
    roll.set(sts3215.PHASE, 28)
    roll.shaft.push(at - roll.present())
    with pytest.raises(
        ConfigError, match=rf"wrist_roll \(servo 5\) is at {at}, beyond one turn: .* off and on"
    ):
        so101_setup.check_pose(bus_to(line), calibration, "blue.json")
    roll.shaft.push(-at)
    roll.shaft.push(-20)  # a little beyond the end of its counter, as of any range
    so101_setup.check_pose(bus_to(line), calibration, "blue.json")


@pytest.mark.parametrize(
    ("torque", "says"),
    [
        (0, "; move it inside by hand, or run `segue calibrate`"),
        (1, "; it holds itself: support the arm and run `segue release` first, then move it inside by hand"),
    ],
)
def test_what_to_do_about_a_pose_depends_on_whether_it_is_held(torque: int, says: str) -> None:
    """A joint under torque cannot be moved by hand, so it is to be freed first."""
    calibration = default_calibration()
    line = ServoLine(so101_servos())
    elbow = line.servo("elbow_flex")
    elbow.shaft.push(calibration["elbow_flex"].range_min - 100 - elbow.present())
    elbow.write(sts3215.TORQUE_ENABLE.address, bytes([torque]))
    with pytest.raises(ConfigError) as caught:
        so101_setup.check_pose(bus_to(line), calibration, "blue.json")
    assert "elbow_flex (servo 3) is at" in str(caught.value)
    assert says in str(caught.value)
