"""A robot as real processes (link and control) against a real server: run, stopped, bereft of either."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.robots import so101_model

pytestmark = pytest.mark.e2e

WAIT_S = 40.0
SERVE = """
import sys
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy
from segue.server.lifecycle import PolicyServer, run_until_signalled
from segue.server.settings import ServerConfig
config = ServerConfig(port=int(sys.argv[1]), inference_latency_s=0.05)
server = PolicyServer(config, ScriptedPolicy(ScriptedConfig(action_hz=30.0)))
sys.exit(run_until_signalled(server, lambda address: print(address, flush=True)))
"""
CLIENT = """
import json, sys
from pathlib import Path
from segue.client import launch
from segue.client.plan import ExecutionPlan, LinkPlan, OutputPlan, RobotPart, RunPlan
from segue.core.specs import CameraSpec
from segue.core.types import Guidance
from segue.core.watchdog import SafetyConfig
from segue.errors import SegueError
from segue.testing.cameras import FakeCamera
from segue.wire.records import RequestContext

class Terminal:
    def say(self, text):
        print(text, flush=True)
    def status(self, status):
        pass

wish = json.loads(sys.argv[1])
folder = Path(wish["folder"])
safety = SafetyConfig(**wish["safety"])
plan = RunPlan(
    RequestContext("arm", "", "", "wave", Guidance(), 50, 0),
    LinkPlan(wish["address"]),
    ExecutionPlan(safety=safety, duration_ns=wish["duration_ns"]),
    OutputPlan(folder / "run", "front"),
)
cameras = [FakeCamera(CameraSpec(name, 480, 640)) for name in ("front", "wrist")]
robot = RobotPart(wish["factory"], {"log": str(folder / "commands")})
try:
    outcome = launch.run(plan, robot, cameras, Terminal())
    print(outcome.detail)
    sys.exit(outcome.exit_code)
except SegueError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def start_server(port: int = 0) -> tuple[subprocess.Popen[str], str]:
    server = subprocess.Popen([sys.executable, "-c", SERVE, str(port)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, server.stdout.readline().strip()


class Client:
    """A client's processes and the files that they leave."""

    def __init__(self, folder: Path, address: str, **wish: Any) -> None:
        self.folder = folder
        self.output = (folder / "output").open("w+")
        wish = {
            "folder": str(folder),
            "address": address,
            "safety": {},
            "duration_ns": None,
            "factory": "segue.testing.robots:make_fake_robot",
        } | wish
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, json.dumps(wish)], stdout=self.output, stderr=subprocess.STDOUT
        )

    def events(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / "run" / "run.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        records = [json.loads(line) for line in lines if line.endswith("\n")]
        return [record for record in records if record["event"] == name]

    def chunks(self) -> int:
        return len(self.events("chunk"))

    def levels(self) -> list[str]:
        return [record["state_to"] for record in self.events("level")]

    def commands(self) -> np.ndarray:
        return np.loadtxt((self.folder / "commands").read_text().splitlines(keepends=True)[:-1])

    def control_pid(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (pid,) = (int(each) for each in children if b"segue.client.control" in command_line(int(each)))
        return pid

    def words(self) -> str:
        return (self.folder / "output").read_text()

    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "run" / "summary.json").read_text()))


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


