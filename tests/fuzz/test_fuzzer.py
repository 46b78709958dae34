"""The coverage-guided fuzzer itself: a few seconds of every target, and that it notices a broken promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .run import ROOT

pytest.importorskip("atheris", reason="atheris has wheels for Linux on x86-64 only")


# Python runs this at its start: sides may be as long as they like, and bytes are not counted.
BROKEN = """
import math
import segue.wire.version as version
version.MAX_TENSOR_SIDE = 1 << 70
math.prod = lambda shape: 0
"""


def fuzz(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=280, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.slow
def test_a_few_seconds_of_every_target_find_nothing(tmp_path: Path) -> None:
    """All targets run for some seconds without a finding, and each executes inputs."""
    done = fuzz("--seconds=32", f"--corpus={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert all(int(line.split()[1]) > 50 for line in lines), done.stdout


@pytest.mark.slow
def test_a_broken_promise_is_found_and_its_input_is_named(tmp_path: Path) -> None:
    """With a tensor that may be one number long at most, the fuzzer ends with 1 and the path of an input."""
    broken = tmp_path / "broken" / "sitecustomize.py"
    broken.parent.mkdir()
    broken.write_text(BROKEN)
    done = fuzz("--seconds=20", "--target=tensor", f"--corpus={tmp_path}", PYTHONPATH=str(broken.parent))
    assert done.returncode == 1, done.stdout + done.stderr
    named = done.stdout.split("BROKEN by ")[1].split()[0]
    assert Path(named).is_file()
