"""A minute of robot time per seed, with faults, judged from all sides; many seeds side by side.

    python -m segue.testing.seeds --seeds 500 --first 0 --jobs 2

runs the real executor, scheduler, codec, session table and batcher through the
plan of each seed (`faultplan`), and lets the checker judge the commands and the
oracle the reasons. It prints one line of totals, and for each seed that fails
what was wrong and how to see it again: a seed always gives the same run.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from segue.client.commands import CommandLogHeader
from segue.clock import NS_PER_MS, NS_PER_S
from segue.core.facts import ChunkTaken, ExecutorConfig, ExitReason, LevelChanged
from segue.core.specs import PolicySpec
from segue.core.types import Guidance
from segue.core.watchdog import Cause, SafetyLevel
from segue.policies.scripted import ScriptedConfig
from segue.testing.checker import check_commands
from segue.testing.faultplan import CONTROL_HZ, ENDINGS, MINUTE_S, FaultKind, FaultPlan, Service, draw
from segue.testing.faults import Healing, MoodyPolicy, WeakRobot, World, strike
from segue.testing.goal_checker import check_applied, check_goals
from segue.testing.linkjudge import LinkJudge
from segue.testing.oracle import Oracle
from segue.testing.simserver import ServiceTime, SimServer
from segue.testing.simulation import KeptTick, SimClient, SimSetup, Simulation

# How each fault that ends a run is to end it, and whether a limit has to pass before.
_ENDS_AS = {
    FaultKind.OTHER_POLICY: (ExitReason.OTHER_POLICY, False),
    FaultKind.SIGNAL: (ExitReason.SIGNALLED, False),
    FaultKind.ROBOT: (ExitReason.ROBOT, False),
    FaultKind.THREE_BAD: (ExitReason.BAD_CHUNKS, False),
    FaultKind.CAMERA_GONE: (ExitReason.CAMERA, True),
    FaultKind.GONE: (ExitReason.LINK_LOST, True),
    FaultKind.NO_ROOM: (ExitReason.OVERLOADED, True),
    FaultKind.OTHER_SPEC: (ExitReason.REFUSED, False),
    FaultKind.MISFIT: (ExitReason.REFUSED, False),
}
# Beyond the minute, for a run that is to end.
_TO_END_S = 30.0
_TO_REST_NS = 10 * NS_PER_S
RECOVERY_NS = 1 * NS_PER_S  # and one inference: FAULTS, rows 1 and 5
SHOWN = 8
ROUNDING = 1e-5  # of goals that are no counts, robot units


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What came of one seed.

    Attributes:
        violations: one sentence each; empty when all was well.
        digest: of every tick's time, level, epoch, step and command; equal digests mean equal runs.
        recoveries_ms: healing to first good chunk, where the promise applies.
    """

    seed: int
    plan: str
    rows: int
    violations: tuple[str, ...]
    digest: str
    ending: str
    counts: Counter[str] = field(default_factory=Counter)
    recoveries_ms: tuple[float, ...] = ()


def run_seed(seed: int) -> SeedResult:
    """Runs and judges a seed."""
    plan = draw(seed)
    world = _world(plan)
    for fault in plan.faults:
        strike(world, fault)
    logger = logging.getLogger("segue.server")
    before, logger.disabled = logger.disabled, True  # what the policy is told to do wrong is no news
    try:
        world.simulation.run(MINUTE_S + (_TO_END_S if plan.ends else 0.0))
    finally:
        logger.disabled = before
    return _judged(plan, world)


def _world(plan: FaultPlan) -> World:
    setting = plan.setting
    policy = MoodyPolicy(ScriptedConfig(action_hz=setting.action_hz))
    robot = WeakRobot()
    guidance = Guidance(strategy=setting.rule.strategy)
    setup = SimSetup(
        _configure(plan, robot), guidance, link=setting.service.link, seed=plan.seed, keep_commands=True
    )
    client = SimClient(robot, setup)
    server = SimServer(policy, _service_time(setting.service))
    return World(Simulation(server, [client], CONTROL_HZ), client, robot, policy, [])


def _service_time(service: Service) -> ServiceTime:
    return ServiceTime(service.inference_ms, service.latency_ms, declares=not service.slow)


def _configure(plan: FaultPlan, robot: WeakRobot) -> Callable[[PolicySpec], ExecutorConfig]:
    def make(policy: PolicySpec) -> ExecutorConfig:
        return ExecutorConfig(
            action=robot.spec.action,
            action_hz=policy.action_hz,
            control_hz=CONTROL_HZ,
            policy_horizon=policy.horizon,
            rule=plan.setting.rule,
            aggregate=plan.setting.aggregate,
            safety=plan.setting.safety,
            rest_pose=robot.rest_pose,
        )

    return make


