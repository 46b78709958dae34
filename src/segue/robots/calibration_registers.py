"""An arm's calibration as its servos hold it: read, compared with a file's, written and read back.

A servo confirms whatever it is sent, so nothing counts as written until it was
read again; and what is written while `Lock` is set is forgotten with the power.
Offset and limits are never written while a servo has torque: the goal that it
holds would mean another place at once. Which numbers are right is decided
elsewhere; this file moves nothing and switches no torque on.
"""

from __future__ import annotations

from collections.abc import Mapping

from segue.errors import RobotFault
from segue.robots import sts3215
from segue.robots.calibration import Calibration, MotorCalibration
from segue.robots.feetech import ServoBus
from segue.robots.sts3215 import Register

# By the field of `MotorCalibration` that they hold.
HELD: Mapping[str, Register] = {
    "homing_offset": sts3215.HOMING_OFFSET,
    "range_min": sts3215.MIN_POSITION,
    "range_max": sts3215.MAX_POSITION,
}


def read_registers(bus: ServoBus, ids: Mapping[str, int]) -> Calibration:
    """Returns what the servos hold; they do not know of a drive mode, so that is 0.

    Args:
        bus: of the arm.
        ids: of the servos by joint.

    Raises:
        RobotFault: a servo does not answer.
    """
    found: dict[str, MotorCalibration] = {}
    for name, servo in ids.items():
        values = {field: bus.read(servo, register).value for field, register in HELD.items()}
        found[name] = MotorCalibration(servo, 0, **values)
    return found


def differences(registers: Calibration, file: Calibration) -> tuple[str, ...]:
    """Returns where the servos hold other numbers than the file, as in ``gripper range_min 0, not 716``."""
    return tuple(
        f"{name} {field} {getattr(registers[name], field)}, not {getattr(file[name], field)}"
        for name in registers
        for field in HELD
        if getattr(registers[name], field) != getattr(file[name], field)
    )


def write_registers(bus: ServoBus, calibration: Calibration) -> None:
    """Writes offsets and limits so that they survive power, and leaves each lock as it was.

    Raises:
        RobotFault: a servo has torque, does not answer, or does not keep what it was sent.
    """
    for name, joint in calibration.items():
        refuse_torque(bus, {name: joint.id})
        lock = bus.read(joint.id, sts3215.LOCK).value
        write_kept(bus, joint.id, sts3215.LOCK, 0)
        for field, register in HELD.items():
            write_kept(bus, joint.id, register, getattr(joint, field))
        write_kept(bus, joint.id, sts3215.LOCK, lock)


def count_within_a_turn(bus: ServoBus, ids: Mapping[str, int]) -> list[str]:
    """Lets servos that count beyond one turn do so no more, for good, and returns which they were.

    Of `Phase` one bit is changed, and each lock is left as it was.

    Raises:
        RobotFault: a servo has torque, does not answer, or does not keep what it was sent.
    """
    changed = []
    for name, servo in ids.items():
        phase = bus.read(servo, sts3215.PHASE).value
        if phase & sts3215.MULTI_TURN:
            refuse_torque(bus, {name: servo})
            lock = bus.read(servo, sts3215.LOCK).value
            write_kept(bus, servo, sts3215.LOCK, 0)
            write_kept(bus, servo, sts3215.PHASE, phase & ~sts3215.MULTI_TURN)
            write_kept(bus, servo, sts3215.LOCK, lock)
            changed.append(name)
    return changed


def refuse_torque(bus: ServoBus, ids: Mapping[str, int]) -> None:
    """Makes sure that no servo has torque.

    Raises:
        RobotFault: one has, or does not answer.
    """
    for name, servo in ids.items():
        if bus.read(servo, sts3215.TORQUE_ENABLE).value:
            raise RobotFault(
                f"{name} (servo {servo}) has torque, so its calibration is not written; "
                "hold the arm and free it with `segue release` first"
            )


def write_kept(bus: ServoBus, servo: int, register: Register, value: int) -> None:
    """Writes one register and makes sure that it was taken.

    Raises:
        RobotFault: it was not, or the servo does not answer.
    """
    bus.write(servo, register, value)
    kept = bus.read(servo, register).value
    if kept != value:
        raise RobotFault(f"servo {servo} keeps {register.name}={kept} although {value} was written")
