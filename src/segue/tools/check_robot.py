"""Looks at an arm before a run, from the socket inwards, one finding at a time.

Nothing is written, nothing moves, torque stays as it is. What cannot be looked
at because something before it failed is left out, not guessed. The calibration
file is looked at in any case, for it needs no arm.
"""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segue.clock import SystemClock
from segue.errors import ConfigError, RobotFault, SafetyLatch, SegueError
from segue.robots import sts3215
from segue.robots.calibration import (
    GRIPPER,
    JOINT_IDS,
    Calibration,
    calibration_places,
    differing_copy,
    find_calibration,
    load_calibration,
)
from segue.robots.calibration_registers import differences, read_registers
from segue.robots.feetech import ServoBus
from segue.robots.so101 import open_port
from segue.robots.so101_ranges import wide_ranges
from segue.robots.so101_ready import check_counting, check_servos, check_supply
from segue.robots.so101_setup import check_pose
from segue.robots.so101_timing import check_rate, highest_hz, milliseconds
from segue.robots.sts3215 import Register
from segue.tools.checks import Check, Verdict, doubt, tried

# From here on a servo has little time left before it lets go.
_NEARLY_HOT_C = 10


@dataclass(frozen=True, slots=True)
class ArmPlace:
    """Where an arm and its calibration are to be found, in the words of its flags.

    Attributes:
        writes_calibration: a run would bring the file's numbers to the servos.
        control_hz: how often a run would ask the servos.
    """

    robot_type: str
    robot_id: str
    port: str
    calibration_dir: Path | None = None
    writes_calibration: bool = False
    control_hz: float = 100.0


@dataclass(frozen=True, slots=True)
class CalibrationFile:
    """A calibration, and where it was read."""

    path: Path
    joints: Calibration


