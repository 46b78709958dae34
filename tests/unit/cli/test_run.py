"""`segue run` and `segue serve` together, as real processes: what they say, leave behind and end with."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from segue.cli import build, job
from segue.cli.children import Child
from segue.cli.result import result_line
from segue.cli.run import main
from segue.cli.serve import READY
from segue.client.ending import StopSwitch
from segue.client.launch import Outcome
from segue.client.stats import RunStats
from segue.config import load_run
from segue.core.facts import ExitReason
from segue.errors import SegueError, SpecMismatch, UsageError
from segue.tools.records import RunFolder, make_run_folder, read_events, read_queue, read_summary

RUN = ("run", "--robot.type=fake", "--task=wave", "--actions_per_chunk=50")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "server.log"
    server = Child("server", ("serve", "--port=0", "--policy.path=builtin:scripted@30"), log, {})
    found = server.wait_for(READY, 60)
    assert found, server.said()
    yield found
    assert server.end(signal.SIGTERM, 30) == 128 + signal.SIGTERM


def finished(child: Child) -> int:
    """Waits for the child's own end, and ends it should it have none."""
    child.wait(60)
    return child.end(signal.SIGTERM, 30)


def moving(folder: RunFolder) -> None:
    """Waits until the run in `folder` moves its arm; returns all the same, so that it can be ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (folder.queue.exists() and ",RUN," in folder.queue.read_text()):
        time.sleep(0.05)


@pytest.mark.e2e
def test_a_run_leaves_its_records_and_repeats_from_them(tmp_path: Path, address: str) -> None:
    """A run ends with 0 and all its files, and its config.yaml repeats it elsewhere."""
    folder = RunFolder(tmp_path / "run")
    cameras = "--robot.cameras={front: {type: fake, width: 64, height: 48}}"
    words = (
        *RUN, f"--server_address={address}", cameras, "--duration=1.5", "--record_camera=front",
        f"--output_dir={folder.path}", "--debug_visualize_queue_size",
    )  # fmt: skip
    run = Child("run", words, tmp_path / "run.log", {})
    assert finished(run) == 0, run.said()
    summary = read_summary(folder)
    assert summary["exit_reason"] == "done"
    assert result_line(summary) in run.said()
    assert summary["chunks"] >= 1
    assert "chunk" in {event["event"] for event in read_events(folder)}
    assert read_queue(folder).t_s
    for path in (folder.plot, folder.frames("front")):
        assert path.stat().st_size > 0

    again = RunFolder(tmp_path / "again")
    assert load_run([f"--config_path={folder.config}"]).config.output.output_dir is None
    words = ("run", f"--config_path={folder.config}", f"--output_dir={again.path}")
    run = Child("again", words, tmp_path / "again.log", {})
    assert finished(run) == 0, run.said()
    first, second = (load_run([f"--config_path={each.config}"]).config for each in (folder, again))
    assert (first.job, first.execution, first.robot) == (second.job, second.execution, second.robot)
    assert first.execution.strategy == summary["strategy"] == "rtc"  # which was chosen
    assert json.loads(again.summary.read_text())["policy"] == summary["policy"]


@pytest.mark.e2e
def test_ctrl_c_ends_a_run_with_130(tmp_path: Path, address: str) -> None:
    """A run without an end is ended by an interrupt, says so in its records, and exits with 130."""
    folder = RunFolder(tmp_path / "run")
    words = (*RUN, f"--server_address={address}", f"--output_dir={folder.path}")
    run = Child("run", words, tmp_path / "run.log", {})
    moving(folder)
    assert run.end(signal.SIGINT, 30) == 130, run.said()
    assert re.search(r"segue run: stopped by SIGINT after [0-9.]+ s, parked", run.said())
    assert read_summary(folder)["exit_reason"] == "signalled"


def full_pipe(path: Path) -> int:
    """Makes a pipe at `path` that has room for nothing more, and returns its reading end."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with path.open("wb", buffering=0) as writer:
        os.set_blocking(writer.fileno(), False)
        while writer.write(bytes(4096)):
            continue
    return reader


@pytest.mark.e2e
def test_output_that_nobody_reads_does_not_hold_up_the_end(tmp_path: Path, address: str) -> None:
    """A run whose terminal is paused drives the arm, and ends with its code and records all the same."""
    folder = RunFolder(tmp_path / "run")
    reader = full_pipe(tmp_path / "pipe")
    words = (*RUN, f"--server_address={address}", f"--output_dir={folder.path}")
    run = Child("run", words, tmp_path / "pipe", {})
    moving(folder)
    assert run.end(signal.SIGINT, 30) == 130
    assert read_summary(folder)["exit_reason"] == "signalled"
    os.close(reader)


