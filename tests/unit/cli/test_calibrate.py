"""`segue calibrate`: servos and file change together or not at all, whoever breaks it off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.cli import calibrate as module
from segue.cli.breakoff import breaking_off
from segue.cli.calibrate import run
from segue.cli.main import main
from segue.config.calibrate import ArmConfig, CalibrateConfig
from segue.errors import ConfigError
from segue.robots import sts3215
from segue.robots.calibration import Calibration, MotorCalibration, load_calibration, save_calibration
from segue.testing import FeetechBus
from segue.testing.servo_arm import default_calibration
from tests.processes import wait_until
from tests.terminal import AtTerminal
from tests.unit.tools.arm_by_hand import WAYS, Answers, from_stop_to_stop

OTHER = {
    name: MotorCalibration(each.id, 0, 7 * each.id, 1500, 2900)
    for name, each in default_calibration().items()
}


class Hands:
    """A `Person` who moves the joints of an emulated arm from stop to stop."""

    def __init__(self, bus: FeetechBus, answers: Answers | None = None) -> None:
        self.said: list[str] = []
        self._answers = answers or {}
        self._moves: Iterator[bool] = from_stop_to_stop(bus.push, WAYS, step=400)

    def tell(self, text: str) -> None:
        self.said.append(text)

    def ask(self, text: str) -> str:
        self.said.append(text)
        answer = next((each for part, each in self._answers.items() if part in text), "")
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def show(self, ways: object) -> None: ...

    def pressed(self) -> bool:
        return next(self._moves)


@pytest.fixture
def bus() -> Iterator[FeetechBus]:
    with FeetechBus.so101() as bus:
        yield bus


def held(bus: FeetechBus) -> dict[str, MotorCalibration]:
    """Returns what the servos would hold after power was off and on."""
    found = {}
    for servo in bus.line.servos:
        servo.power_cycle()
        registers = (sts3215.HOMING_OFFSET, sts3215.MIN_POSITION, sts3215.MAX_POSITION)
        found[servo.name] = MotorCalibration(servo.id, 0, *(servo.get(each) for each in registers))
    return found


def config(bus: FeetechBus, folder: Path | None, write: Path | None = None) -> CalibrateConfig:
    arm = ArmConfig(type="so101_follower", port=bus.port, id="blue", calibration_dir=folder)
    return CalibrateConfig(robot=arm, write_calibration=write)


def test_the_file_lies_where_lerobot_looks_and_says_what_the_servos_hold(
    bus: FeetechBus, tmp_path: Path
) -> None:
    """It is LeRobot's folder of today, and numbers of file and servos are the same."""
    person = Hands(bus)
    run(config(bus, None), person, {"HF_LEROBOT_CALIBRATION": str(tmp_path)})
    path = tmp_path / "robots" / "so_follower" / "blue.json"
    assert load_calibration(path) == held(bus) != default_calibration()
    assert person.said[-1] == f"the servos hold the new calibration, and it is kept in {path}"
    assert [each.name for each in path.parent.iterdir()] == ["blue.json"]


def test_an_old_file_is_replaced_when_somebody_says_yes(bus: FeetechBus, tmp_path: Path) -> None:
    """The question names the file, and the old one is kept beside the new."""
    path = tmp_path / "blue.json"
    save_calibration(path, OTHER)
    person = Hands(bus, {"is there already": "yes"})
    run(config(bus, tmp_path), person, {})
    assert person.said[0].startswith(f"{path} is there already. Type yes")
    assert load_calibration(tmp_path / "blue.json.bak") == OTHER
    assert load_calibration(path) == held(bus)


def test_an_old_file_is_kept_otherwise(bus: FeetechBus, tmp_path: Path) -> None:
    """ENTER alone changes nothing: no file, no servo."""
    save_calibration(tmp_path / "blue.json", OTHER)
    with pytest.raises(ConfigError, match="nothing was changed"):
        run(config(bus, tmp_path), Hands(bus), {})
    assert load_calibration(tmp_path / "blue.json") == OTHER
    assert bus.writes == []


def test_a_file_of_before_the_renaming_is_mentioned(bus: FeetechBus, tmp_path: Path) -> None:
    """The new file wins, and the older one, which still says something else, is named."""
    old = tmp_path / "robots" / "so101_follower" / "blue.json"
    save_calibration(old, OTHER)
    person = Hands(bus)
    run(config(bus, None), person, {"HF_LEROBOT_CALIBRATION": str(tmp_path)})
    assert f"{old} is not: it is from before LeRobot renamed the folder" in person.said[-1]