def check_arm(arm: ArmPlace, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yields what there is to say about an arm, as it is found.

    Args:
        arm: where to look.
        environ: LeRobot's variables, which move the folder of calibrations.
    """
    bus = yield from _open(arm.port)
    with closing(bus) if bus else nullcontext():
        file = yield from _read_file(arm, environ)
        if bus is not None:
            yield from _check_bus(bus, file, arm)


def _open(port: str) -> Generator[Check, None, ServoBus | None]:
    for name, look in (("port", _there), ("permission", _allowed)):
        found = tried(name, partial(look, port))
        yield found
        if found.verdict is Verdict.FAIL:
            return None
    try:
        bus = ServoBus(open_port(port), SystemClock())
    except SegueError as error:
        yield Check("exclusive", Verdict.FAIL, str(error), error.exit_code)
        return None
    yield Check("exclusive", Verdict.OK, "no other program uses the port")
    return bus


def _there(port: str) -> str:
    try:
        is_device = stat.S_ISCHR(os.stat(port).st_mode)
    except OSError as error:
        raise RobotFault(
            f"{port}: {error.strerror}; plug in the arm's USB cable, or see `segue find-port`"
        ) from error
    if not is_device:
        raise RobotFault(f"{port}: not a serial device; `segue find-port` lists those that there are")
    return f"{port} is there"


def _allowed(port: str) -> str:
    if os.access(port, os.R_OK | os.W_OK):
        return "this user may open it"
    raise RobotFault(f"{port}: this user may not open it; {permission_remedy(port)}")


def permission_remedy(port: str) -> str:
    """Returns what to do so that a user may open `port`: join its group, or let udev open it to all."""
    group = _group(port)
    rule = 'SUBSYSTEM=="tty", ATTRS{idVendor}=="1a86", MODE="0666"'
    return (
        f"run `sudo usermod -aG {group} $USER` and log in again, or write the line {rule} into "
        "/etc/udev/rules.d/99-segue.rules and plug the arm in again"
    )


def _group(port: str) -> str:
    try:
        return grp.getgrgid(os.stat(port).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"


def _read_file(arm: ArmPlace, environ: Mapping[str, str]) -> Generator[Check, None, CalibrationFile | None]:
    try:
        where = (arm.robot_type, arm.robot_id, arm.calibration_dir, environ)
        path = find_calibration(*where)
        file = CalibrationFile(path, load_calibration(path))
        other = differing_copy(path, calibration_places(*where))
    except ConfigError as error:
        yield Check("calibration", Verdict.FAIL, str(error), error.exit_code)
        return None
    doubts = [*([other] if other else []), *(f"{path}: {each}" for each in wide_ranges(file.joints))]
    yield doubt("calibration", "; ".join(doubts)) if doubts else Check("calibration", Verdict.OK, str(path))
    return file


def _check_bus(bus: ServoBus, file: CalibrationFile | None, arm: ArmPlace) -> Iterator[Check]:
    """Yields what the servos say; the rest is left out when they are not all there."""
    ids = {name: joint.id for name, joint in file.joints.items()} if file else JOINT_IDS
    servos = tried("servos", partial(_servos, bus, ids))
    yield servos
    # A servo in danger answers all the same.
    if servos.exit_code == RobotFault.exit_code:
        return
    yield tried("answers", partial(_answers, bus, ids, arm))
    for name, look in (
        ("firmware", _firmware),
        ("voltage", _voltage),
        ("temperature", _temperature),
        ("torque", _torque),
    ):
        yield tried(name, partial(look, bus, ids))
    if file is not None:
        registers = tried("registers", partial(_registers, bus, file, arm.writes_calibration))
        yield registers
        # By another arm's numbers the pose means nothing.
        if registers.verdict is Verdict.OK:
            yield tried("pose", partial(_pose, bus, file))


def _servos(bus: ServoBus, ids: Mapping[str, int]) -> str:
    check_servos(bus, ids)
    return f"all {len(ids)} answer, STS3215, ids {', '.join(map(str, ids.values()))}"


def _answers(bus: ServoBus, ids: Mapping[str, int], arm: ArmPlace) -> str:
    late_ns = check_rate(bus, SystemClock(), list(ids.values()), arm.control_hz, arm.port)
    return f"take {milliseconds(late_ns)}; a tick's questions fit up to {highest_hz(late_ns)} times a second"


def _firmware(bus: ServoBus, ids: Mapping[str, int]) -> str | Check:
    major, minor = (_all(bus, ids, each) for each in (sts3215.FIRMWARE_MAJOR, sts3215.FIRMWARE_MINOR))
    versions = {name: f"{major[name]}.{minor[name]}" for name in ids}
    if len(set(versions.values())) == 1:
        return f"{versions[GRIPPER]} in all servos"
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return doubt(
        "firmware", f"differs: {listed}; LeRobot refuses such an arm, the vendor's program updates it"
    )


def _voltage(bus: ServoBus, ids: Mapping[str, int]) -> str | Check:
    check_supply(bus, ids)
    volts, least, most = (
        _all(bus, ids, each) for each in (sts3215.PRESENT_VOLTAGE, sts3215.MIN_VOLTAGE, sts3215.MAX_VOLTAGE)
    )
    wrong = [name for name in ids if not least[name] <= volts[name] <= most[name]]
    if not wrong:
        return volt_range(min(volts.values()), max(volts.values()))
    seen = ", ".join(f"{name} {volts[name] / 10:.1f} V" for name in wrong)
    limits = volt_range(least[wrong[0]], most[wrong[0]])
    return doubt("voltage", f"{seen}; expected {limits}: is it the arm's own power supply?")


def volt_range(low: int, high: int) -> str:
    """Returns tenths of a volt for a person, such as ``7.2 to 7.4 V``."""
    return f"{high / 10:.1f} V" if low == high else f"{low / 10:.1f} to {high / 10:.1f} V"


def _temperature(bus: ServoBus, ids: Mapping[str, int]) -> str | Check:
    celsius, most = (_all(bus, ids, each) for each in (sts3215.PRESENT_TEMPERATURE, sts3215.MAX_TEMPERATURE))
    hot = max(ids, key=lambda name: celsius[name] - most[name])
    says = f"{hot} is the hottest with {celsius[hot]} °C, its limit is {most[hot]} °C"
    if celsius[hot] > most[hot]:
        raise SafetyLatch(f"{says}; support the arm, run `segue release` and let it cool")
    if celsius[hot] > most[hot] - _NEARLY_HOT_C:
        return doubt("temperature", f"{says}; let it cool before a long run")
    return says


def _torque(bus: ServoBus, ids: Mapping[str, int]) -> str | Check:
    on = [name for name, value in _all(bus, ids, sts3215.TORQUE_ENABLE).items() if value]
    if not on:
        return "off: the arm can be moved by hand"
    return doubt("torque", f"on in {', '.join(on)}: the arm holds itself; `segue release` frees it")


def _registers(bus: ServoBus, file: CalibrationFile, writes: bool) -> str | Check:
    ids = {name: joint.id for name, joint in file.joints.items()}
    check_counting(bus, ids, str(file.path))
    different = ", ".join(differences(read_registers(bus, ids), file.joints))
    if not different:
        return "the servos hold the file's numbers"
    if writes:
        return doubt("registers", f"--robot.write_calibration=true will change {different}")
    raise ConfigError(
        f"{file.path}: the servos hold other numbers: {different}; is it this arm's file? "
        "`segue calibrate` makes a new one, its --write_calibration writes this one into the servos"
    )


def _pose(bus: ServoBus, file: CalibrationFile) -> str:
    check_pose(bus, file.joints, str(file.path))
    return "every joint is within its limits"


def _all(bus: ServoBus, ids: Mapping[str, int], register: Register) -> dict[str, int]:
    values = bus.read_all(list(ids.values()), register)
    return {name: values[servo] for name, servo in ids.items()}
