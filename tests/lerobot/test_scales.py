"""Counts and units are converted by LeRobot's own functions and by Segue's."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from lerobot.motors import MotorNormMode

from segue.robots.calibration import Scale, Unit, save_calibration
from segue.robots.sts3215 import COUNTS_PER_TURN
from segue.testing import FeetechBus
from tests.lerobot.arms import CALIBRATIONS, FILE, lerobot_arm

pytestmark = pytest.mark.lerobot

UNITS: dict[Unit, MotorNormMode] = {
    "deg": MotorNormMode.DEGREES,
    "normalized": MotorNormMode.RANGE_M100_100,
    "percent": MotorNormMode.RANGE_0_100,
}
every_arm = pytest.mark.parametrize("name", CALIBRATIONS)
every_unit = pytest.mark.parametrize("unit", UNITS)


@every_arm
@every_unit
def test_counts_become_the_same_units(name: str, unit: Unit, bus: FeetechBus, tmp_path: Path) -> None:
    """Each of the 4096 counts of each joint is the same float on both sides, and so is one beyond a turn."""
    save_calibration(tmp_path / FILE, CALIBRATIONS[name])
    theirs = lerobot_arm(bus, tmp_path).bus
    for joint, each in CALIBRATIONS[name].items():
        theirs.motors[joint].norm_mode = UNITS[unit]
        scale = Scale(unit, each)
        for count in range(-COUNTS_PER_TURN, 2 * COUNTS_PER_TURN):
            assert scale.to_units(count) == theirs._normalize({each.id: count})[each.id], (joint, count)


@every_arm
@every_unit
def test_units_become_the_same_counts(name: str, unit: Unit, bus: FeetechBus, tmp_path: Path) -> None:
    """What a policy says becomes the same count on both sides: drawn numbers, and each count's own unit."""
    save_calibration(tmp_path / FILE, CALIBRATIONS[name])
    theirs = lerobot_arm(bus, tmp_path).bus
    dice = random.Random(unit)
    for joint, each in CALIBRATIONS[name].items():
        theirs.motors[joint].norm_mode = UNITS[unit]
        scale = Scale(unit, each)
        drawn = [dice.uniform(-200.0, 200.0) for _ in range(5000)]
        for value in [*drawn, *map(scale.to_units, range(COUNTS_PER_TURN))]:
            assert scale.to_counts(value) == theirs._unnormalize({each.id: value})[each.id], (joint, value)
