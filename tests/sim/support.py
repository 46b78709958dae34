"""What the simulated runs share: a robot, a rule, a set-up."""

from __future__ import annotations

from collections.abc import Callable

from segue.core.facts import ExecutorConfig
from segue.core.schedule import RequestRule
from segue.core.specs import PolicySpec
from segue.core.types import Guidance, Strategy
from segue.core.watchdog import SafetyConfig
from segue.robots.base import Robot
from segue.testing.simulation import SimClient, SimSetup

CONTROL_HZ = 100.0


def configure(
    robot: Robot, rule: RequestRule, aggregate: str = "latest_only"
) -> Callable[[PolicySpec], ExecutorConfig]:
    """Returns what makes the executor's configuration from the policy's spec."""

    def make(policy: PolicySpec) -> ExecutorConfig:
        return ExecutorConfig(
            action=robot.spec.action,
            action_hz=policy.action_hz,
            control_hz=CONTROL_HZ,
            policy_horizon=policy.horizon,
            rule=rule,
            aggregate=aggregate,
            safety=SafetyConfig(),
            rest_pose=robot.rest_pose,
        )

    return make


def client(robot: Robot, strategy: Strategy, aggregate: str = "latest_only", **setup: object) -> SimClient:
    """Returns a client that asks ten steps after its last question; `sync` when a whole chunk is played."""
    rule = RequestRule(strategy=strategy, horizon=50, threshold=1.0, min_execution_steps=10)
    guidance = Guidance(strategy=strategy)
    made = SimSetup(configure(robot, rule, aggregate), guidance=guidance, **setup)  # type: ignore[arg-type]
    return SimClient(robot, made)
