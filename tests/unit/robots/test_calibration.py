"""LeRobot's calibration: its file letter for letter, its units bit for bit, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.errors import ConfigError
from segue.robots.calibration import (
    JOINT_IDS,
    LEAST_RANGE,
    Calibration,
    MotorCalibration,
    Scale,
    Unit,
    calibration_places,
    calibration_root,
    differing_copy,
    find_calibration,
    load_calibration,
    save_calibration,
)

UNITS: tuple[Unit, ...] = ("deg", "normalized", "percent")
JOINT = MotorCalibration(1, 0, -41, 764, 3431)
ARM: Calibration = {
    name: MotorCalibration(servo, 0, 100 * servo - 300, 700 + servo, 3000 + servo)
    for name, servo in JOINT_IDS.items()
}
# Typed as LeRobot 0.6 leaves it on the disk: four blanks, no newline at the end.
ONE_JOINT = """    "gripper": {
        "id": 6,
        "drive_mode": 0,
        "homing_offset": 300,
        "range_min": 706,
        "range_max": 3006
    }
}"""


def lerobot_units(counts: float, joint: MotorCalibration, unit: Unit) -> float:
    """Returns what LeRobot says, told anew from its definition."""
    span = joint.range_max - joint.range_min
    inside = sorted((joint.range_min, counts, joint.range_max))[1]
    if unit == "deg":
        return (counts - (joint.range_min + joint.range_max) / 2) * 360 / 4095
    if unit == "percent":
        percent = (inside - joint.range_min) / span * 100
        return 100 - percent if joint.drive_mode == 1 else percent
    normalized = (inside - joint.range_min) / span * 200 - 100
    return -normalized if joint.drive_mode == 1 else normalized


def lerobot_counts(units: float, joint: MotorCalibration, unit: Unit) -> int:
    """Returns what LeRobot sends, told anew from its definition."""
    span = joint.range_max - joint.range_min
    if unit == "deg":
        return int(units * 4095 / 360 + (joint.range_min + joint.range_max) / 2)
    if unit == "percent":
        turned = 100 - units if joint.drive_mode == 1 else units
        return int(sorted((0.0, turned, 100.0))[1] / 100 * span + joint.range_min)
    turned = -units if joint.drive_mode == 1 else units
    return int((sorted((-100.0, turned, 100.0))[1] + 100) / 200 * span + joint.range_min)


@st.composite
def joints(draw: st.DrawFn, least: int = 1) -> MotorCalibration:
    """Draws a joint whose range has `least` counts or more."""
    low = draw(st.integers(0, 4095 - least))
    return MotorCalibration(
        id=draw(st.integers(0, 252)),
        drive_mode=draw(st.integers(0, 1)),
        homing_offset=draw(st.integers(-2047, 2047)),
        range_min=low,
        range_max=draw(st.integers(low + least, 4095)),
    )


@given(joint=joints(), unit=st.sampled_from(UNITS), counts=st.integers(-32767, 32767))
def test_counts_become_the_units_that_lerobot_shows(joint: MotorCalibration, unit: Unit, counts: int) -> None:
    """The same float, bit for bit, in every unit and beyond the range as within it."""
    assert Scale(unit, joint).to_units(counts) == lerobot_units(counts, joint, unit)


@given(joint=joints(), unit=st.sampled_from(UNITS), units=st.floats(-1e6, 1e6))
def test_units_become_the_counts_that_lerobot_sends(
    joint: MotorCalibration, unit: Unit, units: float
) -> None:
    """The same count, cut towards zero, in every unit and beyond the limits as within them."""
    assert Scale(unit, joint).to_counts(units) == lerobot_counts(units, joint, unit)


@given(joint=joints(), unit=st.sampled_from(UNITS), counts=st.integers(0, 4095))
def test_there_and_back_is_at_most_a_count_off(joint: MotorCalibration, unit: Unit, counts: int) -> None:
    """A position within the range comes back as itself or as its neighbour, which truncation explains."""
    scale = Scale(unit, joint)
    inside = max(joint.range_min, min(joint.range_max, counts))
    assert abs(scale.to_counts(scale.to_units(inside)) - inside) <= 1


@pytest.mark.parametrize(
    ("unit", "drive_mode", "counts", "units"),
    [
        ("deg", 0, 2048, 0.0),
        ("deg", 0, 3072, 90.02197802197803),
        ("deg", 1, 3072, 90.02197802197803),  # degrees do not heed the direction
        ("deg", 0, 500, -136.08791208791209),  # nor the limits
        ("normalized", 0, 1024, -100.0),
        ("normalized", 0, 2560, 50.0),
        ("normalized", 1, 2560, -50.0),
        ("normalized", 0, 4000, 100.0),
        ("percent", 0, 1536, 25.0),
        ("percent", 1, 1536, 75.0),
        ("percent", 0, 10, 0.0),
    ],
)
def test_figures_worked_out_by_hand(unit: Unit, drive_mode: int, counts: int, units: float) -> None:
    """A joint that goes from 1024 to 3072 shows these."""
    joint = MotorCalibration(1, drive_mode, 0, 1024, 3072)
    assert Scale(unit, joint).to_units(counts) == pytest.approx(units, abs=1e-12)


@given(joint=joints(), unit=st.sampled_from(UNITS))
def test_limits_are_the_ends_of_the_range(joint: MotorCalibration, unit: Unit) -> None:
    """Low is below high, and no position of the range is shown outside them."""
    scale = Scale(unit, joint)
    assert scale.low < scale.high
    ends = sorted(scale.to_units(counts) for counts in (joint.range_min, joint.range_max))
    assert ends == [scale.low, scale.high]


def test_a_file_is_written_as_lerobot_writes_it(tmp_path: Path) -> None:
    """The layout is LeRobot's to the last byte, folders are made, and nothing else lies beside it."""
    path = tmp_path / "new" / "arm.json"
    save_calibration(path, ARM)
    text = path.read_text()
    assert text.startswith('{\n    "shoulder_pan": {\n        "id": 1,\n')
    assert text.endswith(f",\n{ONE_JOINT}")
    assert text == json.dumps(json.loads(text), indent=4)
    assert list(path.parent.iterdir()) == [path]
    assert load_calibration(path) == ARM


