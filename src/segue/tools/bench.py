"""What things cost on this machine: pictures, a bare call, a bare sleeper, memory, an installation.

Each function measures one thing and returns it; none of them judges. Machines
are shared and noisy, so a figure means something only beside its control from
the same minute: the overhead of a request beside a bare gRPC echo of the same
bytes, the lateness of a tick beside a process that does nothing but sleep.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segue.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from segue.core.specs import CameraSpec
from segue.core.types import ImageArray
from segue.server.echo import measure_echo
from segue.wire.image import decode, encode

# Controls are timed at the pace of a robot's requests: in a tight loop caches and clocks are warm,
# as they never are for a request every third of a second, and both sides of a ratio must be alike.
PAUSE_NS = 330 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, 95th, 99th percentile and largest of some durations, in milliseconds."""

    p50: float
    p95: float
    p99: float
    largest: float

    @classmethod
    def of(cls, durations_ns: Sequence[int]) -> Spread:
        """Returns the spread of at least one duration."""
        p50, p95, p99 = np.percentile(durations_ns, [50, 95, 99]) / NS_PER_MS
        return cls(float(p50), float(p95), float(p99), max(durations_ns) / NS_PER_MS)

    def __str__(self) -> str:
        return f"p50 {self.p50:.2f}, p95 {self.p95:.2f}, p99 {self.p99:.2f}, max {self.largest:.2f} ms"


def image_cost(images: Sequence[ImageArray], quality: int, count: int = 60) -> Spread:
    """Returns what encoding and decoding all of `images` takes, one after the other on one thread."""
    clock: Clock = SystemClock()
    durations = []
    for _ in range(count):
        start_ns = clock.now_ns()
        for image in images:
            decode(encode(image, quality), CameraSpec("bench", *image.shape[:2]))
        durations.append(clock.now_ns() - start_ns)
        clock.sleep_until(start_ns + PAUSE_NS)
    return Spread.of(durations)


def echo_cost(up: int, down: int, count: int = 60) -> Spread:
    """Returns what a bare gRPC call takes between two processes, `up` bytes there and `down` bytes back."""
    words = [sys.executable, "-m", "segue.server.echo"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip() if process.stdout else ""
            return Spread.of(measure_echo(address, up, min(up, down), count, PAUSE_NS))
        finally:
            process.terminate()


def sleeper_lateness(hz: float, seconds: float, realtime: bool) -> Spread:
    """Returns how late a process wakes up that does nothing but sleep towards absolute deadlines.

    Args:
        hz: deadlines per second.
        seconds: for how long.
        realtime: asks for the scheduling that the control process asks for.
    """
    words = [sys.executable, "-c", _SLEEPER, str(hz), str(seconds), str(int(realtime))]
    said = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
    return Spread.of([int(word) for word in said.split()])


_SLEEPER = """
import os, sys, time
hz, seconds, realtime = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "1"
if realtime:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except (OSError, AttributeError):
        pass
start, late = time.monotonic_ns(), []
for n in range(1, int(hz * seconds)):
    deadline = start + int(n * 1e9 / hz)
    while (left := deadline - time.monotonic_ns()) > 0:
        time.sleep(left / 1e9)
    late.append(time.monotonic_ns() - deadline)
print(*late)
"""


def private_memory_mb(pid: int) -> float:
    """Returns the memory that would be free if process `pid` ended, MB (Linux)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kb) for kb in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE)) / 1024


def family(pid: int) -> list[int]:
    """Returns `pid` and all processes below it (Linux)."""
    below = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(word) for word in below.read_text().split()] if below.exists() else []
    return [pid, *(member for child in children for member in family(child))]


def help_time_s(count: int = 5) -> float:
    """Returns the median time of ``segue run --help``, seconds."""
    clock, durations = SystemClock(), []
    for _ in range(count):
        start_ns = clock.now_ns()
        subprocess.run(
            [sys.executable, "-m", "segue.cli.main", "run", "--help"], capture_output=True, check=True
        )
        durations.append(clock.now_ns() - start_ns)
    return statistics.median(durations) / NS_PER_S


@dataclass(frozen=True, slots=True)
class Installed:
    """What an installation takes on disk.

    Attributes:
        core_mb: a new environment with Segue's core in it, pip included.
        arm_mb: what ``segue[so101]`` adds to that.
        packages: names of all that is in it then.
    """

    core_mb: float
    arm_mb: float
    packages: tuple[str, ...]


def installed(project: Path, constraints: Path) -> Installed:
    """Installs the core of `project` in a new environment, then what a real arm needs, and measures both.

    Raises:
        subprocess.CalledProcessError: the environment cannot be made, as without a package index.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = str(Path(folder) / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        sizes = []
        for wish in (str(project), f"{project}[so101]"):
            words = [*install, "-c", str(constraints), wish]
            subprocess.run(words, check=True, capture_output=True, timeout=600)
            files = (path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())
            sizes.append(sum(path.stat().st_blocks * 512 for path in files) / 1e6)
        listed = subprocess.run(
            [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True
        )
        names = [line.partition("==")[0] for line in listed.stdout.decode().splitlines()]
    return Installed(sizes[0], sizes[1] - sizes[0], tuple(names))
