"""`segue replay`: moves an arm along a recorded run, slowly.

The recording becomes a policy behind a server on loopback in this process, and
the rest is a run like any other: the same executor, limits, signals, parking,
records and exit codes. Cameras stay closed, since the recording sees nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from segue.cli.help import ASKING, Page
from segue.config.replay import ReplayConfig
from segue.config.run import ExecutionConfig, JobConfig, LinkConfig, OutputConfig, RunConfig

if TYPE_CHECKING:
    from segue.cli.console import Console
    from segue.client.operator import Desk
    from segue.policies.base import Policy

PAGE = Page(
    verb="replay",
    summary="moves an arm along a recorded run, slowly",
    examples=("segue replay --run=outputs/2026-01-31_12-00-00 --robot.type=fake --speed=0.5",),
    config=ReplayConfig,
)


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code.

    Args:
        argv: the words after ``replay``.

    Raises:
        SegueError: whatever ends the replay; its exit code says which.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    from segue.config.load import load

    loaded = load(ReplayConfig, argv, of_an_arm=True)
    for note in loaded.notes:
        print(f"segue replay: {note}", file=sys.stderr)
    with loaded.blaming_flags():
        return _replay(loaded.config)


class LastStep:
    """An `Operator` who asks for the end when the recording has come to its own."""

    def __init__(self) -> None:
        self._desk: Desk | None = None

    def __repr__(self) -> str:
        return f"<LastStep desk={self._desk is not None}>"

    @contextmanager
    def listen(self, desk: Desk) -> Iterator[None]:
        """Passes the end on to `desk` while it is open."""
        self._desk = desk
        try:
            yield
        finally:
            self._desk = None

    def reached(self) -> None:
        """Asks for the end; is called again should nobody have listened."""
        from segue.core.facts import ExitReason
        from segue.core.link.reports import Stop

        desk = self._desk
        if desk is not None:
            desk.tell(Stop(ExitReason.DONE))


def run_config(config: ReplayConfig, address: str) -> RunConfig:
    """Returns the run that a replay is, of a policy at `address`."""
    return RunConfig(
        link=LinkConfig(server_address=address),
        robot=config.robot,
        job=JobConfig(task="replay", dry_run=config.dry_run),
        # Asked at every step, so that the last one is noticed at once.
        execution=ExecutionConfig(
            strategy="rtc",
            chunk_size_threshold=1.0,
            min_execution_steps=1,
            control_hz=config.control_hz,
            realtime=config.realtime,
        ),
        safety=config.safety,
        output=OutputConfig(output_dir=config.output_dir),
    )


def _replay(config: ReplayConfig) -> int:
    from segue.cli.job import Job, carry_out
    from segue.cli.keyboard import keyboard
    from segue.cli.parts import robot_and_cameras
    from segue.client.operator import Nobody, Operator, Together
    from segue.policies.recorded import RecordedPolicy
    from segue.tools.recording import read_recording

    last_step = LastStep()
    recording = read_recording(config.run, config.speed)
    robot, _ = robot_and_cameras(run_config(config, LinkConfig().server_address))
    with _served(RecordedPolicy(recording, last_step.reached)) as address:
        again = replace(config, output_dir=None)

        def operator(console: Console) -> Operator:
            return Together(last_step, keyboard(console, has_episodes=False) or Nobody())

        job = Job("replay", run_config(config, address), again, (robot, []), operator)
        return carry_out(job)


@contextmanager
def _served(policy: Policy) -> Iterator[str]:
    """Serves `policy` on a free port of this host; the value is the address."""
    from segue.server.lifecycle import PolicyServer
    from segue.server.settings import ServerConfig

    server = PolicyServer(ServerConfig(port=0), policy)
    address = server.start()
    try:
        yield address
    finally:
        server.stop(0.0)