@settings(max_examples=20, deadline=None)  # each waits for the disk
@given(found=st.tuples(*[joints(LEAST_RANGE) for _ in JOINT_IDS]))
def test_what_is_saved_is_loaded(
    found: tuple[MotorCalibration, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every arm with six servos comes back from its file as it was, joints in their order."""
    named = zip(JOINT_IDS.items(), found, strict=True)
    arm = {name: replace(each, id=servo) for (name, servo), each in named}
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    save_calibration(path, arm)
    assert list(load_calibration(path).items()) == list(arm.items())


def test_saving_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails the old file is whole, the draft is gone, and the sentence says why."""
    path = tmp_path / "arm.json"
    save_calibration(path, ARM)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"arm\.json: the calibration cannot be written: No space"):
        save_calibration(path, {**ARM, "gripper": JOINT})
    assert load_calibration(path) == ARM
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Whoever keeps calibrations elsewhere and links to them finds the new one there."""
    kept, link = tmp_path / "kept.json", tmp_path / "arm.json"
    link.symlink_to(kept)
    save_calibration(link, ARM)
    assert link.is_symlink()
    assert load_calibration(kept) == ARM


def written(path: Path, change: Mapping[str, Any]) -> Path:
    """Writes an arm whose gripper has `change`; None takes a key away."""
    save_calibration(path, ARM)
    arm = json.loads(path.read_text())
    arm["gripper"] = {k: v for k, v in {**arm["gripper"], **change}.items() if v is not None}
    path.write_text(json.dumps(arm))
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"range_min": 3000, "range_max": 700}, "range_min=3000 and range_max=700; .*limits swapped"),
        ({"range_min": 700, "range_max": 700}, "range_min=700 and range_max=700; expected the first below"),
        ({"range_min": 2780, "range_max": 2795}, "range_min=2780 and range_max=2795; .* at least 200 counts"),
        ({"range_min": 0, "range_max": 1}, "range_min=0 and range_max=1; .* run `segue calibrate`"),
        ({"range_min": 700, "range_max": 899}, "range_min=700 and range_max=899; expected at least 200"),
        ({"range_min": -1}, "range_min=-1; expected a whole number from 0 to 4095"),
        ({"range_max": 4096}, "range_max=4096; expected a whole number from 0 to 4095"),
        ({"range_max": 10**4000}, r"range_max=1\d*\.\.\.\d*; expected a whole number from 0 to 4095"),
        ({"range_max": 3000.0}, r"range_max=3000\.0; expected a whole number"),
        ({"range_max": "3000"}, "range_max='3000'; expected a whole number"),
        ({"range_max": float("nan")}, "range_max=nan; expected a whole number from 0 to 4095"),
        ({"range_max": float("inf")}, "range_max=inf; expected a whole number from 0 to 4095"),
        ({"range_max": [3000]}, r"range_max=\[3000\]; expected a whole number from 0 to 4095"),
        ({"homing_offset": 2048}, "homing_offset=2048; expected a whole number from -2047 to 2047"),
        ({"homing_offset": -2048}, "homing_offset=-2048; expected a whole number from -2047 to 2047"),
        ({"drive_mode": True}, "drive_mode=True; expected a whole number from 0 to 1"),
        ({"drive_mode": 2}, "drive_mode=2; expected a whole number from 0 to 1"),
        ({"id": 253}, "id=253; expected a whole number from 0 to 252"),
        ({"id": 5}, "id=5; expected 6, which this joint's servo has on each arm"),
        ({"id": 16}, "id=16; expected 6, which this joint's servo has on each arm"),
        ({"range_max": None}, "range_max is missing; expected are id, drive_mode, homing_offset"),
        ({"colour": "red"}, "'colour' is unknown; expected are id, drive_mode, homing_offset"),
    ],
)
def test_a_joint_that_no_arm_has_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    """The sentence names the file, the joint, the value and what is allowed, and ends with 78."""
    path = written(tmp_path / "arm.json", change)
    with pytest.raises(ConfigError, match=rf"arm\.json: gripper: {says}") as caught:
        load_calibration(path)
    assert caught.value.exit_code == 78
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", JOINT_IDS)
def test_a_range_of_18_degrees_is_the_least(tmp_path: Path, name: str) -> None:
    """What `segue calibrate` itself would not take for a joint that was moved is refused, of any joint."""
    path = tmp_path / "arm.json"
    for width in (LEAST_RANGE, LEAST_RANGE - 1):
        narrow = {**ARM, name: replace(ARM[name], range_min=1000, range_max=1000 + width)}
        save_calibration(path, narrow)
        if width == LEAST_RANGE:
            assert load_calibration(path) == narrow
            continue
        with pytest.raises(ConfigError, match=rf"arm\.json: {name}: range_min=1000 and range_max=1199"):
            load_calibration(path)


def test_two_joints_that_are_exchanged_ids_included_are_refused(tmp_path: Path) -> None:
    """A file whose joints have each other's servo would drive the wrong one."""
    path = tmp_path / "arm.json"
    exchanged = {"shoulder_lift": ARM["elbow_flex"], "elbow_flex": ARM["shoulder_lift"]}
    save_calibration(path, {**ARM, **exchanged})
    with pytest.raises(ConfigError, match=r"arm\.json: shoulder_lift: id=3; expected 2") as caught:
        load_calibration(path)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not a calibration in JSON"),
        (b"{", "not a calibration in JSON"),
        (b"\xff\xfe\x00", "not a calibration in JSON"),
        (b"[" * 60_000, "not a calibration in JSON"),
        (b'{"gripper": ' + b"9" * 9999 + b"}", "not a calibration in JSON"),
        (b'{"gripper": 1, "gripper": 2}', "a name is there twice"),
        (b"[1, 2]", r"\[1, 2\]; expected a map of shoulder_pan, "),
        (b"{}", "shoulder_pan is missing; expected are shoulder_pan, .*, gripper"),
        (b"x" * 70_000, "at most 64 KiB"),
    ],
)
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    """Whatever lies in the file, one short sentence names it."""
    path = tmp_path / "arm.json"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=rf"arm\.json: .*{says}") as caught:
        load_calibration(path)
    assert len(str(caught.value)) < 400


