"""`segue replay` as real processes: a run is recorded, and an arm follows it at another pace."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.cli.children import Child
from segue.client.commands import read_commands
from segue.core.types import FloatArray
from segue.core.watchdog import SafetyLevel
from segue.robots import so101_model
from segue.testing import assert_clean
from segue.testing.servo_arm import default_calibration
from tests.processes import Emulator, Server, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Records three seconds of sine waves and returns the run's folder; the server is gone."""
    server = Server(tmp_path, latency_s=0.05).ready()
    words = ("run", "--robot.type=fake", f"--server_address={server.address}", "--duration=3")
    try:
        done(words, tmp_path / "recorded")
    finally:
        server.end()
    return tmp_path / "recorded"


def done(words: Sequence[str], folder: Path, code: int = 0) -> str:
    """Runs `segue` to its end, which must be of that code, and returns what it said."""
    child = Child("segue", [*words, f"--output_dir={folder}"], folder.with_suffix(".log"), {})
    child.wait(120)
    assert child.end(signal.SIGINT, 30) == code, child.said()
    return child.said()


def path(folder: Path) -> tuple[FloatArray, FloatArray]:
    """Returns when (s) and where the arm of a clean run was told to be while a plan was executed."""
    header, rows = read_commands(folder / "commands.csv")
    assert_clean(rows, header)
    moving = [row for row in rows if row.level < SafetyLevel.HOLD]
    first = next(i for i, row in enumerate(moving) if row.step is not None)
    t_s = np.array([row.t_ns for row in moving[first:]]) / 1e9
    return t_s - t_s[0], np.array([row.command for row in moving[first:]])


def along(path: FloatArray) -> FloatArray:
    """Returns 400 points of a path, the same way apart from each other."""
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    even = np.linspace(0.0, way[-1], 400)
    return np.stack([np.interp(even, way, joint) for joint in path.T], axis=1)


def summary(folder: Path) -> dict[str, Any]:
    """Returns the numbers of a run."""
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def test_a_replay_follows_the_recording_at_half_its_pace(recorded: Path, tmp_path: Path) -> None:
    """At half speed the arm goes the same way in twice the time, parks, and ends with 0."""
    said = done(("replay", f"--run={recorded}", "--robot.type=fake"), tmp_path / "replayed")
    t_then, then = path(recorded)
    t_now, now = path(tmp_path / "replayed")
    # Before the way begins the arm goes slowly to where it began.
    start = int(np.argmin(np.linalg.norm(now - then[0], axis=1)))
    assert t_now[-1] - t_now[start] == pytest.approx(2 * t_then[-1], rel=0.1)
    np.testing.assert_allclose(along(now[start:]), along(then), atol=0.5)  # of some 40 degrees
    fastest = np.abs(np.diff(now, axis=0)).max(axis=0)
    assert (fastest <= 0.6 * np.abs(np.diff(then, axis=0)).max(axis=0)).all()
    assert summary(tmp_path / "replayed")["exit_reason"] == "done"
    assert np.allclose(
        read_commands(tmp_path / "replayed" / "commands.csv")[1][-1].command, so101_model.REST_POSE
    )
    assert "records in" in said


def test_a_replay_can_be_repeated_from_its_records(recorded: Path, tmp_path: Path) -> None:
    """The config.yaml of a replay replays again, here as a dry run."""
    done(("replay", f"--run={recorded}", "--robot.type=fake", "--speed=1"), tmp_path / "first")
    words = ("replay", f"--config_path={tmp_path / 'first' / 'config.yaml'}", "--dry_run=true")
    assert "DRY RUN" in done(words, tmp_path / "second")
    assert path(tmp_path / "second")[0][-1] == pytest.approx(path(tmp_path / "first")[0][-1], rel=0.1)


def test_an_arm_on_its_bus_is_replayed_but_not_in_a_dry_run(recorded: Path, tmp_path: Path) -> None:
    """The servos of an emulated arm get no register written in a dry run, and their goals in a replay."""
    (tmp_path / "arm.json").write_text(json.dumps({n: asdict(m) for n, m in default_calibration().items()}))
    emulator = Emulator(tmp_path)
    flags = ("type=so101_follower", f"port={emulator.port}", "id=arm", f"calibration_dir={tmp_path}")
    words = ("replay", f"--run={recorded}", *(f"--robot.{flag}" for flag in flags))
    try:
        done((*words, "--dry_run=true", "--speed=1"), tmp_path / "dry")
        assert emulator.writes() == []
        done((*words, "--speed=1"), tmp_path / "moved")
        assert len(emulator.writes("Goal_Position")) > 100
    finally:
        emulator.end()
    for each in ("dry", "moved"):
        path(tmp_path / each)  # judges it


def test_a_signal_parks_a_replay(recorded: Path, tmp_path: Path) -> None:
    """A replay that is interrupted parks the arm and ends with 130, like any run."""
    folder = tmp_path / "replayed"
    words = ("replay", f"--run={recorded}", "--robot.type=fake", "--speed=0.05", f"--output_dir={folder}")
    child = Child("replay", words, tmp_path / "log", {})
    queue = folder / "queue.csv"
    wait_until(lambda: queue.exists() and ",RUN," in queue.read_text(), "the arm moves")
    assert child.end(signal.SIGINT, 30) == 130, child.said()
    assert summary(folder)["parked"]


def test_an_arm_with_other_joints_is_refused_with_both_lists(recorded: Path, tmp_path: Path) -> None:
    """A recording of another arm is refused with 76 before anything moves, and names both arms' joints."""
    log = recorded / "commands.csv"
    log.write_text(log.read_text().replace("shoulder_pan", "hip"))
    said = done(("replay", f"--run={recorded}", "--robot.type=fake"), tmp_path / "replayed", 76)
    assert "hip" in said
    assert "shoulder_pan" in said
    assert not (tmp_path / "replayed").exists()