def _judged(plan: FaultPlan, world: World) -> SeedResult:
    client, ticks = world.client, world.client.ticks
    if client.executor is None:
        return SeedResult(plan.seed, str(plan), 0, ("never started",), "", "never started")
    config = client.executor.config
    header = CommandLogHeader.of(config.control_hz, config.action_hz, config.safety, config.action.dimensions)
    if header.age_ceiling_ns is None:
        declared = world.simulation.server.declared
        header = replace(header, age_ceiling_ns=_ceiling_ns(config, declared.warm_inference_ns))
    rows, goals = [kept.row for kept in ticks], world.robot.goals
    judged_motion = check_commands(rows, header) + check_applied(rows, header, goals)
    max_speed = {each.name: each.max_speed for each in config.action.dimensions}
    judged_motion += check_goals(goals, max_speed, config.control_hz, ROUNDING)
    found = [str(v) for v in judged_motion]
    oracle = Oracle(config)
    found += [str(finding) for finding in oracle.judge(ticks)]
    found += LinkJudge().judge(client.end.notes)
    judged = _judged_healings(plan, world)
    recoveries = [_recovery(healing, ticks, _inference_ns(plan)) for healing in judged]
    found += [text for _, text in recoveries if text]
    found += _end_of(plan, ticks)
    ending = ticks[-1].tick.exit
    return SeedResult(
        seed=plan.seed,
        plan=str(plan),
        rows=len(ticks),
        violations=tuple(found),
        digest=digest_of(ticks),
        ending=ending.value if ending else "",
        counts=_counts(plan, ticks) + _returns(judged),
        recoveries_ms=tuple(ms for ms, _ in recoveries),
    )


def _ceiling_ns(config: ExecutorConfig, warm_inference_ns: int) -> int:
    """Returns the oldest that an action may be where nobody set a limit, from the text of FAULTS."""
    patience_ns = min(max(3 * NS_PER_S, 3 * warm_inference_ns), 10 * NS_PER_S)
    return int(config.rule.horizon * NS_PER_S / config.action_hz) + patience_ns


def digest_of(ticks: Sequence[KeptTick]) -> str:
    """Returns a digest of everything that was commanded, and when, at which level and epoch."""
    digest = hashlib.sha256()
    for kept in ticks:
        row = kept.row
        digest.update(f"{row.t_ns} {row.level.name} {row.epoch} {row.step} {row.captured_ns} ".encode())
        digest.update(row.command.tobytes())
    return digest.hexdigest()


def _judged_healings(plan: FaultPlan, world: World) -> list[Healing]:
    """Returns the healings after which a chunk is promised in time: the arm waited, nothing else struck.

    A policy far slower than it says has to teach that first, and is promised nothing.
    """
    if plan.setting.service.slow:
        return []
    return [healing for healing in world.healings if healing.waits and plan.apart and not plan.ends]


def _returns(judged: Sequence[Healing]) -> Counter[str]:
    """Counts, by the kind of fault, from how many holds the arm had to come back in time."""
    held = (healing for healing in judged if healing.level >= SafetyLevel.HOLD)
    return Counter(f"back after {healing.fault.kind.value}" for healing in held)


def _inference_ns(plan: FaultPlan) -> int:
    """Returns how long a good chunk takes."""
    service = plan.setting.service
    return int(max(service.inference_ms, service.latency_ms) * NS_PER_MS)


def _recovery(healing: Healing, ticks: Sequence[KeptTick], inference_ns: int) -> tuple[float, str]:
    """Returns how long the arm waited for a good chunk after a fault of the link, and what was wrong."""
    taken = (k.row.t_ns for k in ticks if k.row.t_ns >= healing.at_ns and _takes(k))
    took_ns = next(taken, 10**15) - healing.at_ns
    # A request that was swallowed unnoticed is awaited until its deadline; that is when the fault shows.
    allowed_ns = max(0, healing.deadline_ns - healing.at_ns) + RECOVERY_NS + inference_ns
    took_ms, allowed_ms = took_ns / NS_PER_MS, allowed_ns / NS_PER_MS
    text = f"recovery: {took_ms:.0f} ms after [{healing.fault}] was over, allowed {allowed_ms:.0f}"
    return took_ms, text if took_ns > allowed_ns else ""


