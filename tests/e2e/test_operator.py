"""A person at the terminal of `segue run`, as real processes: keys, episodes, another task, a dry run."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.client.commands import read_commands
from segue.core.watchdog import SafetyLevel
from segue.robots import so101_model
from segue.testing import assert_clean
from tests.processes import Arm, Server, command_line
from tests.terminal import AtTerminal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Runs a server of 30 Hz sine waves; the value is its address."""
    process = Server(tmp_path, latency_s=0.05).ready()
    yield process.address
    process.end()


@pytest.fixture
def run(tmp_path: Path, server: str) -> Iterator[Callable[..., AtTerminal]]:
    """Starts runs of a fake robot at a terminal, and ends them all."""
    started: list[AtTerminal] = []

    def start(*flags: str, background: bool = False) -> AtTerminal:
        words = ("run", f"--server_address={server}", "--robot.type=fake", "--task=wave", *flags)
        started.append(AtTerminal(words, tmp_path / "run", background))
        return started[-1]

    yield start
    for each in started:
        each.end()


def summary(run: AtTerminal) -> dict[str, Any]:
    """Returns the numbers of a run that has ended."""
    found: dict[str, Any] = json.loads((run.folder / "summary.json").read_text())
    return found


def clean(run: AtTerminal) -> None:
    """Lets the checker judge all commands of a run."""
    header, rows = read_commands(run.folder / "commands.csv")
    assert_clean(rows, header)


def test_keys_end_judge_and_begin_episodes(run: Callable[..., AtTerminal]) -> None:
    """Episodes end and begin by keys, the arm rests between them unasked, and each is in the records."""
    arm = run("--episodes=3", "--reset_time_s=3600")
    arm.shows("? shows all")
    arm.press("?")
    arm.shows("q stops, ? shows this")
    arm.waits_for("chunk", 2)
    arm.press("y")
    arm.waits_for("level", state_to="PARK")
    arm.press("\x1b[A")  # an arrow means nothing
    arm.press("n")
    arm.waits_for("episode_begins", number=2)
    arm.waits_for("level", 1, state_from="PARK", state_to="RUN")
    arm.press("n")
    arm.waits_for("episode", 2)
    arm.press("x")  # judged while the arm rests
    arm.waits_for("episode_judged", number=2, success=False)
    arm.press("n")
    arm.waits_for("level", 2, state_from="PARK", state_to="RUN")
    arm.press("y")
    assert arm.wait() == 0, arm.screen()
    found = summary(arm)
    assert found["exit_reason"] == "done"
    episodes = found["episodes"]
    assert [(e["number"], e["task"], e["success"]) for e in episodes] == [
        (1, "wave", True), (2, "wave", False), (3, "wave", True),
    ]  # fmt: skip
    assert sum(e["chunks"] for e in episodes) == found["chunks"]
    assert all(e["seconds"] > 0 for e in episodes)
    assert "episode 1 of 3: success" in arm.screen()
    assert arm.as_it_was()
    clean(arm)
    _, rows = read_commands(arm.folder / "commands.csv")
    parked = [row for row in rows if row.level is SafetyLevel.PARK]
    assert any(np.allclose(row.command, so101_model.REST_POSE) for row in parked)


def test_a_new_task_is_typed_and_asked_for(run: Callable[..., AtTerminal]) -> None:
    """A task typed in mid-run takes a new epoch; an empty line keeps it, and q ends as Ctrl-C does."""
    arm = run()
    arm.waits_for("chunk", 2)
    arm.press("t")
    arm.shows("new task")
    arm.press("fold a shart\x7f\x7f\x7firt\n")  # mended with the backspace key
    arm.waits_for("task", task="fold a shirt")
    arm.press("t")
    arm.shows("new task", 2)
    arm.press("\n")
    arm.shows("the task stays as it was")
    before = len(arm.events("chunk"))
    arm.waits_for("chunk", before + 2)
    assert arm.events("chunk")[-1]["epoch"] > arm.events("chunk")[0]["epoch"]
    arm.press("q")
    assert arm.wait() == 130, arm.screen()
    assert "stopped by SIGINT" in arm.screen()
    assert summary(arm)["episodes"] == []
    assert arm.as_it_was()
    clean(arm)


