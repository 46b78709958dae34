"""The only place that wires real parts together: a policy into a server, a robot and cameras into a run.

Everything here takes a checked configuration and runs until the end. Rooms are
imported by the function that needs them, so that a robot's host needs no
torch and a server's host no MuJoCo.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segue.cli.parts import Parts
from segue.cli.serve import Ready
from segue.config.run import RunConfig
from segue.config.serve import ServeConfig
from segue.signals import SIGNALLED

if TYPE_CHECKING:
    from segue.client.ending import StopSwitch
    from segue.client.launch import Outcome
    from segue.client.operator import Operator
    from segue.client.plan import RobotPart
    from segue.client.recorder import Reporter


def serve(config: ServeConfig, on_ready: Callable[[Ready], None]) -> int:
    """Serves until a signal comes, and returns the exit code.

    Args:
        config: of the server.
        on_ready: called once, when the policy is loaded and warm.

    Raises:
        ConfigError: the policy, the device or the address is wrong.
    """
    from segue.cli.plans import server_config
    from segue.policies.registry import load_policy
    from segue.server.lifecycle import PolicyServer, run_until_signalled
    from segue.server.store import PolicyStore

    roots = [Path(root.strip()) for root in config.policy.roots.split(",") if root.strip()]
    store = PolicyStore(load_policy, [config.policy.path], config.policy.device, roots)

    def ready(address: str) -> None:
        spec = store.specs()[0]
        latency_ms = 1000 * config.serving.inference_latency
        on_ready(Ready(address, spec.name, _device(config), spec.warm_inference_ns / 1e6, latency_ms))

    number = run_until_signalled(PolicyServer(server_config(config), store), ready)
    return SIGNALLED + number if number else 0


def run(
    config: RunConfig,
    parts: Parts,
    directory: Path,
    reporter: Reporter,
    operator: Operator | None = None,
    *,
    stop: StopSwitch | None = None,
) -> Outcome:
    """Runs a robot until its end and returns how it ended.

    Args:
        config: of the run.
        parts: its robot and cameras, by `parts.robot_and_cameras`.
        directory: where the records go; it exists.
        reporter: is told what a person should know.
        operator: may say something to the run.
        stop: whatever was asked of it before counts, too.

    Raises:
        SegueError: whatever ends the run before it began.
    """
    from segue.cli.plans import run_plan
    from segue.client import launch

    robot, cameras = parts
    try:
        plan = run_plan(config, directory)
        for warning in plan.link.security.warnings:
            reporter.say(warning)
        made = _dry(robot) if config.job.dry_run else robot
        return launch.run(plan, made, cameras, reporter, operator, stop=stop)
    finally:
        _tidy(robot)


def _dry(robot: RobotPart) -> RobotPart:
    """Returns the same robot, with commands kept away from it."""
    settings = {"factory": robot.factory, "settings": robot.settings}
    return replace(robot, factory="segue.cli.factories:make_dry", settings=settings)


def _tidy(robot: RobotPart) -> None:
    """Takes away a simulated robot's scene: its own process cannot, if it was killed."""
    scene = robot.settings.get("scene")
    if scene is not None:
        from segue.robots.scene import forget_scene

        forget_scene(scene)


def _device(config: ServeConfig) -> str:
    """Returns where the policy computes; one without torch computes on the CPU."""
    if "torch" not in sys.modules:
        return "cpu"
    from segue.policies.registry import resolve_device

    return resolve_device(config.policy.device)
