"""`segue run`: drives a robot with actions from a policy server.

Reads the configuration, makes the run's folder, hands over to the client, and
says in the end where the records lie. Everything that can be refused is refused
before the robot moves.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from datetime import datetime

from segue.cli.help import ASKING, Page
from segue.config.run import RunConfig
from segue.errors import ConfigError
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
    from segue.cli import build
    from segue.cli.console import Console
    from segue.config.dump import to_yaml
    from segue.config.load import load_run
    from segue.tools.records import make_run_folder

    loaded = load_run(argv)
    for note in loaded.notes:
        print(f"segue run: {note}", file=sys.stderr)
    config = loaded.config
    draws = config.output.debug_visualize_queue_size
    if draws and importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("debug_visualize_queue_size: true needs matplotlib: pip install 'segue[report]'")
    folder = make_run_folder(config.output.output_dir, datetime.now())
    folder.config.write_text(to_yaml(config), encoding="utf-8")
    console = Console("segue run")
    try:
        outcome = build.run(config, folder.path, console)
    finally:
        console.close()
        if draws and folder.queue.exists():
            _draw(folder, config.execution.strategy)
        print(f"segue run: records in {folder.path}", flush=True)
    ended = f"{outcome.reason}: {outcome.detail}" if outcome.detail else outcome.reason
    print(f"segue run: {ended}", file=sys.stderr if outcome.exit_code else sys.stdout)
    return outcome.exit_code


def _draw(folder: RunFolder, strategy: str) -> None:
    from segue.tools.report import queue_plot

    print(f"segue run: queue drawn in {queue_plot({strategy: folder.path}, folder.plot)}")