def test_ctrl_c_in_a_half_typed_task_ends_the_run(run: Callable[..., AtTerminal]) -> None:
    """Whoever presses Ctrl-C while typing gets the orderly end, and the terminal back."""
    arm = run()
    arm.waits_for("chunk", 1)
    arm.press("t")
    arm.shows("new task")
    arm.press("fold\x03")
    assert arm.wait() == 130, arm.screen()
    assert arm.as_it_was()


def test_the_terminal_is_given_back_after_a_signal(run: Callable[..., AtTerminal]) -> None:
    """A SIGTERM parks the arm in a pause, too, and leaves the terminal as it was."""
    arm = run("--episodes=2")
    arm.waits_for("chunk", 1)
    assert not arm.as_it_was()  # or the test would prove nothing
    arm.press("n")
    arm.waits_for("level", state_to="PARK")
    arm.process.send_signal(signal.SIGTERM)
    assert arm.wait() == 143, arm.screen()
    assert summary(arm)["parked"]
    assert arm.as_it_was()


def test_the_terminal_is_given_back_after_a_crash(run: Callable[..., AtTerminal]) -> None:
    """A control process that dies ends the run with 70, and the terminal is as it was."""
    arm = run()
    arm.waits_for("chunk", 1)
    children = Path(f"/proc/{arm.process.pid}/task/{arm.process.pid}/children").read_text().split()
    (control,) = (int(each) for each in children if b"segue.client.control" in command_line(int(each)))
    os.kill(control, signal.SIGKILL)
    assert arm.wait() == 70, arm.screen()
    assert arm.as_it_was()


def test_a_run_in_the_background_leaves_the_terminal_alone(run: Callable[..., AtTerminal]) -> None:
    """Keys that are meant for the shell do not stop, steer or hold up a run in the background."""
    arm = run("--duration=2", background=True)
    arm.waits_for("chunk", 1)
    arm.press("n")
    assert arm.as_it_was()
    assert arm.wait() == 0, arm.screen()
    assert arm.events("episode") == []


def test_episodes_by_the_clock_need_no_keys(run: Callable[..., AtTerminal]) -> None:
    """With a length and a time to reset, so many episodes follow each other and the run ends with 0."""
    arm = run("--episodes=2", "--episode_time_s=1.5", "--reset_time_s=0.1")
    assert arm.wait() == 0, arm.screen()
    episodes = summary(arm)["episodes"]
    assert [e["number"] for e in episodes] == [1, 2]
    assert all(e["seconds"] == pytest.approx(1.5, abs=0.2) for e in episodes)
    assert all(e["success"] is None for e in episodes)
    clean(arm)


def test_a_dry_run_writes_nothing_to_the_robot(tmp_path: Path, server: str) -> None:
    """A robot that writes down its commands has none, though chunks were executed and the arm parked."""
    robot = {"factory": "segue.testing.robots:make_fake_robot", "settings": {"log": str(tmp_path / "log")}}
    arm = Arm(tmp_path / "arm", server, factory="segue.cli.factories:make_dry", settings=robot, seconds=1.5)
    assert arm.wait() == 0, arm.words()
    arm.end()
    assert arm.summary()["chunks"] >= 1
    assert (tmp_path / "log").read_bytes() == b""


def test_a_dry_run_says_so_and_keeps_its_records(run: Callable[..., AtTerminal]) -> None:
    """A dry run is marked on the screen and in the log of commands, which the checker finds clean."""
    arm = run("--dry_run=true", "--duration=1")
    assert arm.wait() == 0, arm.screen()
    assert "DRY RUN: no command reaches the robot" in arm.screen()
    assert "DRY RUN " in next(
        line for line in arm.screen().split("\n") if " RUN " in line and "queue" in line
    )
    assert read_commands(arm.folder / "commands.csv")[0].dry_run
    clean(arm)
