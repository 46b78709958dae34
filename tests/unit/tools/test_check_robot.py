"""The check of an arm: every line that it can say, on an emulated bus, and that it only looks."""

from __future__ import annotations

import grp
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from segue.robots import sts3215
from segue.robots.calibration import MotorCalibration, save_calibration
from segue.testing import FeetechBus
from segue.testing.servo_arm import default_calibration
from segue.testing.servo_overlap import Overlap
from segue.tools.check_robot import ArmPlace, check_arm, permission_remedy
from segue.tools.checks import Check, Verdict, exit_code

ALL = (
    "port", "permission", "exclusive", "calibration", "servos", "answers", "firmware",
    "voltage", "temperature", "torque", "registers", "pose",
)  # fmt: skip


@pytest.fixture
def bus() -> Iterator[FeetechBus]:
    with FeetechBus.so101() as bus:
        yield bus


@pytest.fixture
def arm(bus: FeetechBus, tmp_path: Path) -> ArmPlace:
    save_calibration(tmp_path / "blue.json", default_calibration())
    return ArmPlace("so101_follower", "blue", bus.port, tmp_path)


def found(arm: ArmPlace) -> dict[str, Check]:
    return {check.name: check for check in check_arm(arm, {})}


def test_a_good_arm_passes_and_is_only_looked_at(bus: FeetechBus, arm: ArmPlace) -> None:
    """Every check says ok, in order from the socket inwards, and no servo was written to."""
    checks = list(check_arm(arm, {}))
    assert tuple(check.name for check in checks) == ALL
    assert {check.verdict for check in checks} == {Verdict.OK}, checks
    assert bus.writes == []
    assert exit_code(checks) == 0


def test_a_port_that_is_not_there(arm: ArmPlace) -> None:
    """It is named with the remedy, the servos are left out, and the calibration is looked at all the same."""
    for port, says in (("/dev/ttyNONE", "No such file"), ("/etc/passwd", "not a serial device")):
        checks = found(replace(arm, port=port))
        assert checks["port"].says.startswith(f"{port}: {says}")
        assert "find-port" in checks["port"].says
        assert list(checks) == ["port", "calibration"]
        assert exit_code(checks.values()) == 74


def test_a_user_who_may_not_gets_the_words_to_type(arm: ArmPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group is the port's own, and a udev rule is given as an alternative."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    check = found(arm)["permission"]
    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 74)
    assert permission_remedy(arm.port) in check.says
    group = grp.getgrgid(os.stat(arm.port).st_gid).gr_name
    assert f"`sudo usermod -aG {group} $USER`" in check.says
    assert 'SUBSYSTEM=="tty", ATTRS{idVendor}=="1a86", MODE="0666"' in check.says


def test_a_port_in_use_is_left_alone(bus: FeetechBus, arm: ArmPlace) -> None:
    """Another program's port fails with the remedy, and no byte is sent."""
    from segue.robots.serialport import SerialPort

    other = SerialPort(arm.port, sts3215.BAUD)
    try:
        checks = found(arm)
    finally:
        other.close()
    assert checks["exclusive"].verdict is Verdict.FAIL
    assert "in use by another program" in checks["exclusive"].says
    assert "servos" not in checks


def test_a_servo_that_is_mute_is_named(bus: FeetechBus, arm: ArmPlace) -> None:
    """The joint and the cable are named, and nothing is said of what the servos could not tell."""
    bus.mute("elbow_flex")
    checks = found(arm)
    assert checks["servos"].says.startswith("no answer from elbow_flex (servo 3)")
    assert checks["servos"].exit_code == 74
    assert list(checks) == ["port", "permission", "exclusive", "calibration", "servos"]


def test_firmware_that_differs_is_a_doubt(bus: FeetechBus, arm: ArmPlace) -> None:
    """All versions are listed."""
    bus.servo("gripper").set(sts3215.FIRMWARE_MINOR, 9)
    check = found(arm)["firmware"]
    assert check.verdict is Verdict.WARN
    assert "wrist_roll 3.10, gripper 3.9" in check.says


