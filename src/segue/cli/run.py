"""`segue run`: drives a robot with actions from a policy server.

Reads the configuration, makes the run's folder, hands over to the client, and
says in the end what came of it and where the records lie. Everything that can be refused is refused
before the robot moves.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from segue.cli.help import ASKING, Page
from segue.cli.writer import say_last
from segue.config.robot import FakeRobotConfig
from segue.config.run import RunConfig
from segue.errors import ConfigError, SpecMismatch
from segue.tools.records import RunFolder

PAGE = Page(
    verb="run",
    summary="drives a robot with actions from a policy server",
    examples=(
        'segue run --server_address=127.0.0.1:8080 --robot.type=sim_so101 --task="lift the cubes"',
        "segue run --config_path=outputs/2026-01-31_12-00-00/config.yaml --strategy=async",
    ),
    config=RunConfig,
)

_FITS_FAKE = "a fake robot fits `segue serve --policy.path=builtin:scripted@30`"


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code.

    Args:
        argv: the words after ``run``.

    Raises:
        SegueError: whatever ends the run; its exit code says which.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    from segue.config.load import load_run

    loaded = load_run(argv)
    for note in loaded.notes:
        print(f"segue run: {note}", file=sys.stderr)
    with loaded.blaming_flags():
        return _run(loaded.config)


def _run(config: RunConfig) -> int:
    from segue.cli import build
    from segue.cli.console import Console
    from segue.cli.parts import robot_and_cameras
    from segue.cli.result import end_sentence, result_line
    from segue.tools.records import make_run_folder

    draws = config.output.debug_visualize_queue_size
    if draws and importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("debug_visualize_queue_size: true needs matplotlib: pip install 'segue[report]'")
    parts = robot_and_cameras(config)
    made = config.output.output_dir is None or not config.output.output_dir.exists()
    folder = make_run_folder(config.output.output_dir, datetime.now())
    _write_config(folder, config)
    console = Console("segue run")
    try:
        outcome = build.run(config, parts, folder.path, console)
    except SpecMismatch as error:
        if isinstance(config.robot, FakeRobotConfig):
            raise SpecMismatch([*error.differences, _FITS_FAKE]) from error
        raise
    else:
        if outcome.summary["ticks"]:
            console.say(result_line(outcome.summary))
    finally:
        if draws and folder.queue.exists():
            console.say(_drawn(folder, config.execution.strategy))
        if folder.summary.exists():
            console.say(f"records in {folder.path}")
        elif made:
            _take_back(folder)
        console.close()
    if outcome.exit_code:
        say_last(f"segue run: {end_sentence(outcome, config)}")
    return outcome.exit_code


def _write_config(folder: RunFolder, config: RunConfig) -> None:
    """Writes down what the run was told, less the folder: whoever repeats it wants another one."""
    from segue.config.dump import to_yaml

    again = replace(config, output=replace(config.output, output_dir=None))
    folder.config.write_text(to_yaml(again), encoding="utf-8")


def _take_back(folder: RunFolder) -> None:
    """Removes the folder of a run that never began; one that holds more stays."""
    if folder.path.exists() and list(folder.path.iterdir()) == [folder.config]:
        folder.config.unlink()
        folder.path.rmdir()


def _drawn(folder: RunFolder, strategy: str) -> str:
    """Draws the queue, and returns a sentence that says where."""
    from segue.tools.report import queue_plot

    return f"queue drawn in {queue_plot({strategy: folder.path}, folder.plot)}"
