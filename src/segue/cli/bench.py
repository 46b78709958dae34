"""`segue bench`: what Segue costs on this machine, each figure beside a control from the same minute.

A server and a robot with three fake cameras run as real processes on loopback.
Beside each run a bare gRPC echo of the same bytes, the encoding and decoding of
the same pictures, and a process that only sleeps are timed. The verdicts are
ratios against those controls; absolute times on a shared machine are for
reading, not for judging. A missed promise is printed as such and makes the
exit code 1.
"""

from __future__ import annotations

import json
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from segue.cli.breakoff import breaking_off
from segue.cli.children import Child
from segue.cli.help import ASKING, Page
from segue.cli.serve import READY
from segue.config.bench import BenchConfig
from segue.errors import SegueError

PAGE = Page(
    verb="bench",
    summary="measures overhead, lateness, memory and bytes beside bare controls",
    examples=("segue bench", "segue bench --duration=30 --install=true"),
    config=BenchConfig,
)

# The budgets, as promised to users.
MOST_ECHOES = 3.0
MOST_CODECS = 1.5
MOST_OBSERVATION_BYTES = 250_000
MOST_CLIENT_MB = 150.0
MOST_HELP_S = 1.0
MOST_CORE_MB = 150.0
MOST_ARM_MB = 200.0

