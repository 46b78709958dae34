"""`segue release` frees an arm that was left holding, gently, and only when a person agrees."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from segue.cli import release as verb
from segue.cli.main import main
from segue.clock import Clock
from segue.errors import ConfigError, RobotFault
from segue.robots import so101_torque
from segue.robots.feetech import ServoBus
from segue.robots.sts3215 import ID, PHASE, PRESENT_VOLTAGE, TORQUE_ENABLE, TORQUE_LIMIT
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.feetech_bus import FeetechBus
from segue.testing.servo_arm import so101_servos
from segue.testing.servo_line import ServoLine
from segue.testing.servo_overlap import Overlap
from tests.unit.tools.arm_by_hand import interrupting


@dataclass
class Held:
    """An arm of which some servos hold, and what a person was told and asked."""

    line: ServoLine = field(default_factory=lambda: ServoLine(so101_servos()))
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(1))
    told: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Makes a bus to it."""
        self.bus = ServoBus(DirectPort(self.line, self.clock), self.clock)

    def release(self, answer: str | None = None) -> int:
        """Releases it; a person asked gives that answer."""

        def ask(question: str) -> str:
            self.asked.append(question)
            return answer or ""

        return verb.release(self.bus, self.clock, "blue", self.told.append, None if answer is None else ask)

    @property
    def torque(self) -> list[int]:
        """Torque of all servos."""
        return [servo.get(TORQUE_ENABLE) for servo in self.line.servos]


@pytest.fixture
def held() -> Held:
    """An arm whose first four servos hold."""
    made = Held()
    for servo in made.line.servos[:4]:
        servo.write(TORQUE_ENABLE.address, b"\x01")
    return made


def test_servos_that_hold_are_freed_and_named(held: Held) -> None:
    """Each joint is told of, torque sinks first, and is whole for the next run."""
    assert held.release() == 0
    assert held.torque == [0] * 6
    assert held.told[0] == "shoulder_pan (servo 1): freed"
    assert held.told[5] == "gripper (servo 6): had no torque"
    limits = [each.value for each in held.line.writes if each.register == "Torque_Limit" and each.servo == 1]
    assert len(limits) > 10
    assert held.line.servo(1).get(TORQUE_LIMIT) == 1000


@pytest.mark.parametrize("answer", ["yes", "YES", "y"])
def test_a_person_is_asked_first(held: Held, answer: str) -> None:
    """The question names the arm and says that it has to be supported."""
    held.release(answer)
    assert held.torque == [0] * 6
    assert "blue" in held.asked[0]
    assert "Support it" in held.asked[0]


@pytest.mark.parametrize("answer", ["", "no", "yess"])
def test_without_a_yes_nothing_changes(held: Held, answer: str) -> None:
    """Whoever does not agree finds the arm as it was."""
    with pytest.raises(ConfigError, match="nothing was changed"):
        held.release(answer)
    assert held.torque == [1, 1, 1, 1, 0, 0]
    assert list(held.line.writes) == []


def test_an_arm_without_torque_needs_no_question() -> None:
    """Where nothing holds nobody is asked and nothing is written."""
    made = Held()
    made.release("no")
    assert (made.asked, list(made.line.writes)) == ([], [])
    assert made.told[0] == "shoulder_pan (servo 1): had no torque"


def test_mute_servos_are_named_and_the_others_freed(held: Held) -> None:
    """A servo that does not answer does not keep the rest from being freed, and is said to be unknown."""
    held.line.faults.mute = frozenset({2})
    with pytest.raises(RobotFault, match="torque state of shoulder_lift is unknown"):
        held.release()
    assert held.torque == [0, 1, 0, 0, 0, 0]
    assert "shoulder_lift (servo 2): does not answer" in held.told


@pytest.mark.parametrize("how", Overlap)
def test_servos_of_one_id_are_named_and_the_others_freed(held: Held, how: Overlap) -> None:
    """Nobody knows whether both let go, so they are left to the power switch, with the remedy."""
    held.line.servo("wrist_flex").set(ID, 3)
    held.line.faults.overlap = how
    with pytest.raises(RobotFault) as caught:
        held.release()
    assert held.torque == [0, 0, 1, 1, 0, 0]
    assert str(caught.value).startswith(
        "the torque state of elbow_flex, wrist_flex is unknown, the others are free: support the arm and "
        "switch its power off to free it; two servos answer to id 3 (elbow_flex): disconnect one of them"
    )
    assert "elbow_flex (servo 3): answers twice, or garbled" in held.told
    assert "wrist_flex (servo 4): does not answer" in held.told