def test_another_robots_file_is_refused(tmp_path: Path) -> None:
    """A joint that this arm does not have is named."""
    path = tmp_path / "arm.json"
    save_calibration(path, {**ARM, "elbow_roll": MotorCalibration(7, 0, 0, 1, 2)})
    with pytest.raises(ConfigError, match="'elbow_roll' is unknown; expected are shoulder_pan"):
        load_calibration(path)


def test_what_could_be_read_for_ever_is_not_opened(tmp_path: Path) -> None:
    """A pipe, a folder and a name without a file are refused at once."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none.json"):
        with pytest.raises(ConfigError, match="there is no such calibration file"):
            load_calibration(path)


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({"HF_LEROBOT_CALIBRATION": "/c", "HF_LEROBOT_HOME": "/h"}, "/c"),
        ({"HF_LEROBOT_HOME": "/h", "HF_HOME": "/f"}, "/h/calibration"),
        ({"HF_HOME": "/f"}, "/f/lerobot/calibration"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/lerobot/calibration"),
        ({}, "{home}/.cache/huggingface/lerobot/calibration"),
        ({"HF_LEROBOT_HOME": "~/h", "HF_HOME": ""}, "{home}/h/calibration"),
    ],
)
def test_calibrations_lie_where_lerobot_keeps_them(environ: dict[str, str], root: str) -> None:
    """The variables count in LeRobot's order, and an empty one is none."""
    assert calibration_root(environ) == Path(root.format(home=Path.home()))


