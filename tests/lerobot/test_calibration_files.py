"""A calibration is made on one side and used on the other."""

from __future__ import annotations

import importlib
import os
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import huggingface_hub.constants
import lerobot.utils.constants
import pytest
from lerobot.robots.so_follower import SO101Follower

from segue.clock import SystemClock
from segue.robots import sts3215
from segue.robots.calibration import (
    FOLDERS,
    Calibration,
    calibration_places,
    find_calibration,
    load_calibration,
    save_calibration,
)
from segue.robots.feetech import ServoBus
from segue.robots.so101 import open_port
from segue.testing import FeetechBus
from segue.testing.servo import Servo
from segue.testing.servo_shaft import FreeShaft
from segue.tools.calibrate import calibrated as calibrate
from tests.lerobot.arms import CALIBRATIONS, FILE, ID, JOINTS, connected, emulated, emulated_arm, lerobot_arm
from tests.lerobot.operator import AtLeRobot, AtSegue, Hand

pytestmark = pytest.mark.lerobot

# By hand: the arm's middle as the factory counts, and how far each joint then goes.
MIDDLE = {
    "shoulder_pan": 3001,
    "shoulder_lift": 1024,
    "elbow_flex": 2048,
    "wrist_flex": 77,
    "wrist_roll": 4000,
    "gripper": 2500,
}
LOWEST = dict(zip(JOINTS, (700, 800, 900, 1000, 1100, 2000), strict=True))
HIGHEST = dict(zip(JOINTS, (3300, 3201, 3102, 3003, 2904, 3500), strict=True))
WAYS = (LOWEST, dict.fromkeys(JOINTS, 2047), HIGHEST)


def new_arm() -> FeetechBus:
    """Returns the bus of an arm as it was put together: no offset, no limits, no calibration."""
    return emulated([Servo(name, number, FreeShaft(2000.0)) for number, name in enumerate(JOINTS, 1)])


@pytest.fixture
def calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SO101Follower:
    """LeRobot's driver after its own calibration of a new arm."""
    with new_arm() as bus, monkeypatch.context() as terminal:
        arm = lerobot_arm(bus, tmp_path)
        person = AtLeRobot(Hand(bus, MIDDLE, WAYS), terminal)
        # No file is there, so connecting calibrates.
        with connected(arm):
            assert arm.is_calibrated
        person.leave()
    return arm


def test_segue_reads_what_lerobot_calibrated(calibrated: SO101Follower) -> None:
    """The file of LeRobot's calibration is read by Segue number for number, as the hand moved the arm."""
    found = load_calibration(calibrated.calibration_fpath)
    assert {name: asdict(each) for name, each in found.items()} == {
        name: vars(each) for name, each in calibrated.calibration.items()
    }
    for name, each in found.items():
        whole = name == "wrist_roll"
        assert each.homing_offset == MIDDLE[name] - 2047
        assert each.range_min == (0 if whole else LOWEST[name])
        assert each.range_max == (4095 if whole else HIGHEST[name])


def test_segue_writes_the_file_as_lerobot_does(calibrated: SO101Follower, tmp_path: Path) -> None:
    """A calibration that LeRobot saved and Segue saves again has the same bytes."""
    theirs = calibrated.calibration_fpath
    ours = tmp_path / "again" / FILE
    save_calibration(ours, load_calibration(theirs))
    assert ours.read_bytes() == theirs.read_bytes()


def test_both_calibrations_agree(calibrated: SO101Follower, tmp_path: Path) -> None:
    """An arm that is moved by the same hand gets the same file from Segue's calibration, byte for byte."""
    ours = tmp_path / "ours"
    with new_arm() as bus:
        with (
            closing(ServoBus(open_port(bus.port), SystemClock())) as servos,
            calibrate(servos, AtSegue(Hand(bus, MIDDLE, WAYS))) as found,
        ):
            save_calibration(ours / FILE, found)
        arm = lerobot_arm(bus, ours)
        arm.connect(calibrate=False)
        assert arm.is_calibrated
        arm.disconnect()
    assert (ours / FILE).read_bytes() == calibrated.calibration_fpath.read_bytes()


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_lerobot_loads_what_segue_saved(name: str, tmp_path: Path) -> None:
    """LeRobot loads a file of Segue's, finds its arm calibrated by it, and saves the same bytes again."""
    calibration: Calibration = CALIBRATIONS[name]
    save_calibration(tmp_path / FILE, calibration)
    with emulated_arm(name) as bus:
        arm = lerobot_arm(bus, tmp_path)
        arm.connect(calibrate=False)
        assert arm.is_calibrated
        arm.disconnect()
    arm._save_calibration(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / FILE).read_bytes()


def test_lerobot_sees_another_arms_registers(folder: Path) -> None:
    """LeRobot refuses a file of Segue's when one register of the arm differs by one count."""
    with emulated_arm() as bus:
        servo = bus.servo("elbow_flex")
        servo.set(sts3215.HOMING_OFFSET, servo.get(sts3215.HOMING_OFFSET) + 1)
        arm = lerobot_arm(bus, folder)
        arm.connect(calibrate=False)
        assert not arm.is_calibrated
        arm.disconnect()


PLACES = {
    "HF_LEROBOT_CALIBRATION": "somewhere/calibrations",
    "HF_LEROBOT_HOME": "lerobot",
    "HF_HOME": "face",
    "XDG_CACHE_HOME": "cache",
    "HOME": "home",
}


@pytest.mark.parametrize("moved", PLACES)
def test_both_look_in_the_same_folder(moved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable that moves LeRobot's calibrations moves them for Segue to the same place."""
    with monkeypatch.context() as patched:
        for name in PLACES:
            if name != "HOME":
                patched.delenv(name, raising=False)
        patched.setenv(moved, str(tmp_path / PLACES[moved]))
        importlib.reload(huggingface_hub.constants)
        constants = importlib.reload(lerobot.utils.constants)
        theirs = constants.HF_LEROBOT_CALIBRATION / constants.ROBOTS / SO101Follower.name / FILE
        assert calibration_places("so101_follower", ID, None, os.environ)[0] == theirs
    importlib.reload(huggingface_hub.constants)
    importlib.reload(lerobot.utils.constants)


@pytest.mark.parametrize("name", FOLDERS)
def test_segue_finds_files_of_every_year(name: str, tmp_path: Path, bus: FeetechBus) -> None:
    """A file that a LeRobot of now or of before January 2026 left in its folder is the one Segue finds."""
    folder = tmp_path / "robots" / name
    folder.mkdir(parents=True)
    arm = lerobot_arm(bus, folder)
    arm.connect(calibrate=False)
    arm.calibration = arm.bus.read_calibration()
    arm._save_calibration()
    arm.disconnect()
    found = find_calibration("so101_follower", ID, None, {"HF_LEROBOT_CALIBRATION": str(tmp_path)})
    assert found == arm.calibration_fpath
    assert load_calibration(found) == CALIBRATIONS["usual"]
