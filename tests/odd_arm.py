"""An arm for tests: the real client, with parts that can be interfered with; `tests.processes.Arm` starts it.

Lines on standard input: ``camera NAME fail|block|freeze|heal``. The robot is
the fake one or the simulated SO-101, made in the real control process.
"""

from __future__ import annotations

import json
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from segue.client import channel, launch
from segue.client.episodes import EpisodePlan
from segue.client.plan import ExecutionPlan, LinkPlan, OutputPlan, RobotPart, RunPlan
from segue.core.schedule import RequestRule
from segue.core.specs import CameraSpec
from segue.core.types import Guidance, Strategy
from segue.core.watchdog import OnLinkLoss, Resume, SafetyConfig
from segue.errors import SegueError
from segue.testing.cameras import FakeCamera
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
        _, name, what = line.split()
        act = {"fail": "fail", "block": "block", "freeze": "freeze", "heal": "heal"}[what]
        getattr(cameras[name], act)()


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
