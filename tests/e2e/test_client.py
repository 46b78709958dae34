"""A robot as real processes (link and control) against a real server: run, stopped, bereft of either."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.robots import so101_model
from tests.processes import Arm, Server, command_line, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def commands(arm: Arm) -> np.ndarray:
    """Returns what the robot itself wrote down, whatever became of the link: time in ns and commands."""
    return np.loadtxt((arm.folder / "commands").read_text().splitlines(keepends=True)[:-1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Runs a server of 30 Hz sine waves; the value is its address."""
    process = Server(tmp_path, latency_s=0.05).ready()
    yield process.address
    process.end()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., Arm]]:
    """Starts arms with two cameras, whose robot writes down its commands, and ends them all."""
    started: list[Arm] = []

    def start(address: str, **wish: Any) -> Arm:
        both = {"cameras": {"front": [480, 640], "wrist": [480, 640]}, "record_camera": "front"}
        settings = {"settings": {"log": str(tmp_path / "arm" / "commands")}}
        started.append(Arm(tmp_path / "arm", address, **(both | settings | wish)))
        return started[-1]

    yield start
    for each in started:
        each.end()


def at_rest(told: np.ndarray) -> bool:
    return bool(np.allclose(told[-1, 1:], so101_model.REST_POSE, atol=0.01))


def test_a_run_of_five_seconds_moves_the_arm_and_never_starves(
    server: str, client: Callable[..., Arm]
) -> None:
    """Five seconds at 30 on 100 Hz execute chunk after chunk, starve never, and end parked with 0."""
    arm = client(server, seconds=5.0)
    assert arm.wait() == 0, arm.words()
    summary = arm.summary()
    assert summary["exit_reason"] == "done"
    assert summary["chunks"] >= 5
    assert summary["starved_ticks"] == 0
    assert summary["records_dropped"] == 0
    assert summary["ticks"] + summary["dropped_ticks"] >= 500
    assert summary["round_trip_ms"]["p50"] >= 50
    assert arm.chunks() == summary["chunks"]
    moved = commands(arm)
    logged = arm.commands()[1]
    # What is judged afterwards is what the robot really got, tick for tick.
    np.testing.assert_array_equal(moved[:, 0], [row.t_ns for row in logged][: len(moved)])
    np.testing.assert_allclose(
        moved[:, 1:], [row.command for row in logged][: len(moved)], rtol=1e-4, atol=1e-4
    )
    assert np.ptp(moved[:, 1]) > 10  # degrees of the shoulder
    assert at_rest(moved)
    assert (arm.folder / "run" / "front.mjpeg").read_bytes()[:2] == b"\xff\xd8"
    header, *rows = (arm.folder / "run" / "queue.csv").read_text().splitlines()
    assert header == "t_s,queue_steps,level,delay_steps"
    assert len(rows) >= 100


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_parks_the_arm(server: str, client: Callable[..., Arm], number: signal.Signals) -> None:
    """One signal lets the arm hold, park and end with 128 + its number."""
    arm = client(server)
    wait_until(lambda: arm.chunks() >= 2, "chunks come")
    arm.signal(number)
    assert arm.wait() == 128 + number, arm.words()
    assert arm.levels()[-2:] == ["HOLD", "PARK"]
    assert at_rest(commands(arm))


def test_a_second_signal_ends_at_once(server: str, client: Callable[..., Arm]) -> None:
    """A second signal while the arm is being parked ends the run where the arm is."""
    arm = client(server, safety={"park_ns": 60_000_000_000})
    wait_until(lambda: arm.chunks() >= 2, "chunks come")
    arm.signal(signal.SIGINT)
    wait_until(lambda: "PARK" in arm.levels(), "the arm is on its way to rest")
    arm.signal(signal.SIGINT)
    assert arm.wait() == 128 + signal.SIGINT, arm.words()
    assert arm.summary()["exit_reason"] == "signalled"
    assert arm.summary()["parked"] is False


