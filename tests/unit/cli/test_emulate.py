"""`segue emulate` is a serial port in another process, told what to do on its standard input."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segue.clock import SystemClock
from segue.robots import sts3215 as sts
from segue.robots.calibration import MotorCalibration, load_calibration, save_calibration
from segue.robots.feetech import ServoBus
from segue.robots.serialport import SerialPort
from segue.testing.servo_arm import default_calibration

IDS = [1, 2, 3, 4, 5, 6]
Emulator = subprocess.Popen[str]


@contextmanager
def emulator(*flags: str) -> Iterator[tuple[Emulator, str]]:
    """Yields a running emulator and its port."""
    words = [sys.executable, "-m", "segue.cli.main", "emulate", "so101", *flags]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(10)


def tell(process: Emulator, line: str) -> str:
    """Gives a command and returns the answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def refused(*words: str) -> tuple[int, str]:
    """Returns the exit code and the message of a command that is refused."""
    done = subprocess.run(
        [sys.executable, "-m", "segue.cli.main", "emulate", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    return done.returncode, done.stderr


def test_a_driver_in_another_process_talks_to_it(tmp_path: Path) -> None:
    """The first line is the port, commands are answered, and the end of the input ends it without a trace."""
    link, log, file = tmp_path / "arm", tmp_path / "writes.csv", tmp_path / "arm.json"
    calibration = default_calibration() | {"shoulder_pan": MotorCalibration(1, 0, -5, 1000, 3000)}
    save_calibration(file, calibration)
    with emulator(f"--link={link}", f"--log={log}", f"--calibration={file}") as (process, port):
        assert port == str(link)
        driver = ServoBus(SerialPort(port, sts.BAUD), SystemClock())
        assert driver.read_all(IDS, sts.MODEL) == dict.fromkeys(IDS, 777)
        assert driver.read(1, sts.MIN_POSITION).value == 1000
        present = driver.read_all(IDS, sts.PRESENT_POSITION)
        driver.sync_write(sts.GOAL_POSITION, present)
        assert tell(process, "mute elbow_flex") == "ok"
        assert driver.ping(3) is None
        state = json.loads(tell(process, "state"))
        assert [row["torque"] for row in state.values()] == [1] * 6
        assert tell(process, "nonsense").startswith("error: ")
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0
    assert not os.path.lexists(link)
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert {int(row["servo"]): int(row["value"]) for row in rows} == present
    assert {row["register"] for row in rows} == {"Goal_Position"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """It leaves with 128 and the signal's number, and its link is gone."""
    link = tmp_path / "arm"
    with emulator(f"--link={link}") as (process, port):
        assert os.path.exists(port)
        process.send_signal(number)
        assert process.wait(10) == 128 + number
    assert not os.path.lexists(link)


def test_its_servos_may_move_a_simulated_arm() -> None:
    """With a belt the arm holds itself by torque, and sinks when torque is taken away."""
    with emulator("--belt=true") as (process, port):
        driver = ServoBus(SerialPort(port, sts.BAUD), SystemClock())
        driver.sync_write(sts.GOAL_POSITION, driver.read_all(IDS, sts.PRESENT_POSITION))
        time.sleep(0.5)
        held = driver.read_all(IDS, sts.PRESENT_POSITION)
        driver.sync_write(sts.TORQUE_ENABLE, dict.fromkeys(IDS, 0))
        until = time.monotonic() + 10.0
        while abs(driver.read(3, sts.PRESENT_POSITION).value - held[3]) < 50:
            assert time.monotonic() < until, json.loads(tell(process, "state"))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 64, "expected the name of an arm first: so101"),
        (("so102",), 64, "expected the name of an arm first: so101"),
        (("so101", "--rolle=leader"), 64, "did you mean --role?"),
        (("so101", "--role=boss"), 64, "--role=boss: expected one of follower, leader"),
        (("so101", "--role=leader", "--belt=true"), 64, "--role=leader: a leader is moved by hand"),
        (("so101", "--log=/no/such/folder/x.csv"), 64, "--log: /no/such/folder/x.csv: cannot be written"),
        (("so101", "--link=/no/such/folder/x"), 64, "--link: /no/such/folder/x: no link can be made there"),
        (("so101", "--calibration=/no/such.json"), 78, "/no/such.json: there is no such calibration file"),
    ],
)
def test_a_wrong_word_is_refused_in_one_sentence(words: tuple[str, ...], code: int, says: str) -> None:
    """The key, the value and what is allowed are named, and no port is made."""
    got, message = refused(*words)
    assert says in message
    assert got == code


def test_it_hands_out_the_calibration_of_its_arm(tmp_path: Path) -> None:
    """Whoever drives the emulated arm gets the file that fits it, as LeRobot writes it."""
    file = tmp_path / "rehearsal.json"
    with emulator(f"--save_calibration={file}"):
        assert load_calibration(file) == default_calibration()