QUALITY = 90
CAMERAS = "{top: {type: fake}, front: {type: fake}, wrist: {type: fake}}"
CHUNK_REPLY_BYTES = 6_000  # 50 actions of 6 joints in both units
SERVER_READY_S = 60.0
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result; `kept` is None where nothing was promised."""

    name: str
    measured: str
    promised: str = ""
    kept: bool | None = None

    def __str__(self) -> str:
        verdict = {None: "", True: "kept", False: "MISSED"}[self.kept]
        return f"{self.name:<34} {self.measured:<58} {self.promised:<34} {verdict}".rstrip()


@dataclass(frozen=True, slots=True)
class Round:
    """One run of the robot, and its controls; milliseconds."""

    overhead_p50: float
    observation_bytes: float
    lateness: dict[str, float]
    ordinary_lateness: dict[str, float]
    memory_mb: float
    echo_p50: float
    codec_p50: float
    sleeper: Any
    ordinary_sleeper: Any


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code: 0 when every promise was kept, else 1.

    Args:
        argv: the words after ``bench``.

    Raises:
        ConfigError: a flag or the file is wrong.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    from segue.config.load import load

    config = load(BenchConfig, argv).config
    out = config.output_dir or Path("outputs") / f"bench_{datetime.now():%Y-%m-%d_%H-%M-%S}"
    out.mkdir(parents=True, exist_ok=True)
    with breaking_off(wishes=2):
        rounds = _rounds(config, out)
    rows = [*_figures(rounds), _help_row()]
    if config.install:
        rows += _install_rows()
    print("\n".join(str(row) for row in rows))
    return int(any(row.kept is False for row in rows))


def _rounds(config: BenchConfig, out: Path) -> list[Round]:
    words = ("serve", "--port=0", "--policy.path=builtin:scripted@30")
    server = Child("server", words, out / "server.log", ENVIRONMENT)
    try:
        address = server.wait_for(READY, SERVER_READY_S)
        if address is None:
            raise SegueError(f"the server did not become ready; it said\n{server.last_words()}")
        return [_round(config, address, out / f"round_{k}") for k in range(config.rounds)]
    finally:
        server.end(signal.SIGTERM, 10.0)


def _round(config: BenchConfig, address: str, folder: Path) -> Round:
    """Runs the robot once, and every control beside it."""
    from segue.testing.cameras import natural_frames
    from segue.tools import bench

    summary, memory_mb = _robot(config, address, folder)
    ordinary, _ = _robot(config, address, folder.with_name(f"{folder.name}_ordinary"), "--realtime=false")
    size = int(summary["observation_bytes"]["p50"])
    frames = [natural_frames(480, 640, 1, seed)[0] for seed in range(3)]
    print(f"{folder.name}: overhead p50 {summary['overhead_ms']['p50']:.2f} ms", flush=True)
    return Round(
        overhead_p50=summary["overhead_ms"]["p50"],
        observation_bytes=size,
        lateness=summary["tick_lateness_ms"],
        ordinary_lateness=ordinary["tick_lateness_ms"],
        memory_mb=memory_mb,
        echo_p50=bench.echo_cost(size, CHUNK_REPLY_BYTES).p50,
        codec_p50=bench.image_cost(frames, QUALITY).p50,
        sleeper=bench.sleeper_lateness(100.0, config.duration, realtime=True),
        ordinary_sleeper=bench.sleeper_lateness(100.0, config.duration, realtime=False),
    )


def _robot(config: BenchConfig, address: str, folder: Path, *more: str) -> tuple[dict[str, Any], float]:
    """Returns the summary of one run and the private memory of its processes half-way, MB."""
    from segue.tools.bench import family, private_memory_mb
    from segue.tools.records import RunFolder

    words = (
        "run",
        f"--server_address={address}",
        "--robot.type=fake",
        f"--robot.cameras={CAMERAS}",
        f"--image_quality={QUALITY}",
        "--actions_per_chunk=50",
        "--chunk_size_threshold=1.0",
        "--safety.resume=auto",
        f"--duration={config.duration:g}",
        f"--output_dir={folder}",
        *more,
    )
    RunFolder(folder).clear()
    run = Child("robot", words, folder.with_suffix(".log"), ENVIRONMENT)
    try:
        time.sleep(config.duration / 2)
        memory_mb = sum(private_memory_mb(pid) for pid in family(run.pid)) if run.code is None else 0.0
        deadline = time.monotonic() + config.duration + 30.0
        while run.code is None and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        code = run.end(signal.SIGTERM, 10.0)
    if code != 0:
        raise SegueError(f"the robot ended with {code}; it said\n{run.last_words()}")
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary, memory_mb


def _figures(rounds: list[Round]) -> list[Row]:
    overhead, echo, codec = (_median(rounds, key) for key in ("overhead_p50", "echo_p50", "codec_p50"))
    budget = MOST_ECHOES * echo + MOST_CODECS * codec
    size, memory = _median(rounds, "observation_bytes"), max(r.memory_mb for r in rounds)
    return [
        Row(
            "request to inbox, less inference",
            f"p50 {overhead:.2f} ms = {overhead / budget:.2f} of the budget",
            f"<= {MOST_ECHOES:g} x echo {echo:.2f} + {MOST_CODECS:g} x codec {codec:.2f} ms",
            overhead <= budget,
        ),
        Row(
            "bytes per observation",
            f"{size / 1000:.0f} KB, three 640x480 at quality {QUALITY}",
            f"<= {MOST_OBSERVATION_BYTES / 1000:.0f} KB",
            size <= MOST_OBSERVATION_BYTES,
        ),
        _lateness_row("tick lateness, real-time", [(r.lateness, r.sleeper) for r in rounds]),
        _lateness_row(
            "tick lateness, ordinary scheduling", [(r.ordinary_lateness, r.ordinary_sleeper) for r in rounds]
        ),
        Row(
            "client memory, both processes",
            f"{memory:.0f} MB private, three FakeCamera at 640x480",
            f"<= {MOST_CLIENT_MB:.0f} MB",
            memory <= MOST_CLIENT_MB,
        ),
    ]


def _lateness_row(name: str, pairs: list[tuple[dict[str, float], Any]]) -> Row:
    """Returns how late ticks were beside three cameras and their encoding, and a bare sleeper."""
    late = {key: statistics.median(ticks[key] for ticks, _ in pairs) for key in ("p50", "p99", "max")}
    bare = {
        key: statistics.median(getattr(sleeper, key) for _, sleeper in pairs)
        for key in ("p50", "p99", "largest")
    }
    return Row(
        name,
        f"p50 {late['p50']:.2f}, p99 {late['p99']:.2f}, max {late['max']:.2f} ms",
        f"bare sleeper {bare['p50']:.2f}, {bare['p99']:.2f}, {bare['largest']:.2f} ms",
    )


def _median(rounds: list[Round], key: str) -> float:
    return float(statistics.median(getattr(each, key) for each in rounds))


def _help_row() -> Row:
    from segue.tools.bench import help_time_s

    seconds = help_time_s()
    return Row("segue run --help", f"{seconds:.2f} s", f"<= {MOST_HELP_S:g} s", seconds <= MOST_HELP_S)


def _install_rows() -> list[Row]:
    from segue.tools.bench import installed

    project = Path(__file__).parents[3]
    if not (project / "pyproject.toml").exists():
        return [Row("core in an empty environment", "not measured: this is not a checkout of the project")]
    found = installed(project, project / "constraints.txt")
    limits = f"<= {MOST_CORE_MB:.0f} MB", f"<= {MOST_ARM_MB:.0f} MB, no torch"
    light = found.arm_mb <= MOST_ARM_MB and "torch" not in found.packages
    core, arm = f"{found.core_mb:.0f} MB, pip included", f"{found.arm_mb:.0f} MB"
    return [
        Row("core in an empty environment", core, limits[0], found.core_mb <= MOST_CORE_MB),
        Row("segue[so101] over it", arm, limits[1], light),
    ]
