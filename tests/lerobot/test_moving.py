"""LeRobot and Segue read and drive the same emulated arm, one after the other."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from segue.robots import so101_follow, so101_pose, sts3215
from segue.robots.calibration import save_calibration
from segue.robots.goals import GoalLimit
from segue.robots.so101 import SO101
from segue.testing import FeetechBus
from tests.lerobot.arms import (
    CALIBRATIONS,
    FILE,
    JOINTS,
    connected,
    emulated_arm,
    fresh,
    lerobot_arm,
    place,
    poses,
    segue_arm,
)
from tests.processes import wait_until

pytestmark = pytest.mark.lerobot

every_arm = pytest.mark.parametrize("name", CALIBRATIONS)
both_units = pytest.mark.parametrize("degrees", [True, False], ids=["degrees", "normalized"])

Goals = Mapping[int, int]


@pytest.fixture(autouse=True)
def _without_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets poses and targets be as far apart as no motor could go: numbers are compared here, not motion."""
    monkeypatch.setattr(so101_follow, "REACH_COUNTS", 100_000)
    monkeypatch.setattr(so101_pose, "PLAY_COUNTS", 100_000)
    monkeypatch.setattr(GoalLimit, "within", lambda self, wanted: wanted)


@every_arm
@both_units
def test_both_read_the_same_positions(name: str, degrees: bool, tmp_path: Path) -> None:
    """Segue's state is LeRobot's observation, float for float, within each range and beyond."""
    calibration = CALIBRATIONS[name]
    save_calibration(tmp_path / FILE, calibration)
    places = poses(calibration)
    theirs, ours = [], []
    with emulated_arm(name) as bus:
        with connected(lerobot_arm(bus, tmp_path, degrees)) as arm:
            assert arm.is_calibrated
            for pose in places:
                place(bus, pose)
                observation = arm.get_observation()
                theirs.append([observation[f"{joint}.pos"] for joint in JOINTS])
        # The first pose lies within every range; without torque the hand has no opponent.
        place(bus, places[0])
        with connected(segue_arm(bus, calibration, degrees, dry_run=True)) as arm:
            for pose in places:
                place(bus, pose)
                ours.append(fresh(arm).state.tolist())
    assert ours == theirs


@every_arm
@both_units
def test_both_send_the_same_goals(name: str, degrees: bool, tmp_path: Path) -> None:
    """A target becomes the same counts in Goal_Position, whoever sends it."""
    calibration = CALIBRATIONS[name]
    save_calibration(tmp_path / FILE, calibration)
    with emulated_arm(name) as bus:
        targets = _targets(segue_arm(bus, calibration, degrees), degrees)
        with connected(lerobot_arm(bus, tmp_path, degrees)) as arm:
            before = len(bus.writes)
            for target in targets:
                arm.send_action({f"{joint}.pos": value for joint, value in zip(JOINTS, target, strict=True)})
            theirs = _heard(bus, before, len(targets))
        with connected(segue_arm(bus, calibration, degrees)) as arm:
            before = len(bus.writes)
            for target in targets:
                arm.write(np.array(target), 0)
            ours = _heard(bus, before, len(targets))
    assert ours == theirs


def _targets(arm: SO101, degrees: bool) -> list[list[float]]:
    """Returns both ends of each range and 100 drawn targets, also beyond the ends where LeRobot clamps."""
    action = arm.spec.action
    low, high = action.array("low"), action.array("high")
    dice = random.Random(7)
    beyond = 0.0 if degrees else 40.0
    drawn = [
        [dice.uniform(least - beyond, most + beyond) for least, most in zip(low, high, strict=True)]
        for _ in range(100)
    ]
    return [low.tolist(), high.tolist(), *drawn]


def _heard(bus: FeetechBus, before: int, targets: int) -> list[Goals]:
    """Waits for the goals of so many targets, and returns them as the servos heard them."""
    expected = targets * len(JOINTS)
    wait_until(lambda: len(bus.writes) >= before + expected, f"the servos have heard {targets} targets")
    heard = bus.writes[before : before + expected]
    assert {write.register for write in heard} == {sts3215.GOAL_POSITION.name}
    goals = [(write.servo, write.value) for write in heard]
    return [dict(goals[start : start + len(JOINTS)]) for start in range(0, expected, len(JOINTS))]
