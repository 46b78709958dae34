"""`segue run`: drives a robot with actions from a policy server.

Reads the configuration and carries the run out, with the person at the terminal
as its operator. Everything that can be refused is refused before the robot moves.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from segue.cli.help import ASKING, Page
from segue.config.robot import FakeRobotConfig, SimSo101Config
from segue.config.run import RunConfig
from segue.errors import ConfigError, SpecMismatch

PAGE = Page(
    verb="run",
    summary="drives a robot with actions from a policy server",
    examples=(
        'segue run --server_address=127.0.0.1:8080 --robot.type=sim_so101 --task="lift the cubes"',
        "segue run --config_path=outputs/2026-01-31_12-00-00/config.yaml --strategy=async",
        "segue run --robot.type=fake --episodes=10 --episode_time_s=20   (? at the terminal lists the keys)",
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
    from segue.cli.job import Job, carry_out
    from segue.cli.keyboard import at_terminal, keyboard
    from segue.cli.parts import robot_and_cameras

    if not at_terminal():
        _check_needs_no_key(config)
    # Whoever repeats it wants another folder.
    again = replace(config, output=replace(config.output, output_dir=None))
    try:
        return carry_out(Job("run", config, again, robot_and_cameras(config), keyboard))
    except SpecMismatch as error:
        if isinstance(config.robot, FakeRobotConfig):
            raise SpecMismatch([*error.differences, _FITS_FAKE]) from error
        raise


def _check_needs_no_key(config: RunConfig) -> None:
    """Refuses episodes that wait for a key, since nobody can press one.

    Raises:
        ConfigError: there are such.
    """
    job = config.job
    if isinstance(config.robot, SimSo101Config):
        return  # on the simulated belt each cube is an episode
    nobody = "waits for a key, and standard input is no terminal"
    if job.episodes is not None and job.episode_time_s is None:
        raise ConfigError(f"episodes: the end of each {nobody}; expected --episode_time_s, too")
    if job.episode_time_s is not None and job.episodes != 1 and job.reset_time_s is None:
        raise ConfigError(f"episode_time_s: the next episode {nobody}; expected --reset_time_s, too")
