"""`segue demo`: all strategies on the same simulated belt, behind a policy that is slow on purpose.

A server and, one after the other, a robot per strategy run as real processes on
loopback; nothing differs between the runs but the strategy. In the end come a
table, a picture of the queue over time, and a video. The demonstration succeeds
only if every run did.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from segue.cli.breakoff import breaking_off
from segue.cli.children import POLL_S, Child
from segue.cli.help import ASKING, Page
from segue.cli.serve import READY
from segue.config.demo import DemoConfig
from segue.errors import SegueError
from segue.tools.records import RunFolder, make_folder, read_summary

PAGE = Page(
    verb="demo",
    summary="shows all strategies on a simulated arm and compares them",
    examples=("segue demo", "segue demo --duration=20 --latency=0.5"),
    config=DemoConfig,
)

CAMERA = "front"
VIDEO_S = 15.0
SERVER_READY_S = 120.0  # torch alone takes several seconds to import on a small machine
RUN_MARGIN_S = 60.0  # to start, to shake hands and to park
PARKING_S = 15.0
DRAINING_S = 10.0
# One thread each: server, two robot processes and renderer share what may be two cores.
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Contender:
    """One strategy."""

    name: str
    flags: tuple[str, ...]


# A reactive robot asks for the next chunk ten steps after the last one; `sync` plays whole chunks.
REACTIVE = ("--chunk_size_threshold=1.0", "--min_execution_steps=10")
CONTENDERS = (
    Contender("sync", ("--strategy=sync",)),
    Contender("async latest_only", ("--strategy=async", "--aggregate_fn_name=latest_only", *REACTIVE)),
    Contender(
        "async weighted_average", ("--strategy=async", "--aggregate_fn_name=weighted_average", *REACTIVE)
    ),
    Contender("rtc", ("--strategy=rtc", *REACTIVE)),
)
SAME_FOR_ALL = (
    "--robot.type=sim_so101",
    "--task=lift the cubes",
    "--actions_per_chunk=50",
    "--safety.resume=auto",  # there is nobody whom a simulated arm could hit
    f"--record_camera={CAMERA}",
)


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code: 0 if every run ended with 0, else the first other code.

    Args:
        argv: the words after ``demo``.

    Raises:
        ConfigError: a flag or the file is wrong.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    from segue.config.load import load

    config = load(DemoConfig, argv).config
    out = config.output_dir or Path("outputs") / f"demo_{datetime.now():%Y-%m-%d_%H-%M-%S}"
    make_folder(out)
    with breaking_off(wishes=2):  # so that no child is left behind; the second does not wait for parking
        codes = _all_runs(config, out)
        _report(out, config)
    return next((code for code in codes if code != 0), 0)


def _all_runs(config: DemoConfig, out: Path) -> list[int]:
    words = ("serve", "--port=0", "--policy.path=builtin:belt", f"--inference_latency={config.latency:g}")
    print(f"server: starting, every request takes at least {1000 * config.latency:.0f} ms", flush=True)
    server = Child("server", words, out / "server.log", ENVIRONMENT)
    try:
        address = server.wait_for(READY, SERVER_READY_S)
        if address is None:
            raise SegueError(f"the server did not become ready; it said\n{server.last_words()}")
        print(f"server: ready on {address}", flush=True)
        return [_one_run(config, each, address, out / _folder(each)) for each in CONTENDERS]
    finally:
        server.end(signal.SIGTERM, DRAINING_S)


def _folder(contender: Contender) -> str:
    return contender.name.replace(" ", "_")


def _one_run(config: DemoConfig, contender: Contender, address: str, folder: Path) -> int:
    words = (
        "run",
        f"--server_address={address}",
        *SAME_FOR_ALL,
        *contender.flags,
        f"--duration={config.duration:g}",
        f"--seed={config.seed}",
        f"--output_dir={folder}",
    )
    RunFolder(folder).clear()  # of an earlier demonstration
    begun = time.monotonic()
    run = Child(contender.name, words, folder.with_suffix(".log"), ENVIRONMENT)
    try:
        while run.code is None and time.monotonic() - begun < config.duration + RUN_MARGIN_S:
            _progress(f"{contender.name}: {time.monotonic() - begun:.0f} of about {config.duration:.0f} s")
            time.sleep(POLL_S)
    finally:
        # As a service manager ends all processes at once: for the run both are one wish.
        code = run.end(signal.SIGTERM, PARKING_S)
    _progress(f"{contender.name}: {_outcome(code, RunFolder(folder))}", last=True)
    if code != 0:
        print(run.last_words(), flush=True)
    return code


def _outcome(code: int, folder: RunFolder) -> str:
    if code != 0 or not folder.summary.exists():
        return f"ended with exit code {code}"
    summary = read_summary(folder)
    cubes = f"{summary['successes']} of {summary['cubes_offered']} cubes lifted"
    return f"{cubes}, {summary['starved_ticks']} starved and {summary['waiting_ticks']} waiting ticks"


def _progress(text: str, last: bool = False) -> None:
    """Shows `text` on one line, over the one before; into a file only the last of each."""
    if sys.stdout.isatty():
        print(f"\r{text:<78}", end="\n" if last else "", flush=True)
    elif last:
        print(text, flush=True)


def _report(out: Path, config: DemoConfig) -> None:
    from segue.tools.report import strategy_table

    folders = {each.name: RunFolder(out / _folder(each)) for each in CONTENDERS}
    done = {name: folder for name, folder in folders.items() if folder.summary.exists()}
    print(f"\n{strategy_table({name: read_summary(folder) for name, folder in done.items()})}\n")
    try:
        _draw(done, out, config)
    except ImportError as missing:
        print(f"no picture and no video: {missing.name} is missing; pip install 'segue[report]'")
    print(f"records {os.path.relpath(out)}")


def _draw(done: dict[str, RunFolder], out: Path, config: DemoConfig) -> None:
    from segue.tools.report import queue_plot, video
    from segue.tools.video import jpegs

    drawn = {name: folder.path for name, folder in done.items() if folder.queue.exists()}
    if drawn:
        print(f"picture {os.path.relpath(queue_plot(drawn, out / 'queue.png'))}")
    clips = {name: folder.frames(CAMERA) for name, folder in done.items() if folder.frames(CAMERA).exists()}
    pictures = [sum(1 for _ in jpegs(path.read_bytes())) for path in clips.values()]
    if any(pictures):
        # As many as really came, so that the video runs at the speed of the world.
        fps = max(1.0, sum(pictures) / len(pictures) / config.duration)
        print(f"video   {os.path.relpath(video(clips, fps, out / 'arm.mp4', VIDEO_S))}")
