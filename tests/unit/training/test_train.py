from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segue.policies.flow import load_flow_policy
from segue.robots.mujoco import SimSO101

SCRIPT = Path(__file__).parents[3] / "training" / "train.py"


def write_recording(path: Path, environment: int) -> Path:
    """Writes 400 steps of slow waves in two episodes, shaped like a recording of the belt."""
    waves = np.sin(np.arange(400)[:, None] / 20 + np.arange(6)) * 30
    start = np.zeros(400, dtype=np.bool_)
    start[[0, 200]] = True
    np.savez(
        path, state=waves, environment=np.ones((400, environment)), action=waves + 1, episode_start=start
    )
    return path


def train(data: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--out", str(out), "--steps", "20"]
    return subprocess.run(command, check=False, timeout=120, capture_output=True, text=True)


@pytest.mark.e2e
def test_training_writes_the_same_loadable_policy_twice(tmp_path: Path) -> None:
    """One recording and seed give one file, whose policy is the robot's in joints and environment."""
    spec = SimSO101().spec
    data = write_recording(tmp_path / "data.npz", len(spec.observation.environment))
    for name in ("a", "b"):
        done = train(data, tmp_path / f"{name}.safetensors")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    policy = load_flow_policy(tmp_path / "a.safetensors", "cpu")
    assert policy.spec.observation.environment == spec.observation.environment
    assert policy.spec.action.names == spec.action.names
    # 200 steps of an episode hold 151 whole chunks of 50; none may reach into the next episode.
    assert "302 chunks" in done.stdout


@pytest.mark.e2e
def test_recording_of_another_robot_is_refused(tmp_path: Path) -> None:
    """A recording with other numbers than the robot shows is refused before any training."""
    done = train(write_recording(tmp_path / "data.npz", environment=3), tmp_path / "out.safetensors")
    assert done.returncode != 0
    assert "9 numbers are seen" in done.stderr
    assert not (tmp_path / "out.safetensors").exists()
