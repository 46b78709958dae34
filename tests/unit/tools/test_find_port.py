"""Who is on a port: servos, whose arm it is where something tells, and a reason where nobody answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.robots import sts3215
from segue.robots.calibration import MotorCalibration, save_calibration
from segue.robots.serialport import SerialPort
from segue.testing import FeetechBus
from segue.testing.servo import Servo
from segue.testing.servo_arm import default_calibration
from segue.testing.servo_line import ServoLine
from segue.testing.servo_overlap import Overlap
from segue.testing.servo_shaft import FreeShaft
from segue.tools import find_port
from segue.tools.find_port import ServoFacts, lasting_name, look_at, serial_ports

GAIN, HALF_TORQUE, FULL_TORQUE = 16, 500, 1000


@pytest.fixture
def bus() -> Iterator[FeetechBus]:
    with FeetechBus.so101() as bus:
        yield bus


def as_from_the_factory(bus: FeetechBus) -> None:
    for servo in bus.line.servos:
        servo.set(sts3215.P_GAIN, 32)
        servo.set(sts3215.MAX_TORQUE, FULL_TORQUE)


def test_an_arm_is_told_servo_by_servo(bus: FeetechBus, tmp_path: Path) -> None:
    """Ids, model, firmware, voltage, temperature and torque are each servo's own, and nothing is written."""
    bus.voltage("gripper", 7.1)
    bus.overheat("gripper", 41)
    bus.servo("gripper").write(sts3215.TORQUE_ENABLE.address, b"\x01")
    facts = look_at(bus.port, tmp_path)
    assert facts.is_arm
    assert [each.id for each in facts.servos] == [1, 2, 3, 4, 5, 6]
    pan, grip = facts.servos[0], facts.servos[-1]
    assert (pan.model, pan.firmware, pan.volts, pan.celsius, pan.torque) == (777, "3.10", 7.4, 30, False)
    assert (grip.volts, grip.celsius, grip.torque) == (7.1, 41, True)
    assert bus.writes == []


@pytest.mark.parametrize(
    ("folder", "says"),
    [("robots/so_follower", 'follower "blue"'), ("teleoperators/so_leader", 'leader "blue"')],
)
def test_a_calibration_file_tells_whose_arm_it_is(
    bus: FeetechBus, tmp_path: Path, folder: str, says: str
) -> None:
    """The servos hold the numbers of one file, whose folder says what it is and whose name who it is."""
    as_from_the_factory(bus)
    other = {**default_calibration(), "gripper": MotorCalibration(6, 0, 1, 2, 3)}
    save_calibration(tmp_path / folder / "red.json", other)
    (tmp_path / folder / "broken.json").write_text("{")
    path = tmp_path / folder / "blue.json"
    save_calibration(path, default_calibration())
    assert look_at(bus.port, tmp_path).owner == f"{says} by its calibration ({path})"


def test_the_factorys_numbers_are_nobodys(tmp_path: Path) -> None:
    """A new arm does not belong to whoever saved a file of an arm that was never calibrated."""
    blank = {name: MotorCalibration(each.id, 0, 0, 0, 4095) for name, each in default_calibration().items()}
    save_calibration(tmp_path / "robots" / "so_follower" / "blank.json", blank)
    with FeetechBus.so101(blank) as bus:
        as_from_the_factory(bus)
        assert look_at(bus.port, tmp_path).owner == ""


def test_lerobots_settings_tell_a_follower(bus: FeetechBus, tmp_path: Path) -> None:
    """Gain 16 everywhere and half the torque in the gripper are what LeRobot gives to followers alone."""
    as_from_the_factory(bus)
    bus.servo("gripper").set(sts3215.MAX_TORQUE, HALF_TORQUE)
    assert look_at(bus.port, tmp_path).owner == ""
    for servo in bus.line.servos:
        servo.set(sts3215.P_GAIN, GAIN)
    bus.servo("gripper").set(sts3215.MAX_TORQUE, FULL_TORQUE)
    assert look_at(bus.port, tmp_path).owner == ""
    bus.servo("gripper").set(sts3215.MAX_TORQUE, HALF_TORQUE)
    assert look_at(bus.port, tmp_path).owner.startswith("follower by its settings")


def test_twelve_volts_are_a_hint(bus: FeetechBus, tmp_path: Path) -> None:
    """Only followers are built with servos for 12 V, which is said with its reason."""
    as_from_the_factory(bus)
    for servo in bus.line.servos:
        bus.voltage(servo.id, 12.1)
    assert look_at(bus.port, tmp_path).owner == "follower, presumably: leaders are not built for 12 V"