def test_when_the_file_cannot_be_kept_the_servos_are_as_before(
    bus: FeetechBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servos and file never say different things because a disk was full."""

    def full(path: Path, found: object) -> None:
        raise ConfigError("the disk is full")

    monkeypatch.setattr(module, "_save", full)
    person = Hands(bus)
    with pytest.raises(ConfigError, match="full"):
        run(config(bus, tmp_path), person, {})
    assert held(bus) == default_calibration()
    assert "hold the calibration that they held before" in person.said[-1]


def test_a_known_file_is_written_when_asked(bus: FeetechBus, tmp_path: Path) -> None:
    """--write_calibration brings a file's numbers to the servos, asks nothing and makes no file."""
    path = tmp_path / "mine.json"
    save_calibration(path, OTHER)
    person = Hands(bus)
    run(config(bus, tmp_path / "none", path), person, {})
    assert held(bus) == OTHER
    assert person.said == [f"the servos now hold {path}"]
    assert not (tmp_path / "none").exists()


def test_a_wrong_file_is_refused_before_the_port_is_opened(tmp_path: Path) -> None:
    """Nothing is asked of an arm for a file that no arm can have."""
    arm = ArmConfig(type="so101_follower", port="/dev/ttyNONE", id="blue")
    with pytest.raises(ConfigError, match="there is no such calibration file"):
        run(CalibrateConfig(robot=arm, write_calibration=tmp_path / "none.json"), _nobody(), {})


def _nobody() -> Hands:
    return Hands(FeetechBus.so101())


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        ([], 64, "--robot.type: is required: one of so101_follower, so100_follower"),
        (["--robot.type=so101_leader"], 64, "--robot.type=so101_leader: expected one of so101_follower"),
        (["--robot.type=so101_follower", "--robot.port=/dev/ttyNONE"], 64, "--robot.id: is required"),
        (
            ["--robot.type=so101_follower", "--robot.port=/dev/ttyNONE", "--robot.id=new_arm_of_a_test"],
            74,
            "port /dev/ttyNONE: there is no such port; `segue find-port`",
        ),
        (
            ["--robot.type=so101_follower", "--robot.port=/dev/ttyNONE", "--robot.id=../up"],
            64,
            "robot.id: '../up' cannot name a calibration file",
        ),
    ],
)
def test_wrong_flags(flags: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each ends with its code and one sentence."""
    assert main(["calibrate", *flags]) == code
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


class Process:
    """`segue calibrate` in a process of its own, with lines to type and lines that it says."""

    def __init__(self, bus: FeetechBus, folder: Path) -> None:
        flags = ["--robot.type=so101_follower", f"--robot.port={bus.port}", "--robot.id=blue"]
        flags.append(f"--robot.calibration_dir={folder}")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "segue.cli.main", "calibrate", *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self._limit = threading.Timer(60, self.process.kill)
        self._limit.start()

    def enter(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def says(self, part: str) -> str:
        """Waits for a line with `part`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if part in line:
                return line
        raise AssertionError(f"it never said {part!r}")

    def end(self) -> int:
        code = self.process.wait()
        self._limit.cancel()
        return code


class Heard:
    """Counts how often a bus was spoken to."""

    def __init__(self, bus: FeetechBus) -> None:
        self.count = 0
        self._feed = bus.line.feed
        bus.line.feed = self.feed  # type: ignore[method-assign]

    def feed(self, data: bytes, now_ns: int) -> object:
        self.count += 1
        return self._feed(data, now_ns)


@pytest.mark.e2e
def test_it_works_in_a_terminal(bus: FeetechBus, tmp_path: Path) -> None:
    """ENTER, a joint after the other, ENTER: the file is there and the servos hold it."""
    heard = Heard(bus)
    process = Process(bus, tmp_path)
    process.says("1 of 2")
    process.enter()
    process.says("2 of 2")
    for joint, (down, up) in WAYS.items():
        for counts in (-down, down, up, -up):
            bus.push(joint, counts)
            looks = heard.count
            wait_until(lambda looks=looks: heard.count >= looks + 2, "the arm was looked at")  # type: ignore[misc]
    process.enter()
    process.says("it is kept in")
    assert process.end() == 0
    assert load_calibration(tmp_path / "blue.json") == held(bus)


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_leaves_all_as_it_was(bus: FeetechBus, tmp_path: Path, number: int) -> None:
    """Servos and folder are those of before, it is said, and the code is the signal's."""
    process = Process(bus, tmp_path)
    process.says("1 of 2")
    process.enter()
    process.says("2 of 2")
    process.process.send_signal(number)
    process.says("broken off; the servos hold the calibration that they held before, and torque is off")
    assert process.end() == 128 + number
    assert held(bus) == default_calibration()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_a_terminal_that_is_closed_in_the_middle_leaves_all_as_it_was(
    bus: FeetechBus, tmp_path: Path
) -> None:
    """Nobody can be told any more; servos and folder are those of before, and the code is that of HUP."""
    words = ["calibrate", "--robot.type=so101_follower", f"--robot.port={bus.port}", "--robot.id=blue"]
    words.append(f"--robot.calibration_dir={tmp_path}")
    run = AtTerminal(words, tmp_path, output=False)
    try:
        run.shows("1 of 2")
        run.press("\n")
        run.shows("2 of 2")
        run.hang_up()
        assert run.wait() == 129
    finally:
        run.end()
    assert held(bus) == default_calibration()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_a_signal_while_the_file_is_written_waits_for_it(
    bus: FeetechBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servos and file change together: whichever thread gets the signal, it is heeded later."""
    save = module._save

    def interrupted(path: Path, found: Calibration) -> None:
        teller = threading.Thread(target=lambda: signal.raise_signal(signal.SIGTERM))
        teller.start()
        teller.join()
        save(path, found)

    monkeypatch.setattr(module, "_save", interrupted)
    with pytest.raises(SystemExit) as left, breaking_off():
        run(config(bus, tmp_path), Hands(bus), {})
    assert left.value.code == 143
    assert load_calibration(tmp_path / "blue.json") == held(bus)
