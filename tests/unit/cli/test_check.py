"""`segue check robot`: a run's own flags, one line per finding, and the code of the first failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.cli.check import arm_place, report, summary
from segue.cli.main import main
from segue.config import load_run
from segue.robots.calibration import save_calibration
from segue.testing import FeetechBus
from segue.testing.servo_arm import default_calibration
from segue.tools.checks import Check, Verdict, doubt


@pytest.fixture
def bus() -> Iterator[FeetechBus]:
    with FeetechBus.so101() as bus:
        yield bus


def flags(bus: FeetechBus, folder: Path) -> list[str]:
    arm = ["--robot.type=so101_follower", f"--robot.port={bus.port}", "--robot.id=blue"]
    return ["check", "robot", *arm, f"--robot.calibration_dir={folder}"]


def test_an_arm_and_its_cameras_are_looked_at(
    bus: FeetechBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each finding is a line with its verdict in front, the arm's first, and all well ends with 0."""
    save_calibration(tmp_path / "blue.json", default_calibration())
    cameras = "--robot.cameras={front: {type: fake, fps: 20, width: 64, height: 48}}"
    assert main([*flags(bus, tmp_path), cameras]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok    ") for line in lines), lines
    assert lines[0] == f"ok    port: {bus.port} is there"
    assert lines[-1].startswith("ok    camera front: 64x48 at ")
    assert last == f"segue check: all is well in {len(lines)} of {len(lines)} checks"
    assert bus.writes == []


def test_a_file_of_a_run_is_a_file_of_its_check(
    bus: FeetechBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--config_path takes what `segue run` takes, and what fails first says the code."""
    arm = f"{{type: so101_follower, port: {bus.port}, id: blue, calibration_dir: {tmp_path}}}"
    (tmp_path / "run.yaml").write_text(f"robot: {arm}\ntask: lift\nfps: 30\n")
    assert main(["check", "robot", f"--config_path={tmp_path / 'run.yaml'}"]) == 78
    out = capsys.readouterr().out
    assert "\nFAIL  calibration: no calibration file for robot.id=blue;" in out
    assert out.endswith("segue check: 1 of 10 checks failed: calibration\n")


def test_a_camera_that_does_not_exist_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    """It is told as the run would tell it, the others are looked at, and the code is the run's."""
    front = "front: {type: opencv, index_or_path: /dev/video987}"
    side = "side: {type: fake, fps: 20, width: 64, height: 48}"
    assert main(["check", "robot", "--robot.type=fake", f"--robot.cameras={{{front}, {side}}}"]) == 78
    out = capsys.readouterr().out
    assert out.startswith(
        "FAIL  camera front: robot.cameras.front.index_or_path: /dev/video987: no such device"
    )
    assert "\nok    camera side: " in out


def test_a_simulated_robot_has_nothing_to_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    """It is said that there is nothing, instead of that all is well."""
    assert main(["check", "robot", "--robot.type=sim_so101", "--robot.cameras={top: {type: sim}}"]) == 0
    assert "nothing to look at" in capsys.readouterr().out
    assert arm_place(load_run(["--robot.type=sim_so101"]).config) is None


@pytest.mark.parametrize("words", [[], ["camera"], ["--robot.type=fake"]])
def test_what_to_look_at_comes_first(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without the word `robot` it is a wrong flag, and the sentence says what is expected."""
    assert main(["check", *words]) == 64
    assert "expected what to look at first: robot" in capsys.readouterr().err


def test_the_last_line_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """Failures and doubts are named, and doubts alone do not fail."""
    fine, poor = Check("a", Verdict.OK, "well"), Check("c", Verdict.FAIL, "ill", 74)
    assert report([fine, doubt("b", "so so")]) == 0
    assert capsys.readouterr().out == (
        "ok    a: well\nwarn  b: so so\nsegue check: all is well in 1 of 2 checks; look at b\n"
    )
    assert report([fine, doubt("b", ""), poor]) == 74
    assert summary([fine, doubt("b", ""), poor]) == "1 of 3 checks failed: c; look at b"
