"""Tries a policy on the simulated belt, under a virtual clock, with every strategy.

    python training/evaluate.py --weights src/segue/policies/weights/belt.safetensors --cubes 60

The executor, the belt and the policy are the real ones; only the way to the server is a
plain delay. Every strategy asks ten steps after a merge and meets the same cubes. The
teacher, which decides anew at every step and without delay, is the yardstick. Printed are
cubes lifted and offered and the seam jerk, counted as in the summary of any run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from segue.client.stats import RunStats
from segue.core.executor import ChunkExecutor
from segue.core.facts import ExecutorConfig, SessionOpened
from segue.core.schedule import RequestRule
from segue.core.types import ActionChunk, ChunkRequest, Guidance, Jacobian, Observation, Strategy
from segue.policies.base import PolicyInput
from segue.policies.flow import FlowPolicy, load_flow_policy
from segue.robots.belt_cubes import BeltConfig
from segue.robots.belt_rollout import run_expert
from segue.robots.mujoco import SimSO101, SimSO101Config

CONTROL_HZ = 100.0
PERIOD_NS = 10_000_000
MIN_EXECUTION_STEPS = 10
TIME_LIMIT_S = 3600


@dataclass(frozen=True)
class Case:
    """One way to run the policy."""

    label: str
    strategy: Strategy
    delayed: bool = True
    aggregate: str = "latest_only"
    jacobian: Jacobian = Jacobian.EXACT


CASES = (
    Case("no delay", Strategy.ASYNC, delayed=False),
    Case("sync", Strategy.SYNC),
    Case("async latest_only", Strategy.ASYNC),
    Case("async weighted_average", Strategy.ASYNC, aggregate="weighted_average"),
    Case("rtc", Strategy.RTC),
    Case("rtc identity", Strategy.RTC, jacobian=Jacobian.IDENTITY),
)


@dataclass(frozen=True)
class Trial:
    """What all cases have in common: the belt's seed and number of cubes, and the delay."""

    seed: int
    cubes: int
    delay_ms: int


class Server:
    """The policy at the far end of a plain delay."""

    def __init__(self, policy: FlowPolicy, case: Case, trial: Trial) -> None:
        self.policy, self.seed = policy, trial.seed
        self.delay_ns = trial.delay_ms * 1_000_000 * case.delayed
        self.guidance = Guidance(case.strategy, jacobian=case.jacobian)
        self._due_ns, self._answer = 0, None

    def ask(self, request: ChunkRequest) -> None:
        """Answers now, delivers later."""
        item = PolicyInput(
            observation=request.observation,
            history=(),
            task="",
            leftover=request.leftover,
            delay_steps=request.delay_steps,
            chunk_length=self.policy.spec.horizon,
            guidance=self.guidance,
            seed=self.seed * 100_000 + request.number,
        )
        (output,) = self.policy.infer([item])
        self._due_ns = request.requested_ns + self.delay_ns
        self._answer = ActionChunk(
            request_number=request.number,
            epoch=request.epoch,
            start_step=request.start_step,
            captured_ns=request.observation.captured_ns,
            robot_actions=output.robot_actions,
            model_actions=output.model_actions,
            conditioned_delay=output.conditioned_delay,
            policy_hash=self.policy.spec.policy_hash,
        )

    def due(self, now_ns: int) -> Iterator[ActionChunk]:
        """Yields the answer once its time has come."""
        if self._answer is not None and now_ns >= self._due_ns:
            answer, self._answer = self._answer, None
            yield answer


def belt_config(trial: Trial) -> SimSO101Config:
    """Returns the default belt with the trial's cubes."""
    return SimSO101Config(seed=trial.seed, belt=BeltConfig(max_cubes=trial.cubes), cameras=())


def belt(trial: Trial) -> SimSO101:
    """Returns a connected arm beside the trial's belt."""
    robot = SimSO101(belt_config(trial))
    robot.connect()
    return robot


def run_policy(policy: FlowPolicy, case: Case, trial: Trial) -> tuple[SimSO101, RunStats]:
    """Runs one case until the last cube has come and gone."""
    robot, server = belt(trial), Server(policy, case, trial)
    stats = RunStats(robot.spec.action.names, CONTROL_HZ)
    rule = RequestRule(case.strategy, policy.spec.horizon, 1.0, MIN_EXECUTION_STEPS)
    config = ExecutorConfig(
        robot.spec.action, policy.spec.action_hz, CONTROL_HZ, policy.spec.horizon, rule, case.aggregate
    )
    executor = ChunkExecutor(config, robot.rest_pose)
    executor.link_opened(SessionOpened(server.delay_ns, 0, policy.spec.policy_hash))
    for now_ns in range(0, TIME_LIMIT_S * 10**9, PERIOD_NS):
        for chunk in server.due(now_ns):
            executor.receive(chunk)
        state = robot.read(now_ns)
        tick = executor.tick(now_ns, Observation(0, now_ns, state.state, state.environment))
        if tick.request is not None:
            server.ask(tick.request)
        executor.applied(robot.write(tick.action, now_ns))
        stats.add(tick, now_ns)
        if robot.exhausted:
            break
    return robot, stats


def main() -> None:
    """Reads the flags, runs every case, prints a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cubes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1000, help="of the belt; training used others")
    parser.add_argument("--sampler-steps", type=int, default=None, help="Euler steps, default the file's")
    parser.add_argument("--delay-ms", type=int, default=300, help="from request to chunk")
    parser.add_argument("--case", action="append", choices=[c.label for c in CASES], help="default: all")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    policy = load_flow_policy(flags.weights, "cpu", flags.sampler_steps)
    trial = Trial(flags.seed, flags.cubes, flags.delay_ms)
    score = run_expert(belt_config(trial), time_limit_s=TIME_LIMIT_S).summary
    print(f"{'teacher, no delay':24} {score['successes']:4d} of {score['cubes_offered']}", flush=True)
    for case in CASES:
        if flags.case and case.label not in flags.case:
            continue
        started = time.monotonic()
        robot, stats = run_policy(policy, case, trial)
        score, summary = robot.summary(), stats.summary("done")
        print(
            f"{case.label:24} {score['successes']:4d} of {score['cubes_offered']}  "
            f"seam jerk {summary['seam_jerk']:6.2f}  starved ticks {summary['starved_ticks']:4d}  "
            f"({time.monotonic() - started:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
