"""`segue run` and `segue serve` together, as real processes: what they say, leave behind and end with."""

from __future__ import annotations

import importlib.util
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.cli.children import Child
from segue.cli.run import main
from segue.cli.serve import READY
from segue.config import load_run
from segue.errors import ConfigError, UsageError
from segue.tools.records import RunFolder, read_events, read_queue, read_summary

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
    assert summary["chunks"] >= 1
    assert "chunk" in {event["event"] for event in read_events(folder)}
    assert read_queue(folder).t_s
    for path in (folder.plot, folder.frames("front")):
        assert path.stat().st_size > 0

    again = RunFolder(tmp_path / "again")
    words = ("run", f"--config_path={folder.config}", f"--output_dir={again.path}")
    run = Child("again", words, tmp_path / "again.log", {})
    assert finished(run) == 0, run.said()
    first, second = (load_run([f"--config_path={each.config}"]).config for each in (folder, again))
    assert (first.job, first.execution, first.robot) == (second.job, second.execution, second.robot)
    assert json.loads(again.summary.read_text())["policy"] == summary["policy"]


@pytest.mark.e2e
def test_ctrl_c_ends_a_run_with_130(tmp_path: Path, address: str) -> None:
    """A run without an end is ended by an interrupt, says so in its records, and exits with 130."""
    folder = RunFolder(tmp_path / "run")
    words = (*RUN, f"--server_address={address}", f"--output_dir={folder.path}")
    run = Child("run", words, tmp_path / "run.log", {})
    moving = time.monotonic() + 60
    while time.monotonic() < moving and not (folder.queue.exists() and ",RUN," in folder.queue.read_text()):
        time.sleep(0.05)
    assert run.end(signal.SIGINT, 30) == 130, run.said()
    assert read_summary(folder)["exit_reason"] == "signalled"


@pytest.mark.e2e
def test_no_server_ends_with_69_before_anything_moves(tmp_path: Path) -> None:
    """A server that does not answer is said after the offline limit, with its address."""
    nobody = ("--server_address=127.0.0.1:9", "--safety.offline_limit_s=1")
    words = (*RUN, *nobody, f"--output_dir={tmp_path / 'run'}")
    run = Child("run", words, tmp_path / "run.log", {})
    assert finished(run) == 69, run.said()
    assert "127.0.0.1:9" in run.said()


def test_a_picture_that_cannot_be_drawn_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without matplotlib the wish for a picture is refused before the robot moves."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"debug_visualize_queue_size.*segue\[report\]"):
        main(["--robot.type=fake", "--debug_visualize_queue_size", f"--output_dir={tmp_path / 'run'}"])
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_flag_leaves_no_folder(tmp_path: Path) -> None:
    """What is refused leaves nothing behind."""
    with pytest.raises(UsageError):
        main(["--robot.type=fake", "--fps=-1", f"--output_dir={tmp_path / 'run'}"])
    assert list(tmp_path.iterdir()) == []
