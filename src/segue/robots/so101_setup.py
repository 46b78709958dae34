"""What has to agree before an arm may have torque: calibration, pose, settings.

Whether the servos are all there and well is asked before (`so101_ready`). Every
check comes before anything is written, and everything is written before torque
is switched on. An arm that was left holding is never let go here: what it needs
can either be done while it holds, or is refused. Settings in EEPROM are
LeRobot's, written only where they differ, because that memory wears out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from segue.errors import ConfigError, RobotFault
from segue.robots import calibration_registers, sts3215
from segue.robots.calibration import GRIPPER, MAX_COUNT, Calibration
from segue.robots.calibration_registers import write_kept
from segue.robots.feetech import ServoBus
from segue.robots.so101_ready import RELEASE, check_counting
from segue.robots.so101_torque import LIMIT_TOLERANCE_COUNTS
from segue.robots.sts3215 import Register

ACCELERATION = 254

_EVERY_SERVO: Mapping[Register, int] = MappingProxyType(
    {
        sts3215.RETURN_DELAY: 0,
        sts3215.OPERATING_MODE: 0,
        sts3215.P_GAIN: 16,
        sts3215.I_GAIN: 0,
        sts3215.D_GAIN: 32,
        sts3215.MAX_ACCELERATION: ACCELERATION,
        sts3215.ACCELERATION: ACCELERATION,
    }
)
# Half the torque: it may close on a thing and stay so without burning.
_GRIPPER: Mapping[Register, int] = MappingProxyType(
    {sts3215.MAX_TORQUE: 500, sts3215.PROTECTION_CURRENT: 250, sts3215.OVERLOAD_TORQUE: 25}
)
# A servo with less torque than the least carries nothing, and one that shrugs off load or heat burns.
# By register: least, most, and what the factory wrote, thousandths, percent and degrees Celsius.
_SOUND: Mapping[Register, tuple[int, int, int]] = MappingProxyType(
    {
        sts3215.MAX_TORQUE: (200, 1000, 1000),
        sts3215.OVERLOAD_TORQUE: (0, 100, 80),
        sts3215.MAX_TEMPERATURE: (0, 85, 70),
    }
)
# They need an open lock to survive power; the last lies on the factory's own page.
_KEPT = frozenset((*(r for r in sts3215.REGISTERS.values() if r.eeprom), sts3215.MAX_ACCELERATION))


def check_calibration(bus: ServoBus, calibration: Calibration, file: str, writes: bool) -> None:
    """Makes sure that the servos count as the file means it and hold its numbers; `writes` brings these.

    Raises:
        ConfigError: they count beyond a turn, or hold other numbers and are not to be written.
        RobotFault: a servo has torque, does not answer or does not keep what it is sent.
    """
    ids = {name: joint.id for name, joint in calibration.items()}
    check_counting(bus, ids, file)
    differences = calibration_registers.differences(
        calibration_registers.read_registers(bus, ids), calibration
    )
    if not differences:
        return
    if not writes:
        raise ConfigError(
            f"{file}: the servos hold other numbers: {', '.join(differences)}; this file belongs to another "
            "arm, or the arm was calibrated since: run `segue calibrate` or, only where you know that the "
            "file is this arm's, give --robot.write_calibration=true"
        )
    calibration_registers.write_registers(bus, calibration)


def check_pose(bus: ServoBus, calibration: Calibration, file: str) -> dict[int, int]:
    """Makes sure that every joint is where its calibration lets it be, and returns the counts by servo.

    Raises:
        ConfigError: one is not.
        RobotFault: a servo does not answer.
    """
    counts = bus.read_all([joint.id for joint in calibration.values()], sts3215.PRESENT_POSITION)
    for name, joint in calibration.items():
        at, low, high = counts[joint.id], joint.range_min, joint.range_max
        if not low - LIMIT_TOLERANCE_COUNTS <= at <= high + LIMIT_TOLERANCE_COUNTS:
            if not 0 <= at <= MAX_COUNT:
                says = beyond_a_turn(name, joint.id, at)
                raise ConfigError(f"{file}: {says}; where that does not help, move it inside by hand")
            holds = bus.read(joint.id, sts3215.TORQUE_ENABLE).value
            free = f"it holds itself: {RELEASE}, then " if holds else ""
            raise ConfigError(
                f"{file}: {name} (servo {joint.id}) is at {at}, outside of its range from {low} to {high}; "
                f"{free}move it inside by hand, or run `segue calibrate`"
            )
    return counts


def beyond_a_turn(name: str, servo: int, at: int) -> str:
    """Returns what to do about a servo that is at more than a turn although it counts within one."""
    return (
        f"{name} (servo {servo}) is at {at}, beyond one turn: it still counts the turns from before its "
        "register Phase was changed; support the arm, switch its power off and on, and try again"
    )


def configure(bus: ServoBus, ids: Mapping[str, int], holds: bool) -> None:
    """Brings the servos' settings to LeRobot's, unless one could not hold or protect itself.

    Args:
        bus: of the arm.
        ids: servos by joint.
        holds: a servo has torque, so nothing in EEPROM is to be touched.

    Raises:
        RobotFault: a servo's torque or protection is switched off, a setting in EEPROM differs
            although the arm holds, or a servo does not obey.
    """
    _refuse_unsound(bus, ids)
    wrong = list(_wrong_settings(bus, ids))
    kept = [(name, register, value) for name, register, value in wrong if register in _KEPT]
    if kept and holds:
        listed = ", ".join(f"{name} {register.name}" for name, register, _ in kept)
        raise RobotFault(f"the arm holds itself, and settings have to be written ({listed}); {RELEASE}")
    for servo in {ids[name] for name, _, _ in kept}:
        write_kept(bus, servo, sts3215.LOCK, 0)
    for name, register, value in wrong:
        write_kept(bus, ids[name], register, value)
    for servo in {ids[name] for name, _, _ in kept}:
        write_kept(bus, servo, sts3215.LOCK, 1)


def _refuse_unsound(bus: ServoBus, ids: Mapping[str, int]) -> None:
    """Makes sure that no servo is left without torque or without its own protection.

    What is brought to LeRobot's value anyway is passed over.
    """
    for register, (least, most, factory) in _SOUND.items():
        found = bus.read_all(list(ids.values()), register)
        for name, servo in ids.items():
            mended = name == GRIPPER and register in _GRIPPER
            if not mended and not least <= found[servo] <= most:
                raise RobotFault(
                    f"{name} (servo {servo}): {register.name} is {found[servo]}, expected {least} to {most}; "
                    f"give it the factory's {factory} back with the tool that changed it"
                )


def _wrong_settings(bus: ServoBus, ids: Mapping[str, int]) -> Iterator[tuple[str, Register, int]]:
    """Yields joint, register and value of each setting that is not as it should be."""
    for register, value in _EVERY_SERVO.items():
        found = bus.read_all(list(ids.values()), register)
        yield from ((name, register, value) for name, servo in ids.items() if found[servo] != value)
    for register, value in _GRIPPER.items():
        if bus.read(ids[GRIPPER], register).value != value:
            yield GRIPPER, register, value
