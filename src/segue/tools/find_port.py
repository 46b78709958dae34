"""Which serial ports there are, what answers on each, and whose arm it is, as far as that can be told.

A port is opened, asked and closed: questions only, so an arm stays as it is and
one that is being driven is left alone (its port is locked). Leader and follower
are the same servos on the same board; what tells them apart is what somebody
once wrote into them: a calibration that lies in one of LeRobot's folders, or the
gains that LeRobot gives a follower. A supply of 12 V is a hint. Where nothing
tells, nothing is guessed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

from segue.clock import Clock, SystemClock
from segue.errors import ConfigError, RobotFault
from segue.robots import sts3215
from segue.robots.calibration import GRIPPER, JOINT_IDS, MAX_COUNT, load_calibration
from segue.robots.calibration_registers import differences, read_registers
from segue.robots.feetech import ATTEMPTS, PATIENT_MARGIN_NS, ServoBus
from segue.robots.serialport import SerialPort
from segue.robots.so101_ready import doubles_words
from segue.robots.sts3215 import BAUD

BY_ID = Path("/dev/serial/by-id")
_DEVICES = ("ttyACM*", "ttyUSB*")
# Leaders are built with servos for 5 to 7.4 V; only followers come with those for 12 V as well.
_HIGH_VOLTS = 9.0
_FOLLOWER_GAIN, _FOLLOWER_GRIPPER_TORQUE = 16, 500
_ROLES = {"robots": "follower", "teleoperators": "leader"}
_FROM_THE_FACTORY = (0, 0, MAX_COUNT)
_MOST_FILES = 1000


@dataclass(frozen=True, slots=True)
class ServoFacts:
    """What a servo says of itself; `firmware` as in ``3.10``, voltage in V, temperature in °C."""

    id: int
    model: int
    firmware: str
    volts: float
    celsius: int
    torque: bool


@dataclass(frozen=True, slots=True)
class PortFacts:
    """One port.

    Attributes:
        path: of the device.
        name: another path to it that stays the same when it is plugged in elsewhere; may be empty.
        refusal: why it could not be asked; empty when it could.
        servos: that answered, by id.
        owner: whose arm it is, in words; empty when that cannot be told.
        doubles: which ids two servos share, and what to do, in words; empty when there are none.
    """

    path: str
    name: str = ""
    refusal: str = ""
    servos: tuple[ServoFacts, ...] = ()
    owner: str = ""
    doubles: str = ""

    @property
    def is_arm(self) -> bool:
        """Whether the six servos of an arm are there."""
        return {each.id for each in self.servos} >= set(JOINT_IDS.values())


def serial_ports(further: Iterable[str] = ()) -> tuple[str, ...]:
    """Returns the paths of all serial ports of this host and of those `further` ones, each once."""
    found = {each.device for each in list_ports.comports()}
    for pattern in _DEVICES:
        found |= {str(path) for path in Path("/dev").glob(pattern)}
    return (*sorted(found), *(path for path in dict.fromkeys(further) if path not in found))


def lasting_name(path: str, folder: Path = BY_ID) -> str:
    """Returns the link in `folder` that leads to the device at `path`; empty when there is none."""
    device = os.path.realpath(path)
    links = sorted(folder.glob("*")) if folder.is_dir() else []
    return next((str(link) for link in links if os.path.realpath(link) == device), "")


def look_at(path: str, calibrations: Path) -> PortFacts:
    """Asks who is on a port, and closes it again.

    Args:
        path: of the port.
        calibrations: LeRobot's folder, with ``robots`` and ``teleoperators``.
    """
    name = lasting_name(path)
    try:
        clock = SystemClock()
        with closing(ServoBus(SerialPort(path, BAUD), clock)) as bus:
            servos, doubles = servos_on(bus, clock)
            arm = PortFacts(path, name, servos=servos)
            owner = owner_of(bus, servos, calibrations) if arm.is_arm else ""
        return PortFacts(path, name, servos=servos, owner=owner, doubles=doubles)
    except RobotFault as fault:
        return PortFacts(path, name, refusal=str(fault).removeprefix(f"port {path}: "))


def servos_on(bus: ServoBus, clock: Clock) -> tuple[tuple[ServoFacts, ...], str]:
    """Returns the servos of an arm on `bus`; when there is none of them, whatever has another id.

    Of an id that two servos share nothing is known; which they are is the second thing returned, with
    what to do, in words.

    Raises:
        RobotFault: the port is gone, or a servo answers once and then no more.
    """
    # The first six bytes: firmware, a byte, model, id.
    ids = tuple(JOINT_IDS.values())
    deadline_ns = clock.now_ns() + ATTEMPTS * len(ids) * PATIENT_MARGIN_NS
    found = bus.sync_read(ids, sts3215.FIRMWARE_MAJOR.address, 6, deadline_ns, PATIENT_MARGIN_NS)
    here = sorted(found) or bus.scan()
    doubles = bus.doubles(ids if found else here)
    known = tuple(_facts(bus, servo) for servo in here if servo not in doubles)
    return known, doubles_words(doubles, JOINT_IDS) if doubles else ""


def _facts(bus: ServoBus, servo: int) -> ServoFacts:
    major, minor = (bus.read(servo, each).value for each in (sts3215.FIRMWARE_MAJOR, sts3215.FIRMWARE_MINOR))
    return ServoFacts(
        id=servo,
        model=bus.read(servo, sts3215.MODEL).value,
        firmware=f"{major}.{minor}",
        volts=bus.read(servo, sts3215.PRESENT_VOLTAGE).value / 10,
        celsius=bus.read(servo, sts3215.PRESENT_TEMPERATURE).value,
        torque=bool(bus.read(servo, sts3215.TORQUE_ENABLE).value),
    )


def owner_of(bus: ServoBus, servos: Iterable[ServoFacts], calibrations: Path) -> str:
    """Returns whose arm it is, with the reason; empty when nothing tells.

    Raises:
        RobotFault: a servo does not answer.
    """
    files = matching_files(bus, calibrations)
    if files:
        return ", ".join(files)
    gains = {bus.read(servo, sts3215.P_GAIN).value for servo in JOINT_IDS.values()}
    grip = bus.read(JOINT_IDS[GRIPPER], sts3215.MAX_TORQUE).value
    if gains == {_FOLLOWER_GAIN} and grip == _FOLLOWER_GRIPPER_TORQUE:
        return f"follower by its settings (gain {_FOLLOWER_GAIN}, gripper at half torque)"
    if min(each.volts for each in servos) >= _HIGH_VOLTS:
        return "follower, presumably: leaders are not built for 12 V"
    return ""


def matching_files(bus: ServoBus, calibrations: Path) -> tuple[str, ...]:
    """Returns who has a calibration file with the servos' own numbers, such as ``follower "blue" (…)``.

    Raises:
        RobotFault: a servo does not answer.
    """
    held = read_registers(bus, JOINT_IDS)
    numbers = {(each.homing_offset, each.range_min, each.range_max) for each in held.values()}
    if numbers == {_FROM_THE_FACTORY}:
        return ()  # everybody's and nobody's
    found = []
    for role, path in _files(calibrations):
        try:
            is_same = not differences(held, load_calibration(path))
        except ConfigError:
            continue  # of another robot, or broken: not this arm's
        if is_same:
            found.append(f'{role} "{path.stem}" by its calibration ({path})')
    return tuple(found)


def _files(calibrations: Path) -> list[tuple[str, Path]]:
    found = [(role, path) for name, role in _ROLES.items() for path in (calibrations / name).glob("*/*.json")]
    return sorted(found)[:_MOST_FILES]
