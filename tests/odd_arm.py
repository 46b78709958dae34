"""An arm for tests: the real client, with parts that can be interfered with; `tests.processes.Arm` starts it.

Lines on standard input: ``camera NAME fail|block|freeze|heal``; ``write HEX`` puts bytes into the control
loop's mailbox as the link would, ``flood SECONDS`` messages without a pause. The robot is the fake one, the
simulated SO-101 or `MadRobot`, made in the real control process.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from segue.client import channel, launch
from segue.client.episodes import EpisodePlan
from segue.client.mailbox import Mailbox
from segue.client.messages import CameraWorks
from segue.client.plan import ExecutionPlan, LinkPlan, OutputPlan, RobotPart, RunPlan
from segue.client.process import ControlProcess
from segue.core.schedule import RequestRule
from segue.core.specs import CameraSpec
from segue.core.types import FloatArray, Guidance, Strategy
from segue.core.watchdog import OnLinkLoss, Resume, SafetyConfig
from segue.errors import SegueError
from segue.testing.cameras import FakeCamera
from segue.testing.robots import FakeRobot
from segue.wire.channel import Keepalive, client_options
from segue.wire.records import RequestContext

DEFAULTS: dict[str, Any] = {
    "robot_id": "arm",
    "safety": {},
    "seconds": None,
    "strategy": "rtc",
    "cameras": {"front": [48, 64]},
    "camera_fps": 30.0,
    "factory": "segue.testing.robots:make_fake_robot",
    "settings": {"log": "/dev/null"},
    "connect_timeout_ms": 400,
    "record_camera": None,
    "realtime": True,
    "episodes": None,
}


class Terminal:
    """Prints what a person would be told."""

    def say(self, text: str) -> None:
        print(text, flush=True)

    def status(self, status: object) -> None:
        pass


def listen(cameras: dict[str, FakeCamera]) -> None:
    """Obeys standard input until it ends."""
    for line in sys.stdin:
        verb, *rest = line.split()
        if verb == "write":
            STARTED[0].link._end.send(bytes.fromhex(rest[0]))
        elif verb == "flood":
            flood(STARTED[0].link, float(rest[0]))
        else:
            name, what = rest
            act = {"fail": "fail", "block": "block", "freeze": "freeze", "heal": "heal"}[what]
            getattr(cameras[name], act)()


STARTED: list[ControlProcess] = []


class Started(ControlProcess):
    """A control process into whose mailbox a test may write."""

    def __init__(self, robot: RobotPart) -> None:
        super().__init__(robot)
        STARTED.append(self)


def flood(mailbox: Mailbox, seconds: float) -> None:
    """Fills a mailbox with valid messages as fast as they are taken."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        if not mailbox.put(CameraWorks()):
            time.sleep(0.0005)


class MadRobot(FakeRobot):
    """A robot that writes nonsense into a mailbox of its control process, as damaged memory might."""

    def __init__(self, log: str, which: int, data: str, after: int) -> None:
        """Writes to the socket in argument `which` of the process, at command `after`, hex `data`."""
        super().__init__(log=Path(log))
        self._mad = (which, bytes.fromhex(data), after)
        self._told = 0

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Goes to `action`, shape (A,)."""
        which, data, after = self._mad
        self._told += 1
        if self._told == after:
            with socket.socket(fileno=os.dup(int(sys.argv[which]))) as mailbox:
                mailbox.setblocking(False)
                mailbox.send(data)
        return super().write(action, now_ns)


def run_plan(wish: dict[str, Any]) -> RunPlan:
    """Returns the plan that is wished for."""
    safety = wish["safety"] | {}
    if "on_link_loss" in safety:
        safety["on_link_loss"] = OnLinkLoss(safety["on_link_loss"])
    if "resume" in safety:
        safety["resume"] = Resume(safety["resume"])
    seconds, strategy = wish["seconds"], Strategy(wish["strategy"])
    execution = ExecutionPlan(
        rule=RequestRule(strategy=strategy, horizon=50, threshold=0.5, min_execution_steps=10),
        safety=SafetyConfig(**safety),
        duration_ns=None if seconds is None else int(seconds * 1e9),
        realtime=wish["realtime"],
        episodes=EpisodePlan(*wish["episodes"]) if wish["episodes"] else EpisodePlan(),
    )
    return RunPlan(
        RequestContext(wish["robot_id"], "", "", "wave", Guidance(strategy=strategy), 50, 0),
        LinkPlan(wish["address"], connect_timeout_ns=wish["connect_timeout_ms"] * 1_000_000),
        execution,
        OutputPlan(Path(wish["folder"]) / "run", wish["record_camera"]),
    )


def main() -> int:
    """Runs the arm that the only argument describes."""
    wish = DEFAULTS | json.loads(sys.argv[1])
    cameras = {
        name: FakeCamera(CameraSpec(name, height, width, wish["camera_fps"]), seed)
        for seed, (name, (height, width)) in enumerate(wish["cameras"].items())
    }
    launch.ControlProcess = Started  # type: ignore[misc]
    threading.Thread(target=listen, args=(cameras,), daemon=True).start()
    if "keepalive" in wish:
        channel.client_options = partial(client_options, Keepalive(*wish["keepalive"]))  # type: ignore[assignment]
    try:
        robot = RobotPart(wish["factory"], wish["settings"])
        outcome = launch.run(run_plan(wish), robot, list(cameras.values()), Terminal())
    except SegueError as error:
        print(error, flush=True)
        return error.exit_code
    print(f"ended: {outcome.reason} {outcome.detail}", flush=True)
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
