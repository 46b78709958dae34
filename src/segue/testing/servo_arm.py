"""The six servos of an SO-101, calibrated, and where an arm's pose is on their counts.

Without a calibration of its own an emulated arm has one as LeRobot's routine
would find it on the simulated arm: the middle of each range at 2047, ranges as
wide as the joint's, the whole turn for the wrist's roll, and an offset per
servo as an assembled arm happens to have.

A follower and a leader have the same servos but for their gears, and no
register tells the gears. What tells them apart is what LeRobot wrote into a
follower's EEPROM: a softer gain, and a gripper with half the torque.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from segue.core.types import FloatArray
from segue.robots import so101_model, sts3215
from segue.robots.calibration import GRIPPER, MAX_COUNT, Calibration, MotorCalibration
from segue.robots.sts3215 import COUNTS_PER_TURN, Register
from segue.testing.servo import Servo
from segue.testing.servo_shaft import FreeShaft, Shaft

Role = Literal["follower", "leader"]

COUNTS_PER_RADIAN = COUNTS_PER_TURN / math.tau
FULL_TURN = "wrist_roll"
_HALF = COUNTS_PER_TURN // 2 - 1
# Where the horn sat on the shaft when somebody put the arm together.
_OFFSETS = (85, -1023, 1104, -407, -1652, 911)


def default_calibration() -> dict[str, MotorCalibration]:
    """Returns the calibration of the emulated arm."""
    found: dict[str, MotorCalibration] = {}
    for number, (joint, offset) in enumerate(zip(so101_model.JOINTS, _OFFSETS, strict=True), 1):
        half = round((joint.high - joint.low) / 2 * COUNTS_PER_RADIAN)
        low, high = (0, MAX_COUNT) if joint.name == FULL_TURN else (_HALF - half, _HALF + half)
        found[joint.name] = MotorCalibration(number, 0, offset, low, high)
    return found


def counts_of(units: FloatArray, calibration: Calibration) -> list[int]:
    """Returns the present positions of a pose in degrees and percent, shape (6,), within their ranges."""
    counts = []
    for name, unit in zip(so101_model.NAMES, units, strict=True):
        low, high = calibration[name].range_min, calibration[name].range_max
        if name == GRIPPER:
            count = low + unit / 100 * (high - low)
        else:
            count = (low + high) / 2 + unit / 360 * COUNTS_PER_TURN
        counts.append(round(min(max(count, low), high)))
    return counts


def so101_servos(
    calibration: Calibration | None = None, role: Role = "follower", shafts: Sequence[Shaft] | None = None
) -> list[Servo]:
    """Returns the servos of an arm in its rest pose, torque off.

    Args:
        calibration: what their registers hold; `default_calibration` if None.
        role: a follower has been configured by LeRobot, a leader is as the factory made it.
        shafts: what they turn; free ones if None.

    Raises:
        KeyError: the calibration lacks a joint.
    """
    known = default_calibration() if calibration is None else calibration
    if shafts is None:
        rest = counts_of(so101_model.REST_POSE, known)
        offsets = [known[name].homing_offset for name in so101_model.NAMES]
        shafts = [FreeShaft(float(at + offset)) for at, offset in zip(rest, offsets, strict=True)]
    servos = [Servo(name, known[name].id, each) for name, each in zip(so101_model.NAMES, shafts, strict=True)]
    for servo in servos:
        registers = _registers(servo.name, known[servo.name], role)
        for register, value in registers.items():
            servo.set(register, value)
        servo.power_cycle()
    return servos


def _registers(name: str, found: MotorCalibration, role: Role) -> dict[Register, int]:
    registers = {
        sts3215.HOMING_OFFSET: found.homing_offset,
        sts3215.MIN_POSITION: found.range_min,
        sts3215.MAX_POSITION: found.range_max,
    }
    if role == "follower":
        registers |= {sts3215.P_GAIN: 16, sts3215.D_GAIN: 32, sts3215.I_GAIN: 0}
        if name == GRIPPER:
            registers |= {
                sts3215.MAX_TORQUE: 500,
                sts3215.PROTECTION_CURRENT: 250,
                sts3215.OVERLOAD_TORQUE: 25,
            }
    return registers