def _takes(kept: KeptTick) -> bool:
    return any(isinstance(event, ChunkTaken) for event in kept.tick.events)


def _end_of(plan: FaultPlan, ticks: Sequence[KeptTick]) -> list[str]:
    """Checks that a run of passing faults that lie apart goes through its minute and runs in the end."""
    last = ticks[-1].tick
    if plan.apart and plan.ends:
        return _right_end(plan, ticks)
    if not plan.apart or plan.setting.service.slow:
        return []
    if last.exit is not None:
        return [
            f"liveness: {last.exit.value} at {ticks[-1].row.t_ns / NS_PER_S:.2f} s, and nothing was to end it"
        ]
    if last.level >= SafetyLevel.HOLD:
        return [f"liveness: in {last.level.name} at the end although every fault is over"]
    return []


def _right_end(plan: FaultPlan, ticks: Sequence[KeptTick]) -> list[str]:
    """Checks that a run ends for the reason of the fault that ends it, if it had the time."""
    fault = next(fault for fault in plan.faults if fault.kind in ENDINGS)
    reason, waits = _ENDS_AS[fault.kind]
    ended, safety = ticks[-1].tick.exit, plan.setting.safety
    needs_ns = max(safety.offline_limit_ns, safety.camera_limit_ns) if waits else 0
    in_time = fault.at_ns + needs_ns + _TO_REST_NS < int((MINUTE_S + _TO_END_S) * NS_PER_S)
    if ended is reason or (ended is None and not in_time):
        return []
    said = "did not end" if ended is None else f"ended as {ended.value}"
    return [f"ending: {fault.kind.value} is to end as {reason.value}, and the run {said}"]


def _counts(plan: FaultPlan, ticks: Sequence[KeptTick]) -> Counter[str]:
    counts: Counter[str] = Counter(faults=len(plan.faults), ticks=len(ticks))
    counts["struck"] = sum(fault.at_ns <= ticks[-1].row.t_ns for fault in plan.faults)
    counts["held_ticks"] = sum(kept.tick.level >= SafetyLevel.HOLD for kept in ticks)
    for event in (event for kept in ticks for event in kept.tick.events):
        match event:
            case ChunkTaken():
                counts["chunks"] += 1
            case LevelChanged():
                counts["holds"] += event.change.after is SafetyLevel.HOLD
                counts["parks"] += event.change.after is SafetyLevel.PARK
                counts["resumes"] += event.change.cause is Cause.RESUMED
    return counts


def run_seeds(seeds: Iterable[int], jobs: int = 1) -> Iterable[SeedResult]:
    """Yields the result of each seed, in order, from `jobs` processes."""
    if jobs <= 1:
        yield from map(run_seed, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(run_seed, seeds, chunksize=4)


def summary(results: Sequence[SeedResult], took_s: float) -> str:
    """Returns the totals as one line."""
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result.counts)
    endings = Counter(result.ending for result in results if result.ending)
    recoveries = [ms for result in results for ms in result.recoveries_ms]
    failed = sum(bool(result.violations) for result in results)
    return (
        f"{len(results)} seeds, {failed} failed: {counts['ticks'] / CONTROL_HZ:.0f} s of robot time "
        f"in {took_s:.0f} s; {counts['struck']} faults struck of {counts['faults']}, "
        f"{counts['chunks']} chunks, {counts['holds']} holds, {counts['parks']} parks, "
        f"{counts['resumes']} resumes; "
        f"{len(recoveries)} recoveries, longest {max(recoveries, default=0):.0f} ms; endings {dict(endings)}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m segue.testing.seeds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    wanted = parser.parse_args(arguments)
    began = time.monotonic()
    results = []
    for result in run_seeds(range(wanted.first, wanted.first + wanted.seeds), wanted.jobs):
        results.append(result)
        if result.violations:
            sys.stdout.write(_complaint(result))
            sys.stdout.flush()
    sys.stdout.write(summary(results, time.monotonic() - began) + "\n")
    return int(any(result.violations for result in results))


def _complaint(result: SeedResult) -> str:
    said = "".join(f"    {text}\n" for text in result.violations[:SHOWN])
    more = len(result.violations) - SHOWN
    said += f"    and {more} more\n" if more > 0 else ""
    again = f"    again: python -m segue.testing.seeds --first {result.seed} --seeds 1 --jobs 1\n"
    return f"FAILED {result.plan}\n{said}{again}"


if __name__ == "__main__":
    sys.exit(main())
