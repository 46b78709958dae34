"""One run with its folder, its console and its last words, whichever verb asked for it.

Makes the run's folder, hands over to the client, and says in the end what came
of it and where the records lie. A folder that was made for a run that never
began is taken away again.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import get_args

from segue.cli import build
from segue.cli.console import Console
from segue.cli.parts import Parts
from segue.cli.result import end_sentence, result_line
from segue.cli.writer import say_last
from segue.client.ending import StopSwitch
from segue.client.operator import Operator
from segue.config.dump import to_yaml
from segue.config.run import RunConfig, StrategyName
from segue.errors import ConfigError
from segue.signals import signals_to
from segue.tools.records import RunFolder, make_run_folder

DRY_RUN = "DRY RUN: no command reaches the robot"


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run.

    Attributes:
        verb: ``run``, or whatever else the person typed.
        config: of the run.
        again: the configuration that repeats it, less the folder, as it is written down.
        parts: robot and cameras, by `parts.robot_and_cameras`.
        operator: returns who may say something to the run.
    """

    verb: str
    config: RunConfig
    again: object
    parts: Parts
    operator: Callable[[Console], Operator | None]


def carry_out(job: Job) -> int:
    """Runs until the end and returns the exit code.

    Signals are heeded from the first moment to the last: what comes while the records are closed is
    late, and must not end the process with another code.

    Raises:
        SegueError: whatever ended the run before it began.
    """
    stop = StopSwitch()
    with signals_to(stop.ask):
        return _carry_out(job, stop)


def _carry_out(job: Job, stop: StopSwitch) -> int:
    config, name = job.config, f"segue {job.verb}"
    draws = config.output.debug_visualize_queue_size
    if draws and importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("debug_visualize_queue_size: true needs matplotlib: pip install 'segue[report]'")
    made = config.output.output_dir is None or not config.output.output_dir.exists()
    folder = make_run_folder(config.output.output_dir, datetime.now())
    folder.config.write_text(to_yaml(job.again), encoding="utf-8")
    console = Console(name, "DRY RUN " if config.job.dry_run else "")
    strategy: str = config.execution.strategy
    try:
        if config.job.dry_run:
            console.say(DRY_RUN)
        operator = job.operator(console)
        outcome = build.run(config, job.parts, folder.path, console, operator, stop=stop)
        strategy = str(outcome.summary.get("strategy") or strategy)
        if strategy != config.execution.strategy and isinstance(job.again, RunConfig):
            _keep_chosen(folder, job.again, strategy)
        if outcome.summary["ticks"]:
            console.say(result_line(outcome.summary))
    finally:
        if draws and folder.queue.exists():
            console.say(_drawn(folder, strategy))
        if folder.summary.exists():
            console.say(f"records in {folder.path}")
        elif made:
            _take_back(folder)
        console.close()
    if outcome.exit_code:
        say_last(f"{name}: {end_sentence(outcome, config)}")
    return outcome.exit_code


def _keep_chosen(folder: RunFolder, config: RunConfig, strategy: str) -> None:
    """Writes down the strategy that was chosen: it is what is repeated, whatever the next policy offers."""
    name: StrategyName = next(each for each in get_args(StrategyName) if each == strategy)
    chosen = replace(config, execution=replace(config.execution, strategy=name))
    anew = folder.config.with_suffix(".new")
    try:
        anew.write_text(to_yaml(chosen), encoding="utf-8")
        anew.replace(folder.config)
    except OSError:  # a full disk: the file says auto, which is as true
        anew.unlink(missing_ok=True)


def _take_back(folder: RunFolder) -> None:
    """Removes the folder of a run that never began; one that holds more stays."""
    path: Path = folder.path
    if path.exists() and list(path.iterdir()) == [folder.config]:
        folder.config.unlink()
        path.rmdir()


def _drawn(folder: RunFolder, strategy: str) -> str:
    """Draws the queue, and returns a sentence that says where."""
    from segue.tools.report import queue_plot

    return f"queue drawn in {queue_plot({strategy: folder.path}, folder.plot)}"
