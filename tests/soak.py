"""Eight simulated robots, half an hour, a fault every few seconds: nothing grows or moves wrongly.

    python -m tests.soak --minutes 30 --arms 8 --folder outputs/soak

Every arm reaches the one server through a proxy of its own, which delays, cuts,
resets and throttles by a seeded schedule; the server is stopped and continued,
slowed down and made to fail; cameras fall out; the robots' computer sleeps. Memory,
threads and descriptors of every process are sampled, and in the end held against what they were once
everything was warm; the log of commands of every arm is judged. The end comes as
from a service manager: every process of an arm is signalled at once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segue.server.traffic import MAX_CALLS_PER_ROBOT
from segue.testing.checker import check_commands
from segue.testing.proxy import FaultProxy
from tests.faults.clocks import Suspend
from tests.processes import Arm, Server, Spawned

SAMPLE_S = 5.0
FAULT_EVERY_S = (2.0, 6.0)
FAULTS = ("cut", "reset", "refuse", "delay", "throttle", "stop", "slow", "fail", "camera", "sleep")
SLEEP_S = (0.5, 600.0)
# What is counted as grown: caches may still fill a little after the warm-up.
MOST_GROWN_KB = 8_000
MOST_GROWN_SHARE = 0.10
MOST_GROWN_COUNT = 3
WARM_SHARE = 1 / 4
# The server's threads beside those for robots' calls: health, refusals, and its own.
SPARE = 20


@dataclass
class Vitals:
    """The samples of one process: resident kB, threads, descriptors; `pool` is the most threads for calls."""

    name: str
    pid: int
    pool: int = 0
    samples: list[tuple[int, int, int]] = field(default_factory=list)

    def sample(self) -> None:
        """Takes one; a process that is gone keeps those that it has."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            threads = len(os.listdir(f"/proc/{self.pid}/task"))
            descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        except OSError:
            return
        self.samples.append((pages * os.sysconf("SC_PAGE_SIZE") // 1024, threads, descriptors))

    def judged(self) -> tuple[str, bool]:
        """Returns one line, and whether all three stayed flat between the warm-up and the end."""
        warm = self._median(WARM_SHARE, WARM_SHARE + 0.1)
        last = self._median(0.9, 1.0)
        # A pool of threads fills up with the first crowd that comes, and stays.
        threads = max(MOST_GROWN_COUNT, self.pool - warm[1])
        limits = (max(MOST_GROWN_KB, MOST_GROWN_SHARE * warm[0]), threads, MOST_GROWN_COUNT)
        flat = all(b - a <= most for a, b, most in zip(warm, last, limits, strict=True))
        cells = [
            f"{a:.0f} → {b:.0f} {unit}"
            for a, b, unit in zip(warm, last, ("kB", "threads", "fds"), strict=True)
        ]
        return (
            f"{self.name:<14} {cells[0]:<24} {cells[1]:<18} {cells[2]:<14} {'flat' if flat else 'GROWS'}",
            flat,
        )

    def _median(self, begin: float, end: float) -> tuple[float, ...]:
        count = len(self.samples)
        part = self.samples[int(begin * count) : max(int(begin * count) + 1, int(end * count))]
        return tuple(statistics.median(column) for column in zip(*part, strict=True))


@dataclass
class World:
    """Everything that the faults may touch."""

    server: Server
    arms: list[Arm]
    proxies: list[FaultProxy]
    rng: np.random.Generator
    suspend: Suspend | None

    def fault(self) -> str:
        """Lets one fault happen and heal, and returns what it was."""
        kind = str(self.rng.choice([each for each in FAULTS if self.suspend or each != "sleep"]))
        seconds = float(self.rng.uniform(0.2, 4.0))
        which = int(self.rng.integers(len(self.arms)))
        proxy = self.proxies[which]
        if kind == "cut":
            both = self.rng.integers(3)
            proxy.swallow(True, up=bool(both != 2), down=bool(both != 1))
            time.sleep(seconds)
            proxy.swallow(False, reset=bool(self.rng.integers(2)))
        elif kind == "reset":
            proxy.reset()
        elif kind == "refuse":
            proxy.refuse(True)
            proxy.reset()
            time.sleep(seconds)
            proxy.refuse(False)
        elif kind == "delay":
            proxy.delay(float(self.rng.uniform(20, 400)), jitter_ms=100.0)
            time.sleep(seconds)
            proxy.delay(0.0)
        elif kind == "throttle":
            proxy.throttle(int(self.rng.uniform(20_000, 200_000)))
            time.sleep(seconds)
            proxy.throttle(None)
        elif kind == "stop":
            self.server.signal(signal.SIGSTOP)
            time.sleep(min(seconds, 2.5))
            self.server.signal(signal.SIGCONT)
        elif kind == "sleep" and self.suspend is not None:
            self.suspend.sleep(float(self.rng.uniform(*SLEEP_S)))
            time.sleep(seconds)
        elif kind in ("slow", "fail"):
            self.server.tell("sleep 0.4" if kind == "slow" else "fail")
            time.sleep(seconds)
            self.server.tell("well")
        else:
            what = str(self.rng.choice(["fail", "block", "freeze"]))
            self.arms[which].tell(f"camera front {what}")
            time.sleep(seconds)
            self.arms[which].tell("camera front heal")
        return kind


def soak(minutes: float, count: int, folder: Path, seed: int) -> int:
    """Runs it all and returns the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder, latency_s=0.05, max_robots=count).ready()
    started: list[Spawned] = [server]
    proxies = [FaultProxy(server.address, seed=seed + k) for k in range(count)]
    try:
        for proxy in proxies:
            proxy.start()
        # Without a compiler there is no clock that sleeps.
        suspend = Suspend(folder) if shutil.which("cc") else None
        arms = [
            Arm(
                folder / f"arm{k}",
                proxy.address,
                robot_id=f"arm{k}",
                factory="tests.sim_arm:make",
                settings={},
                safety={"resume": "auto"},
                environment=suspend.environment if suspend else {},
            )
            for k, proxy in enumerate(proxies)
        ]
        started += arms
        for arm in arms:
            arm.moving(3)
        world = World(server, arms, proxies, np.random.default_rng(seed), suspend)
        vitals = [Vitals("server", server.pid, pool=count * MAX_CALLS_PER_ROBOT + SPARE)]
        for arm in arms:
            vitals += [Vitals(f"{arm.folder.name} link", arm.pid)]
            vitals += [Vitals(f"{arm.folder.name} control", arm.control_pid())]
        faults = _suffer(world, vitals, minutes)
        return _judge(world, vitals, faults)
    finally:
        for each in reversed(started):
            each.end()
        for proxy in proxies:
            proxy.close()


def _suffer(world: World, vitals: list[Vitals], minutes: float) -> dict[str, int]:
    """Lets faults happen for some minutes, and returns how often each did."""
    faults = dict.fromkeys(FAULTS, 0)
    end_s = time.monotonic() + 60 * minutes
    next_sample_s = 0.0
    while time.monotonic() < end_s:
        if time.monotonic() >= next_sample_s:
            next_sample_s = time.monotonic() + SAMPLE_S
            for each in vitals:
                each.sample()
        faults[world.fault()] += 1
        time.sleep(float(world.rng.uniform(*FAULT_EVERY_S)) / 2)
    return faults


def _judge(world: World, vitals: list[Vitals], faults: dict[str, int]) -> int:
    """Ends the arms, prints what came of it, and returns the exit code."""
    well = True
    sys.stdout.write(f"{sum(faults.values())} faults: {json.dumps(faults)}\n")
    for each in vitals:
        line, flat = each.judged()
        well &= flat
        sys.stdout.write(line + "\n")
    for arm in world.arms:
        for pid in (arm.control_pid(), arm.pid):
            os.kill(pid, signal.SIGTERM)
    for arm in world.arms:
        code = arm.wait()
        header, rows = arm.commands()
        found = check_commands(rows, header)
        summary = arm.summary()
        holds, chunks = arm.levels().count("HOLD"), summary["chunks"]
        well &= code == 128 + signal.SIGTERM and not found
        sys.stdout.write(
            f"{arm.folder.name}: exit {code}, {len(rows)} commands, {chunks} chunks, {holds} holds, "
            f"{len(found)} violations\n"
        )
        for violation in found[:5]:
            sys.stdout.write(f"    {violation}\n")
    sys.stdout.write("flat, and nothing moved wrongly\n" if well else "NOT WELL\n")
    return 0 if well else 1


def main() -> int:
    """Reads the flags and soaks."""
    parser = argparse.ArgumentParser(description="robots for a long while, with faults")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--arms", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("outputs/soak"))
    words = parser.parse_args()
    return soak(words.minutes, words.arms, words.folder, words.seed)


if __name__ == "__main__":
    sys.exit(main())