@pytest.fixture
def server() -> Iterator[str]:
    """Runs a server of 30 Hz sine waves; the value is its address."""
    process, address = start_server()
    yield address
    end(process)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Starts clients and ends them all."""
    started: list[Client] = []

    def start(address: str, **wish: Any) -> Client:
        started.append(Client(tmp_path, address, **wish))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait(WAIT_S)
        each.output.close()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(WAIT_S)
    assert process.stdout is not None
    process.stdout.close()


def at_rest(commands: np.ndarray) -> bool:
    return bool(np.allclose(commands[-1, 1:], so101_model.REST_POSE, atol=0.01))


def test_a_run_of_five_seconds_moves_the_arm_and_never_starves(
    server: str, client: Callable[..., Client]
) -> None:
    """Five seconds at 30 on 100 Hz execute chunk after chunk, starve never, and end parked with 0."""
    arm = client(server, duration_ns=5_000_000_000)
    assert arm.process.wait(WAIT_S) == 0, arm.words()
    summary = arm.summary()
    assert summary["exit_reason"] == "done"
    assert summary["chunks"] >= 5
    assert summary["starved_ticks"] == 0
    assert summary["records_dropped"] == 0
    assert summary["ticks"] + summary["dropped_ticks"] >= 500
    assert summary["round_trip_ms"]["p50"] >= 50
    assert arm.chunks() == summary["chunks"]
    moved = arm.commands()
    assert np.ptp(moved[:, 1]) > 10  # degrees of the shoulder
    assert at_rest(moved)
    assert (arm.folder / "run" / "front.mjpeg").read_bytes()[:2] == b"\xff\xd8"
    header, *rows = (arm.folder / "run" / "queue.csv").read_text().splitlines()
    assert header == "t_s,queue_steps,level,delay_steps"
    assert len(rows) >= 100


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_parks_the_arm(server: str, client: Callable[..., Client], number: signal.Signals) -> None:
    """One signal lets the arm hold, park and end with 128 + its number."""
    arm = client(server)
    wait_until(lambda: arm.chunks() >= 2, "chunks come")
    arm.process.send_signal(number)
    assert arm.process.wait(WAIT_S) == 128 + number, arm.words()
    assert arm.levels()[-2:] == ["HOLD", "PARK"]
    assert at_rest(arm.commands())


def test_a_second_signal_ends_at_once(server: str, client: Callable[..., Client]) -> None:
    """A second signal while the arm is being parked ends the run where the arm is."""
    arm = client(server, safety={"park_ns": 60_000_000_000})
    wait_until(lambda: arm.chunks() >= 2, "chunks come")
    arm.process.send_signal(signal.SIGINT)
    wait_until(lambda: "HOLD" in arm.levels(), "the arm holds")
    arm.process.send_signal(signal.SIGINT)
    assert arm.process.wait(WAIT_S) == 128 + signal.SIGINT, arm.words()
    assert arm.summary()["exit_reason"] == "signalled"


def test_a_stuck_control_process_is_killed_after_the_second_signal(
    server: str, client: Callable[..., Client]
) -> None:
    """A control process that obeys no signal is killed, and the run ends with 70 and says so."""
    arm = client(server)
    wait_until(lambda: arm.chunks() >= 2, "chunks come")
    os.kill(arm.control_pid(), signal.SIGSTOP)
    arm.process.send_signal(signal.SIGINT)
    arm.process.send_signal(signal.SIGTERM)  # two of a kind could melt into one
    assert arm.process.wait(WAIT_S) == 70, arm.words()
    assert "did not end and was killed" in arm.words()
    assert arm.summary()["exit_reason"] == "stuck"


def test_a_server_that_dies_and_comes_back_is_used_again(client: Callable[..., Client]) -> None:
    """When the server is killed the arm holds; when it is back the client opens again and goes on."""
    first, address = start_server()
    arm = client(address)
    try:
        wait_until(lambda: arm.chunks() >= 2, "chunks come")
    finally:
        end(first)
    wait_until(lambda: "HOLD" in arm.levels(), "the arm holds")
    before = arm.chunks()
    second, _ = start_server(port=int(address.rpartition(":")[2]))
    try:
        wait_until(lambda: arm.chunks() >= before + 3, "chunks come again")
        arm.process.send_signal(signal.SIGTERM)
        assert arm.process.wait(WAIT_S) == 128 + signal.SIGTERM, arm.words()
    finally:
        end(second)
    assert "RUN" in arm.levels()[arm.levels().index("HOLD") :]
    assert arm.summary()["exit_reason"] == "signalled"


def test_the_control_process_survives_the_link_process(server: str, client: Callable[..., Client]) -> None:
    """After kill -9 of the link process the arm plays out, holds, parks, and the control process ends."""
    arm = client(server, safety={"hold_grace_ns": 500_000_000})
    wait_until(lambda: arm.chunks() >= 2, "chunks come")
    control = arm.control_pid()
    os.kill(arm.process.pid, signal.SIGKILL)
    arm.process.wait(WAIT_S)
    at_death = len(arm.commands())
    wait_until(lambda: b"segue.client.control" not in command_line(control), "the control process ends")
    commands = arm.commands()
    assert len(commands) > at_death + 100  # hold, grace and parking, at 100 Hz
    assert at_rest(commands)


def test_the_link_process_says_when_the_control_process_died(
    server: str, client: Callable[..., Client]
) -> None:
    """After kill -9 of the control process the run ends with 70 and still writes a summary."""
    arm = client(server)
    wait_until(lambda: arm.chunks() >= 2, "chunks come")
    os.kill(arm.control_pid(), signal.SIGKILL)
    assert arm.process.wait(WAIT_S) == 70, arm.words()
    assert arm.summary()["exit_reason"] == "crashed"


def test_without_a_server_the_run_ends_with_69(client: Callable[..., Client]) -> None:
    """A server that nobody started is waited for, said once, and given up after the offline limit with 69."""
    arm = client("127.0.0.1:1", safety={"offline_limit_ns": 1_000_000_000})
    assert arm.process.wait(WAIT_S) == 69, arm.words()
    assert arm.words().count("waiting for a server") == 1
    assert not (arm.folder / "commands").exists()


def test_a_robot_that_does_not_fit_is_refused_with_both_sides(
    server: str, client: Callable[..., Client]
) -> None:
    """A robot with other joints ends with 76 before it moves, and the message names both sides' joints."""
    arm = client(server, factory="segue.testing.robots:make_other_robot")
    assert arm.process.wait(WAIT_S) == 76, arm.words()
    assert "left_wheel" in arm.words()
    assert "shoulder_pan" in arm.words()
    assert not (arm.folder / "commands").exists()


def test_a_robot_that_does_not_answer_ends_with_74(server: str, client: Callable[..., Client]) -> None:
    """A robot whose bus is dead ends the run with 74 and its own words."""
    arm = client(server, factory="segue.testing.robots:make_broken_robot")
    assert arm.process.wait(WAIT_S) == 74, arm.words()
    assert "no answer from the bus" in arm.words()
