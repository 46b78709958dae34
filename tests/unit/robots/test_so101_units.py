"""Limits and speeds are the same movement in every unit, and counts stay within the calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.robots.calibration import JOINT_IDS, MotorCalibration
from segue.robots.so101_units import DEG_PER_COUNT, ArmUnits
from segue.testing.servo_arm import default_calibration

CALIBRATION = default_calibration()
finite = st.floats(-1e4, 1e4)


def test_limits_of_degrees_come_from_the_calibration() -> None:
    """A joint of 2000 counts reaches 1000 counts to either side of its middle; the gripper 0 to 100."""
    wrist = MotorCalibration(4, 0, 0, 1000, 3000)
    dimensions = {d.name: d for d in ArmUnits({**CALIBRATION, "wrist_flex": wrist}).dimensions()}
    assert list(dimensions) == list(JOINT_IDS)
    assert dimensions["wrist_flex"].high == pytest.approx(1000 * 360 / 4095)
    assert dimensions["wrist_flex"].low == pytest.approx(-1000 * 360 / 4095)
    assert (dimensions["gripper"].low, dimensions["gripper"].high) == (0, 100)


def test_a_speed_is_the_same_movement_in_both_units() -> None:
    """So many degrees a second are so many counts a second, whatever the policy's unit."""
    degrees = ArmUnits(CALIBRATION, max_speed=90.0, gripper_speed=50.0).dimensions()
    others = ArmUnits(CALIBRATION, False, 90.0, 50.0).dimensions()
    for one, other in zip(degrees, others, strict=True):
        joint = CALIBRATION[one.name]
        counts = joint.range_max - joint.range_min
        expected = 90.0 / DEG_PER_COUNT if one.name != "gripper" else 0.5 * counts
        for each in (one, other):
            assert each.max_speed / (each.high - each.low) * counts == pytest.approx(expected)


@given(st.lists(finite, min_size=6, max_size=6), st.booleans(), st.integers(0, 1))
def test_counts_never_leave_the_calibrated_range(units: list[float], degrees: bool, drive_mode: int) -> None:
    """Whatever is asked for, a servo is sent to a count that its calibration allows."""
    joints = {
        name: MotorCalibration(j.id, drive_mode, j.homing_offset, j.range_min, j.range_max)
        for name, j in CALIBRATION.items()
    }
    counts = ArmUnits(joints, degrees).to_counts(units)
    for joint in joints.values():
        assert joint.range_min <= counts[joint.id] <= joint.range_max


@given(st.data(), st.booleans())
def test_a_pose_that_was_read_is_sent_back_to_within_a_count(data: st.DataObject, degrees: bool) -> None:
    """What a joint reads as is, as a target, where the joint is."""
    counts = {j.id: data.draw(st.integers(j.range_min, j.range_max)) for j in CALIBRATION.values()}
    units = ArmUnits(CALIBRATION, degrees)
    again = units.to_counts(units.to_units(counts))
    assert np.abs(np.array(list(again.values())) - list(counts.values())).max() <= 1


def test_the_ids_are_the_calibrations() -> None:
    """Counts go to the servos by the ids of the calibration, which the loader holds against the arm's."""
    moved = {**CALIBRATION, "gripper": MotorCalibration(16, 0, 0, 0, 1000)}
    units = ArmUnits(moved)
    assert list(units.ids.values()) == [1, 2, 3, 4, 5, 16]
    assert units.to_counts([0, 0, 0, 0, 0, 50])[16] == 500