def test_both_names_of_the_folder_are_looked_at(tmp_path: Path) -> None:
    """The present name wins over the older one, of which the robot's own type wins over its sister's."""
    environ = {"HF_LEROBOT_CALIBRATION": str(tmp_path)}
    expected = ("so_follower", "so101_follower", "so100_follower")
    places = calibration_places("so101_follower", "arm", None, environ)
    assert places == tuple(tmp_path / "robots" / each / "arm.json" for each in expected)
    sister = calibration_places("so100_follower", "arm", None, environ)
    assert [each.parent.name for each in sister] == ["so_follower", "so100_follower", "so101_follower"]
    for path in reversed(places):
        save_calibration(path, ARM)
        assert find_calibration("so101_follower", "arm", None, environ) == path


def test_two_files_that_differ_are_told_apart(tmp_path: Path) -> None:
    """The sentence says which one is used, and there is none when both say the same."""
    places = (tmp_path / "new.json", tmp_path / "old.json")
    save_calibration(places[0], ARM)
    assert differing_copy(places[0], places) is None
    save_calibration(places[1], ARM)
    assert differing_copy(places[0], places) is None
    save_calibration(places[1], {**ARM, "gripper": replace(ARM["gripper"], range_min=1)})
    assert differing_copy(places[0], places) == (
        f"two calibrations differ: {places[0]} is used, {places[1]} is not"
    )
    places[1].write_text("{")
    assert str(differing_copy(places[0], places)).startswith(
        f"{places[0]} is used; another one is broken: {places[1]}: not a calibration in JSON"
    )


def test_a_folder_given_is_the_only_place(tmp_path: Path) -> None:
    """With --robot.calibration_dir nothing else is looked at, and what is missing is said with its remedy."""
    save_calibration(tmp_path / "robots" / "so_follower" / "arm.json", ARM)
    environ = {"HF_LEROBOT_CALIBRATION": str(tmp_path)}
    with pytest.raises(ConfigError) as caught:
        find_calibration("so101_follower", "arm", tmp_path / "mine", environ)
    assert str(caught.value) == (
        f"no calibration file for robot.id=arm; looked for {tmp_path / 'mine' / 'arm.json'}; "
        "`segue calibrate --robot.type=so101_follower --robot.id=arm --robot.port=… "
        f"--robot.calibration_dir={tmp_path / 'mine'}` makes one"
    )


@pytest.mark.parametrize("name", ["", "../arm", "a/b", "a\0b", ".arm"])
def test_an_id_that_is_no_file_name_is_refused(name: str) -> None:
    """An id never leads out of the folder of calibrations."""
    with pytest.raises(ConfigError, match=r"robot\.id: .*cannot name a calibration file"):
        calibration_places("so101_follower", name, None, {})


@pytest.mark.parametrize("name", ["x" * 300, "é" * 101])
def test_an_id_too_long_for_a_file_is_refused(tmp_path: Path, name: str) -> None:
    """It ends with one short sentence, whether a file is looked for or is to be made."""
    for look in (find_calibration, calibration_places):
        with pytest.raises(ConfigError, match=r"robot\.id: .* is too long .* at most 200 bytes") as caught:
            look("so101_follower", name, tmp_path, {})
        assert len(str(caught.value)) < 200


def test_a_folder_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    """Whatever the system says against looking is a sentence of the configuration, and no bug."""
    folder = tmp_path / ("x" * 300)
    with pytest.raises(ConfigError, match=r"xxx/arm\.json: cannot be looked at: File name too long"):
        find_calibration("so101_follower", "arm", folder, {})
    save_calibration(tmp_path / "arm.json", ARM)
    told = differing_copy(tmp_path / "arm.json", (tmp_path / "arm.json", folder / "arm.json"))
    assert "cannot be looked at" in str(told)