def test_a_supply_that_is_too_weak_is_a_doubt(bus: FeetechBus, arm: ArmPlace) -> None:
    """The servos' own limits decide, and the joints are named with what they get."""
    bus.voltage("wrist_flex", 3.2)
    check = found(arm)["voltage"]
    assert check.verdict is Verdict.WARN
    assert check.says.startswith("wrist_flex 3.2 V; expected 4.0 to 8.0 V")


def test_a_supply_that_is_too_high_fails(bus: FeetechBus, arm: ArmPlace) -> None:
    """12 V at servos that may have 8 end as the run would, with the joints, both numbers and the remedy."""
    for servo in bus.line.servos:
        bus.voltage(servo.id, 12.0)
    checks = found(arm)
    assert (checks["voltage"].verdict, checks["voltage"].exit_code) == (Verdict.FAIL, 74)
    assert "gripper (servo 6) get 12.0 V and may have 8.0 V at most: this is the wrong power supply" in (
        checks["voltage"].says
    )
    assert tuple(checks) == ALL


@pytest.mark.parametrize("how", Overlap)
def test_two_servos_of_one_id_fail_with_the_remedy(bus: FeetechBus, arm: ArmPlace, how: Overlap) -> None:
    """Nothing else is said of servos of which nobody knows which answers."""
    bus.renumber("wrist_flex", 3)
    bus.line.faults.overlap = how
    checks = found(arm)
    assert (checks["servos"].verdict, checks["servos"].exit_code) == (Verdict.FAIL, 74)
    assert checks["servos"].says.startswith("two servos answer to id 3 (elbow_flex): disconnect one of them")
    assert "wrist_flex (servo 4) does not answer" in checks["servos"].says
    assert list(checks) == ["port", "permission", "exclusive", "calibration", "servos"]


def test_a_servo_that_counts_beyond_a_turn_fails(bus: FeetechBus, arm: ArmPlace) -> None:
    """By such a count the pose means nothing; the file, the joint and the remedy are named."""
    bus.servo("elbow_flex").set(sts3215.PHASE, 28)
    for place in (arm, replace(arm, writes_calibration=True)):
        checks = found(place)
        assert (checks["registers"].verdict, checks["registers"].exit_code) == (Verdict.FAIL, 78)
        assert "blue.json: elbow_flex (servo 3) counts beyond one turn" in checks["registers"].says
        assert "`segue calibrate`, which clears the bit" in checks["registers"].says
        assert "pose" not in checks


def test_a_range_that_no_joint_has_is_found(arm: ArmPlace, tmp_path: Path) -> None:
    """Too narrow a range fails with the file and the joint, too wide a one is a doubt."""
    path = tmp_path / "blue.json"
    known = default_calibration()
    save_calibration(
        path, {**known, "elbow_flex": replace(known["elbow_flex"], range_min=2780, range_max=2795)}
    )
    check = found(arm)["calibration"]
    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 78)
    assert check.says.startswith(
        f"{path}: elbow_flex: range_min=2780 and range_max=2795; expected at least 200"
    )
    save_calibration(path, {**known, "elbow_flex": replace(known["elbow_flex"], range_min=0, range_max=4095)})
    check = found(arm)["calibration"]
    assert check.verdict is Verdict.WARN
    assert check.says.startswith(f"{path}: elbow_flex: range_min=0 and range_max=4095 are 360° apart")


@pytest.mark.parametrize(
    ("celsius", "verdict", "code"), [(60, Verdict.OK, 0), (65, Verdict.WARN, 0), (71, Verdict.FAIL, 80)]
)
def test_heat(bus: FeetechBus, arm: ArmPlace, celsius: int, verdict: Verdict, code: int) -> None:
    """The hottest joint is told from its own limit: fine, nearly too hot, or too hot to run."""
    bus.overheat("shoulder_lift", celsius)
    check = found(arm)["temperature"]
    assert (check.verdict, check.exit_code) == (verdict, code)
    assert f"shoulder_lift is the hottest with {celsius} °C, its limit is 70 °C" in check.says