@pytest.mark.e2e
def test_no_server_ends_with_69_before_anything_moves(tmp_path: Path) -> None:
    """A server that does not answer is said after the offline limit, with its address."""
    nobody = ("--server_address=127.0.0.1:9", "--safety.offline_limit_s=1")
    words = (*RUN, *nobody, f"--output_dir={tmp_path / 'run'}")
    run = Child("run", words, tmp_path / "run.log", {})
    assert finished(run) == 69, run.said()
    assert "127.0.0.1:9" in run.said()
    assert "records in" not in run.said()
    assert not (tmp_path / "run").exists()


def test_a_picture_that_cannot_be_drawn_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without matplotlib the wish for a picture is refused before the robot moves."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--debug_visualize_queue_size.*segue\[report\]"):
        main(["--robot.type=fake", "--debug_visualize_queue_size", f"--output_dir={tmp_path / 'run'}"])
    assert list(tmp_path.iterdir()) == []


class Typist(io.StringIO):
    """A standard input that may be a terminal."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def fileno(self) -> int:
        return -1


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--episodes=3"], "--episodes: .*--episode_time_s, too"),
        (["--episodes=3", "--episode_time_s=9"], "--episode_time_s: .*--reset_time_s, too"),
        (["--episode_time_s=9"], "--episode_time_s: .*--reset_time_s, too"),
        (["--episodes=1", "--episode_time_s=9"], None),
        (["--episodes=3", "--episode_time_s=9", "--reset_time_s=0"], None),
    ],
)
def test_episodes_that_wait_for_a_key_need_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], says: str | None
) -> None:
    """Where nobody can press a key, a run that would wait for one is refused; at a terminal it is not."""
    refuse(monkeypatch, SegueError("went on"))
    words = ["--robot.type=fake", *flags, f"--output_dir={tmp_path / 'run'}"]
    monkeypatch.setattr(sys, "stdin", Typist(is_terminal=False))
    with pytest.raises(SegueError, match=says or "went on"):
        main(words)
    monkeypatch.setattr(sys, "stdin", Typist(is_terminal=True))
    with pytest.raises(SegueError, match="went on"):
        main(words)


def test_a_wrong_flag_leaves_no_folder(tmp_path: Path) -> None:
    """What is refused leaves nothing behind."""
    for flag in ("--fps=-1", "--record_camera=front", "--episodes=3"):
        with pytest.raises(UsageError):
            main(["--robot.type=fake", flag, f"--output_dir={tmp_path / 'run'}"])
    assert list(tmp_path.iterdir()) == []


def refuse(monkeypatch: pytest.MonkeyPatch, error: SegueError) -> None:
    def run(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(build, "run", run)


def test_signals_are_heeded_from_the_first_moment_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes before the run begins stops it, and what comes while its records are closed ends nothing."""
    seen: list[int] = []

    def run(*_: object, stop: StopSwitch, **__: object) -> Outcome:
        seen.append(stop.asked)
        return Outcome(143, ExitReason.SIGNALLED, "", RunStats((), 100.0).summary("signalled"), None)

    def made(path: Path | None, now: datetime) -> RunFolder:
        signal.raise_signal(signal.SIGTERM)
        return make_run_folder(path, now)

    def sentence(*_: object) -> str:
        signal.raise_signal(signal.SIGTERM)
        return "ended"

    monkeypatch.setattr(build, "run", run)
    monkeypatch.setattr(job, "make_run_folder", made)
    monkeypatch.setattr(job, "end_sentence", sentence)
    assert main(["--robot.type=fake", "--duration=1", f"--output_dir={tmp_path / 'out'}"]) == 143
    assert seen == [1]


def test_a_run_that_never_began_leaves_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder made for nothing goes again; one that was there stays, with all that is in it."""
    refuse(monkeypatch, SegueError("no"))
    there = tmp_path / "there"
    there.mkdir()
    (there / "notes.txt").write_text("mine")
    for folder in (there, tmp_path / "new"):
        with pytest.raises(SegueError):
            main(["--robot.type=fake", f"--output_dir={folder}"])
    assert list(tmp_path.iterdir()) == [there]
    assert (there / "notes.txt").read_text() == "mine"
    assert "records in" not in capsys.readouterr().out


def test_a_full_folder_given_by_a_flag_is_a_wrong_flag(tmp_path: Path) -> None:
    """The records of another run are not touched, and the flag is blamed."""
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UsageError, match=r"--output_dir: .*another folder"):
        main(["--robot.type=fake", f"--output_dir={tmp_path}"])
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_fake_robot_at_another_policy_is_told_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal of a rehearsal names the policy that it needs."""
    refuse(monkeypatch, SpecMismatch(["camera top is missing"]))
    with pytest.raises(SpecMismatch, match=r"camera top is missing; .*builtin:scripted@30"):
        main(["--robot.type=fake", f"--output_dir={tmp_path / 'run'}"])