def test_a_single_servo_is_found_whatever_its_id(tmp_path: Path) -> None:
    """A servo that was never given an arm's id is found among all of them, and is no arm."""
    with FeetechBus(ServoLine([Servo("loose", 42)])) as bus:
        facts = look_at(bus.port, tmp_path)
    assert [each.id for each in facts.servos] == [42]
    assert not facts.is_arm


@pytest.mark.parametrize("how", Overlap)
def test_two_servos_of_one_id_are_told(bus: FeetechBus, tmp_path: Path, how: Overlap) -> None:
    """The others are told as ever; of the id that two share nothing is said but that, and what to do."""
    bus.renumber("wrist_flex", 3)
    bus.line.faults.overlap = how
    facts = look_at(bus.port, tmp_path)
    assert [each.id for each in facts.servos] == [1, 2, 5, 6]
    assert facts.doubles.startswith("two servos answer to id 3 (elbow_flex): disconnect one of them")
    assert not facts.is_arm


@pytest.mark.parametrize("how", Overlap)
@pytest.mark.parametrize("servo", [1, 9])
def test_new_servos_of_one_id_alone_on_a_bus_are_told(tmp_path: Path, how: Overlap, servo: int) -> None:
    """Six servos as they come from the factory, or two of another id, are no silent port."""
    servos = [Servo(f"new{number}", servo, FreeShaft(100.0 + 300 * number)) for number in range(6)]
    with FeetechBus(ServoLine(servos)) as bus:
        bus.line.faults.overlap = how
        facts = look_at(bus.port, tmp_path)
    assert (facts.servos, facts.refusal) == ((), "")
    assert facts.doubles.startswith(f"two servos answer to id {servo}")


def test_a_silent_port_has_no_servos_and_no_refusal(tmp_path: Path) -> None:
    """A serial device that is no bus is told apart from one that could not be asked."""
    with FeetechBus(ServoLine([])) as bus:
        facts = look_at(bus.port, tmp_path)
    assert (facts.servos, facts.refusal) == ((), "")


def test_a_port_in_use_and_a_missing_one_say_why(bus: FeetechBus, tmp_path: Path) -> None:
    """The reason comes without the path, which the line begins with, and with the remedy."""
    other = SerialPort(bus.port, sts3215.BAUD)
    try:
        facts = look_at(bus.port, tmp_path)
    finally:
        other.close()
    assert facts.refusal.startswith("in use by another program; close that one first")
    assert look_at("/dev/ttyNONE", tmp_path).refusal.startswith("there is no such port")


def test_an_arm_that_is_unplugged_meanwhile_is_a_refusal(
    bus: FeetechBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as a port that is gone, so that the listing goes on with the next one."""
    facts_of = find_port._facts

    def pulled(*question: Any) -> ServoFacts:
        bus.unplug()
        return facts_of(*question)

    monkeypatch.setattr(find_port, "_facts", pulled)
    facts = look_at(bus.port, tmp_path)
    assert facts.refusal.startswith("gone, was it unplugged")
    assert facts.servos == ()


def test_a_lasting_name_is_the_link_that_leads_to_the_device(tmp_path: Path) -> None:
    """It is found through links, and a device without one has none."""
    (tmp_path / "tty0").touch()
    (tmp_path / "tty1").touch()
    links = tmp_path / "by-id"
    links.mkdir()
    (links / "usb-arm").symlink_to("../tty0")
    assert lasting_name(str(tmp_path / "tty0"), links) == str(links / "usb-arm")
    assert lasting_name(str(tmp_path / "tty1"), links) == ""
    assert lasting_name(str(tmp_path / "tty0"), tmp_path / "none") == ""


def test_every_port_is_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports of the host come first and in order, further ones follow, and none comes twice."""

    class Port:
        def __init__(self, device: str) -> None:
            self.device = device

    monkeypatch.setattr(find_port.list_ports, "comports", lambda: [Port("/dev/ttyB"), Port("/dev/ttyA")])
    found = serial_ports(["/tmp/arm", "/dev/ttyA", "/tmp/arm"])
    assert [each for each in found if each in ("/dev/ttyA", "/dev/ttyB")] == ["/dev/ttyA", "/dev/ttyB"]
    assert found[-1] == "/tmp/arm"
    assert len(found) == len(set(found))
    assert all(os.path.isabs(each) for each in found)
