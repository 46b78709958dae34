"""The emulated arm is calibrated as LeRobot would, and stands where the simulated arm rests."""

from __future__ import annotations

import numpy as np
import pytest

from segue.robots import so101_model
from segue.robots import sts3215 as sts
from segue.robots.calibration import JOINT_IDS, Scale
from segue.testing.servo_arm import counts_of, default_calibration, so101_servos


def test_its_own_calibration_is_one_that_an_arm_can_have() -> None:
    """Ids are LeRobot's, ranges lie within a turn around its middle, offsets fit their register."""
    calibration = default_calibration()
    assert {name: each.id for name, each in calibration.items()} == dict(JOINT_IDS)
    for each in calibration.values():
        assert 0 <= each.range_min < 2047 < each.range_max <= 4095
        assert each.range_min + each.range_max in (4094, 4095)
        sts.HOMING_OFFSET.encode(each.homing_offset)
    assert len({each.homing_offset for each in calibration.values()}) == 6


def test_it_begins_in_the_rest_pose() -> None:
    """Converted as LeRobot does, its counts are the rest pose to half a count."""
    calibration = default_calibration()
    counts = [servo.present() for servo in so101_servos()]
    assert counts == counts_of(so101_model.REST_POSE, calibration)
    units = [
        Scale("percent" if name == "gripper" else "deg", calibration[name]).to_units(count)
        for name, count in zip(so101_model.NAMES, counts, strict=True)
    ]
    assert np.abs(np.array(units) - so101_model.REST_POSE).max() < 0.1


def test_a_pose_beyond_the_range_ends_at_it() -> None:
    """Counts never leave the range of the calibration."""
    calibration = default_calibration()
    far = counts_of(np.full(6, 500.0), calibration)
    assert far == [each.range_max for each in calibration.values()]


def test_a_calibration_without_a_joint_is_refused() -> None:
    """Five joints are no arm."""
    calibration = dict(default_calibration())
    del calibration["gripper"]
    with pytest.raises(KeyError, match="gripper"):
        so101_servos(calibration)