def test_a_stuck_control_process_is_killed_after_the_second_signal(
    server: str, client: Callable[..., Arm]
) -> None:
    """A control process that obeys no signal is killed, and the run ends with 70 and says so."""
    arm = client(server)
    wait_until(lambda: arm.chunks() >= 2, "chunks come")
    os.kill(arm.control_pid(), signal.SIGSTOP)
    arm.signal(signal.SIGINT)
    time.sleep(0.3)  # what comes within 150 ms is one wish
    arm.signal(signal.SIGINT)
    assert arm.wait() == 70, arm.words()
    assert "did not end and was killed" in arm.words()
    assert arm.summary()["exit_reason"] == "stuck"


def test_a_server_that_dies_and_comes_back_is_used_again(client: Callable[..., Arm], tmp_path: Path) -> None:
    """When the server is killed the arm holds; when it is back the client opens again and goes on."""
    first = Server(tmp_path, latency_s=0.05).ready()
    arm = client(first.address)
    try:
        wait_until(lambda: arm.chunks() >= 2, "chunks come")
    finally:
        first.end()
    wait_until(lambda: "HOLD" in arm.levels(), "the arm holds")
    before = arm.chunks()
    second = first.again().ready()
    try:
        wait_until(lambda: arm.chunks() >= before + 3, "chunks come again")
        arm.signal(signal.SIGTERM)
        assert arm.wait() == 128 + signal.SIGTERM, arm.words()
    finally:
        second.end()
    assert "RUN" in arm.levels()[arm.levels().index("HOLD") :]
    assert arm.summary()["exit_reason"] == "signalled"


def test_the_control_process_survives_the_link_process(server: str, client: Callable[..., Arm]) -> None:
    """After kill -9 of the link process the arm plays out, holds, parks, and the control process ends."""
    arm = client(server, safety={"hold_grace_ns": 500_000_000})
    wait_until(lambda: arm.chunks() >= 2, "chunks come")
    control = arm.control_pid()
    os.kill(arm.pid, signal.SIGKILL)
    arm.wait()
    at_death = len(commands(arm))
    wait_until(lambda: b"segue.client.control" not in command_line(control), "the control process ends")
    told = commands(arm)
    assert len(told) > at_death + 100  # hold, grace and parking, at 100 Hz
    assert at_rest(told)


def test_the_link_process_says_when_the_control_process_died(server: str, client: Callable[..., Arm]) -> None:
    """After kill -9 of the control process the run ends with 70 and still writes a summary."""
    arm = client(server)
    wait_until(lambda: arm.chunks() >= 2, "chunks come")
    os.kill(arm.control_pid(), signal.SIGKILL)
    assert arm.wait() == 70, arm.words()
    assert arm.summary()["exit_reason"] == "crashed"


def test_without_a_server_the_run_ends_with_69(client: Callable[..., Arm]) -> None:
    """A server that nobody started is waited for, said once, and given up after the offline limit with 69."""
    arm = client("127.0.0.1:1", safety={"offline_limit_ns": 1_000_000_000})
    assert arm.wait() == 69, arm.words()
    assert arm.words().count("waiting for a server") == 1
    assert not (arm.folder / "commands").exists()


def test_a_robot_that_does_not_fit_is_refused_with_both_sides(
    server: str, client: Callable[..., Arm]
) -> None:
    """A robot with other joints ends with 76 before it moves, and the message names both sides' joints."""
    arm = client(server, factory="segue.testing.robots:make_other_robot")
    assert arm.wait() == 76, arm.words()
    assert "left_wheel" in arm.words()
    assert "shoulder_pan" in arm.words()
    assert not (arm.folder / "commands").exists()


def test_a_robot_that_does_not_answer_ends_with_74(server: str, client: Callable[..., Arm]) -> None:
    """A robot whose bus is dead ends the run with 74 and its own words."""
    arm = client(server, factory="segue.testing.robots:make_broken_robot")
    assert arm.wait() == 74, arm.words()
    assert "no answer from the bus" in arm.words()
