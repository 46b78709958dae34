from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "training" / "record.py"


def record(out: Path, seed: int) -> dict[str, np.ndarray]:
    command = [sys.executable, str(SCRIPT), "--episodes", "1", "--seed", str(seed), "--out", str(out)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    with np.load(out) as data:
        return {name: data[name] for name in data.files}


@pytest.mark.e2e
def test_one_command_records_repeatable_demonstrations(tmp_path: Path) -> None:
    """The file has the four arrays, many starts amid trouble, and is the same again for the same seed."""
    data = record(tmp_path / "a.npz", seed=1)
    steps = len(data["action"])
    assert steps > 500
    assert {name: values.shape[1:] for name, values in data.items()} == {
        "state": (6,),
        "environment": (15,),
        "action": (6,),
        "episode_start": (),
    }
    assert all(len(values) == steps and np.isfinite(values).all() for values in data.values())
    assert data["episode_start"].sum() >= 4
    again = record(tmp_path / "b.npz", seed=1)
    for name, values in data.items():
        np.testing.assert_array_equal(again[name], values)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]