@pytest.mark.parametrize("how", Overlap)
def test_an_arm_of_servos_of_one_id_is_no_silent_bus(how: Overlap) -> None:
    """Six new servos are not freed, and it is said why, and how they are."""
    made = Held()
    for servo in made.line.servos:
        servo.set(ID, 1)
    made.line.faults.overlap = how
    with pytest.raises(RobotFault, match=r"switch its power off to free it; .*two servos answer to id 1"):
        made.release()


def test_an_arm_on_a_wrong_supply_is_freed(held: Held) -> None:
    """Whatever the servos get, taking their torque away is right; what is wrong is told as well."""
    for servo in held.line.servos:
        servo.sense(PRESENT_VOLTAGE, 120)
    assert held.release() == 0
    assert held.torque == [0] * 6
    assert any(
        "get 12.0 V and may have 8.0 V at most: this is the wrong power supply" in each for each in held.told
    )


def test_a_servo_that_counts_beyond_a_turn_is_freed(held: Held) -> None:
    """How a servo counts keeps nobody from letting go."""
    held.line.servo("elbow_flex").set(PHASE, 28)
    assert held.release() == 0
    assert held.torque == [0] * 6


def test_a_silent_bus_points_at_the_power_supply(held: Held) -> None:
    """Where nobody answers the power supply is asked for."""
    held.line.faults.mute = frozenset(range(1, 7))
    with pytest.raises(RobotFault, match="power supply"):
        held.release()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_in_the_middle_waits_until_the_arm_is_free(
    held: Held, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arm is lowered to the end, what was done is told, and the signal's number is handed back."""
    before = signal.getsignal(number)
    interrupting(held.bus, number, monkeypatch)
    assert held.release() == number
    assert held.torque == [0] * 6
    assert [servo.get(TORQUE_LIMIT) for servo in held.line.servos] == [1000] * 5 + [500]
    assert held.told[0] == f"{number.name} came while the arm sank, which was finished first"
    assert held.told[1] == "shoulder_pan (servo 1): freed"
    assert signal.getsignal(number) == before


def test_a_terminal_that_was_closed_in_the_middle_keeps_no_arm(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who hangs up can be told nothing; the arm is free, and the end is the signal's."""

    def tell(text: str) -> None:
        raise OSError(5, "Input/output error")

    interrupting(held.bus, signal.SIGHUP, monkeypatch)
    assert verb.release(held.bus, held.clock, "blue", tell, None) == signal.SIGHUP
    assert held.torque == [0] * 6


def test_the_verb_ends_with_the_signals_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a SIGTERM in the middle the exit code is 143, and the arm on its port is free."""
    with FeetechBus.so101() as bus:
        for servo in bus.line.servos:
            servo.write(TORQUE_ENABLE.address, b"\x01")
        sink = so101_torque.lower

        def interrupted(bus: ServoBus, clock: Clock, servos: Collection[int]) -> None:
            signal.raise_signal(signal.SIGTERM)
            sink(bus, clock, servos)

        monkeypatch.setattr(so101_torque, "lower", interrupted)
        assert main(["release", f"--robot.port={bus.port}", "--yes"]) == 128 + signal.SIGTERM
        assert [each["torque"] for each in bus.state().values()] == [0] * 6


def test_the_verb_frees_an_arm_on_its_port(capsys: pytest.CaptureFixture[str]) -> None:
    """With --yes the command frees a real port's arm and says what it did."""
    with FeetechBus.so101() as bus:
        for servo in bus.line.servos:
            servo.write(TORQUE_ENABLE.address, b"\x01")
        assert main(["release", f"--robot.port={bus.port}", "--yes"]) == 0
        assert [each["torque"] for each in bus.state().values()] == [0] * 6
    assert "segue release: gripper (servo 6): freed" in capsys.readouterr().out


def test_without_a_terminal_and_without_yes_the_arm_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that forgot --yes ends with 64 and an arm that holds."""
    with FeetechBus.so101() as bus, open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        for servo in bus.line.servos:
            servo.write(TORQUE_ENABLE.address, b"\x01")
        assert main(["release", f"--robot.port={bus.port}"]) == 64
        assert [each["torque"] for each in bus.state().values()] == [1] * 6
    assert "terminal" in capsys.readouterr().err


def test_a_missing_port_ends_with_74(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is not there is a fault of the robot, in one line."""
    assert main(["release", "--robot.port=/dev/nothing", "--yes"]) == 74
    assert "there is no such port" in capsys.readouterr().err
