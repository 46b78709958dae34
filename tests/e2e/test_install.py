"""What a robot's small computer has to take in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from segue.cli.bench import MOST_ARM_MB, MOST_CORE_MB
from segue.tools.bench import installed

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]


def test_a_real_arm_needs_little_and_no_torch() -> None:
    """In an empty environment the core takes 150 MB, what an arm needs 200 more, and torch is not there."""
    project = Path(__file__).parents[2]
    try:
        found = installed(project, project / "constraints.txt")
    except subprocess.CalledProcessError as error:
        pytest.skip(
            f"nothing can be installed here: {error.stderr.decode()[-200:] if error.stderr else error}"
        )
    assert found.core_mb <= MOST_CORE_MB
    assert found.arm_mb <= MOST_ARM_MB
    assert "torch" not in found.packages
    assert "pyserial" in found.packages