def test_an_arm_that_holds_itself_is_a_doubt(bus: FeetechBus, arm: ArmPlace) -> None:
    """The joints with torque are named with the way to free them, and they keep their torque."""
    bus.servo("gripper").write(sts3215.TORQUE_ENABLE.address, b"\x01")
    check = found(arm)["torque"]
    assert check.verdict is Verdict.WARN
    assert check.says == "on in gripper: the arm holds itself; `segue release` frees it"
    assert bus.servo("gripper").torque


def test_another_arms_file_is_found_out(arm: ArmPlace, tmp_path: Path) -> None:
    """The first number that differs is told with both values, 78 is the code, and the pose is not judged."""
    other = {**default_calibration(), "gripper": MotorCalibration(6, 0, 911, 1500, 2673)}
    save_calibration(tmp_path / "blue.json", other)
    checks = found(arm)
    assert "gripper range_min 1421, not 1500" in checks["registers"].says
    assert checks["registers"].exit_code == 78
    assert "pose" not in checks
    checks = found(replace(arm, writes_calibration=True))
    assert checks["registers"].verdict is Verdict.WARN
    assert "--robot.write_calibration=true will change gripper range_min" in checks["registers"].says


def test_a_pose_outside_the_limits_is_named(bus: FeetechBus, arm: ArmPlace) -> None:
    """An arm that was pushed beyond its stops is to be moved back by hand before a run."""
    bus.push("gripper", -600)
    check = found(arm)["pose"]
    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 78)
    assert "gripper" in check.says


def test_a_calibration_that_is_missing_or_wrong(arm: ArmPlace, tmp_path: Path) -> None:
    """The file is named with the remedy, and the rest of the arm is looked at all the same."""
    (tmp_path / "blue.json").write_text("{}")
    assert "shoulder_pan is missing" in found(arm)["calibration"].says
    (tmp_path / "blue.json").unlink()
    checks = found(arm)
    assert "`segue calibrate" in checks["calibration"].says
    assert exit_code(checks.values()) == 78
    assert tuple(checks) == ALL[: ALL.index("registers")]


def test_two_calibrations_that_differ_are_a_doubt(bus: FeetechBus, tmp_path: Path) -> None:
    """It is said which of the two folders' files is used."""
    environ = {"HF_LEROBOT_CALIBRATION": str(tmp_path)}
    new, old = (tmp_path / "robots" / each / "blue.json" for each in ("so_follower", "so101_follower"))
    save_calibration(new, default_calibration())
    save_calibration(old, {**default_calibration(), "gripper": MotorCalibration(6, 0, 1, 2, 2003)})
    place = ArmPlace("so101_follower", "blue", bus.port)
    checks = {check.name: check for check in check_arm(place, environ)}
    assert checks["calibration"].verdict is Verdict.WARN
    assert checks["calibration"].says == f"two calibrations differ: {new} is used, {old} is not"
    assert checks["registers"].verdict is Verdict.OK


def test_a_slow_adapter_is_told_with_the_rate_that_works(bus: FeetechBus, arm: ArmPlace) -> None:
    """Answers that take 8 ms fail the check at 100 Hz with what to do, and pass it at a rate that fits."""
    bus.delay(0.008)
    check = found(arm)["answers"]
    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 78)
    said = re.search(r"control_hz: 100; .* take (8|9) ms, .* give --control_hz=(\d+) or less", check.says)
    assert said is not None, check.says
    check = found(replace(arm, control_hz=float(said[2]) - 5))["answers"]
    assert check.verdict is Verdict.OK
    assert re.match(r"take (8|9) ms; a tick's questions fit up to [67]\d times a second", check.says)
    assert bus.writes == []
