"""A range that a joint cannot go through is doubted, and every one that an arm was found to have is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.robots.calibration import JOINT_IDS, Calibration, MotorCalibration
from segue.robots.so101_ranges import wide_ranges
from segue.testing.servo_arm import default_calibration

# Arms whose owners published them: pan, lift, elbow, wrist, roll, gripper.
PUBLISHED = (
    ((865, 3280), (817, 3361), (852, 3047), (824, 3167), (0, 4095), (1973, 3449)),
    ((743, 3458), (915, 3273), (154, 2334), (805, 3142), (66, 3894), (1456, 2901)),
    ((746, 3412), (885, 3198), (907, 3103), (771, 3073), (143, 3972), (2045, 3492)),
    ((974, 3369), (820, 3231), (910, 3122), (920, 3228), (0, 4095), (1532, 2772)),
)


def arm(ranges: tuple[tuple[int, int], ...]) -> Calibration:
    """Returns a calibration with these ranges."""
    joints = zip(JOINT_IDS.items(), ranges, strict=True)
    return {name: MotorCalibration(servo, 0, 0, low, high) for (name, servo), (low, high) in joints}


@pytest.mark.parametrize("ranges", PUBLISHED)
def test_arms_that_are_there_are_not_doubted(ranges: tuple[tuple[int, int], ...]) -> None:
    """Real arms turn a little further than their drawing, and that is no news."""
    assert wide_ranges(arm(ranges)) == ()
    assert wide_ranges(default_calibration()) == ()


@pytest.mark.parametrize("name", JOINT_IDS)
def test_the_whole_counter_is_the_range_of_one_joint_alone(name: str) -> None:
    """Only the wrist's roll has no stop; of another joint its width, its reach and the remedy are said."""
    whole = {**default_calibration()}
    whole[name] = replace(whole[name], range_min=0, range_max=4095)
    said = wide_ranges(whole)
    if name == "wrist_roll":
        assert said == ()
        return
    (sentence,) = said
    assert sentence.startswith(f"{name}: range_min=0 and range_max=4095 are 360° apart, and it turns about ")
    assert "`segue calibrate` finds it anew" in sentence


def test_every_joint_that_is_too_wide_is_named() -> None:
    """One sentence each, in the order of the arm."""
    said = wide_ranges(arm(((5, 4000),) * 6))
    assert [each.split(":")[0] for each in said] == [name for name in JOINT_IDS if name != "wrist_roll"]
