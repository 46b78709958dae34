"""LeRobot's own code, unmodified, and Segue's, one after the other on the same emulated arm.

These tests run where LeRobot is installed: `make test-lerobot` makes such an
environment. Anywhere else pytest does not see them.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from segue.testing import FeetechBus

collect_ignore_glob = [] if importlib.util.find_spec("lerobot") else ["test_*.py"]
# Nothing is looked up at a hub.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture
def bus() -> Iterator[FeetechBus]:
    """An arm at rest, whose registers hold `arms.CALIBRATIONS["usual"]`."""
    from tests.lerobot.arms import emulated_arm

    with emulated_arm() as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of calibrations with that of `bus` in arm.json."""
    from segue.robots.calibration import save_calibration
    from tests.lerobot.arms import CALIBRATIONS, FILE

    save_calibration(tmp_path / FILE, CALIBRATIONS["usual"])
    return tmp_path
