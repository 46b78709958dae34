"""`segue find-port`: one line per port, a sentence where nobody is, and the way by unplugging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from segue.cli import find_port
from segue.cli.find_port import by_unplugging, port_line
from segue.cli.main import main
from segue.errors import RobotFault
from segue.testing import FeetechBus
from segue.tools.calibrate import Way
from segue.tools.find_port import PortFacts, ServoFacts

ARM = tuple(ServoFacts(each, 777, "3.10", 7.4, 30, False) for each in range(1, 7))


@pytest.fixture
def bus() -> Iterator[FeetechBus]:
    with FeetechBus.so101() as bus:
        yield bus


def test_an_arm_is_one_line_and_no_failure(
    bus: FeetechBus, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path comes first, then who answers, and with an arm on any port the code is 0."""
    monkeypatch.setattr("segue.tools.find_port.list_ports.comports", lambda: [])
    assert main(["find-port", f"--port={bus.port}, /dev/ttyNONE"]) == 0
    lines = capsys.readouterr().out.splitlines()
    arm, none = lines[-2:]
    assert arm.startswith(f"{bus.port}: arm with servos 1-6 (STS3215 firmware 3.10), 7.4 V, 30 °C at most, ")
    assert none.startswith("/dev/ttyNONE: there is no such port")


def test_no_arm_is_a_fault_with_what_to_look_at(bus: FeetechBus, capsys: pytest.CaptureFixture[str]) -> None:
    """An arm of which a servo is missing is listed, and the code says that none is whole."""
    bus.mute("gripper")
    assert main(["find-port", f"--port={bus.port}"]) == 74
    out, err = capsys.readouterr()
    assert f"{bus.port}: servos 1, 2, 3, 4, 5, but not 6 gripper of an arm" in out
    assert err == "segue: no arm answers on any port; look at its power, its cables and the lines above\n"


def test_a_host_without_ports_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing to list is a sentence, and not an empty list."""
    monkeypatch.setattr("segue.tools.find_port.serial_ports", lambda further: ())
    assert main(["find-port"]) == 74
    assert capsys.readouterr().err == "segue: there is no serial port here; plug in the arm's USB cable\n"


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (PortFacts("/dev/a", refusal="in use"), "/dev/a: in use"),
        (PortFacts("/dev/a", "/by-id/x", "in use"), "/dev/a (/by-id/x): in use"),
        (PortFacts("/dev/a"), f"/dev/a: {find_port.NOTHING}"),
        (
            PortFacts("/dev/a", servos=ARM, owner='leader "red"'),
            '/dev/a: arm with servos 1-6 (STS3215 firmware 3.10), 7.4 V, 30 °C at most, leader "red"',
        ),
        (
            PortFacts("/dev/a", servos=(*ARM[:5], ServoFacts(6, 777, "3.9", 7.1, 44, True))),
            "/dev/a: arm with servos 1-6 (STS3215 firmware 3.10 and STS3215 firmware 3.9), "
            "7.1 to 7.4 V, 44 °C at most, torque on in 6, follower or leader cannot be told",
        ),
        (PortFacts("/dev/a", doubles="two servos answer to id 1"), "/dev/a: two servos answer to id 1"),
        (
            PortFacts("/dev/a", servos=ARM[1:], doubles="two servos answer to id 1"),
            "/dev/a: servos 2, 3, 4, 5, 6, but not 1 shoulder_pan of an arm (STS3215 firmware 3.10), 7.4 V, "
            "30 °C at most; two servos answer to id 1",
        ),
        (
            PortFacts("/dev/a", servos=(ServoFacts(1, 1284, "1.2", 12.0, 20, True),)),
            "/dev/a: servo 1, but not 2 shoulder_lift, 3 elbow_flex, 4 wrist_flex, 5 wrist_roll, "
            "6 gripper of an arm (model 1284 firmware 1.2), 12.0 V, 20 °C at most, torque on",
        ),
    ],
)
def test_what_is_said_of_a_port(facts: PortFacts, line: str) -> None:
    """Every case has its sentence, and what cannot be told is said to be so."""
    assert port_line(facts) == line


class Unplugger:
    """A `Person` who takes away ports when asked."""

    def __init__(self, ports: list[str], takes: Sequence[str]) -> None:
        self.ports, self.takes = ports, takes
        self.said: list[str] = []

    def tell(self, text: str) -> None:
        self.said.append(text)

    def ask(self, text: str) -> str:
        self.said.append(text)
        for each in self.takes:
            self.ports.remove(each)
        return ""

    def show(self, ways: Sequence[Way]) -> None: ...

    def pressed(self) -> bool:
        return True


def unplugged(takes: Sequence[str]) -> list[str]:
    person = Unplugger(["/dev/a", "/dev/b", "/dev/c"], takes)
    by_unplugging(lambda: tuple(person.ports), person)
    return person.said


def test_the_port_that_goes_is_the_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told with the name that it keeps when it is plugged in elsewhere."""
    assert unplugged(["/dev/b"])[-1] == "the arm is on /dev/b; plug it in again"
    monkeypatch.setattr("segue.tools.find_port.lasting_name", lambda path: f"/by-id{path}")
    assert unplugged(["/dev/b"])[-1] == ("the arm is on /dev/b, always called /by-id/dev/b; plug it in again")


def test_nothing_unplugged_or_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """No port gone, or two, is a fault that says what to do."""
    monkeypatch.setattr(find_port, "_UNPLUG_PAUSE_S", 0)
    with pytest.raises(RobotFault, match="no port went away; unplug one arm"):
        unplugged([])
    with pytest.raises(RobotFault, match="/dev/a and /dev/c went; unplug one arm"):
        unplugged(["/dev/a", "/dev/c"])
