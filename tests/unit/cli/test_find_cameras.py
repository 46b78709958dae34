"""`segue find-cameras`: what it says, draws and returns."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest

from segue.cameras import v4l2
from segue.cameras.v4l2 import Mode, VideoDevice
from segue.cli import find_cameras
from segue.cli.main import main
from segue.config import load_run
from segue.core.specs import CameraSpec
from segue.testing.cameras import FakeCamera
from tests.unit.cameras.samples import jpegs

QUICK = "--record_time_s=0.3"


def test_named_cameras_are_looked_at_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --cameras those are looked at, one line and one picture each, and the sheet is where it says."""
    (tmp_path / "0.jpg").write_bytes(jpegs(1)[0])
    cameras = (
        f"{{disk: {{type: file, path: {tmp_path}, width: 64, height: 48}}, drawn: {{type: fake, width: 64}}}}"
    )
    assert main(["find-cameras", QUICK, f"--cameras={cameras}", f"--output_dir={tmp_path / 'out'}"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"disk {tmp_path}: 64x48 at [\d.]+ Hz, JPEG of", out)
    assert re.search(r"drawn: 64x480 at [\d.]+ Hz\n", out)
    (path,) = re.findall(r"which is which: (.*)", out)
    assert cv2.imread(path).shape == (292, 664, 3)


def test_a_camera_that_fails_is_shown_and_makes_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that delivers nothing is said with the reason; the sheet is drawn all the same, and 74 returned."""
    monkeypatch.setattr("segue.tools.find_cameras.FIRST_PICTURE_S", 0.5)
    cameras = "{a: {type: fake, width: 64, height: 48}, net: {type: http, url: http://127.0.0.1:9/}}"
    assert main(["find-cameras", QUICK, f"--cameras={cameras}", f"--output_dir={tmp_path}"]) == 74
    assert "refused" in capsys.readouterr().out
    assert (tmp_path / "cameras.png").exists()


def test_this_host_s_devices_are_listed_and_can_be_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Devices are named with what they offer, those that deliver are looked at, and the last line loads."""
    modes = (Mode("MJPG", 320, 240, (30.0,)), Mode("MJPG", 640, 480, (30.0,)))
    devices = [
        VideoDevice(Path("/dev/video0"), "HD Webcam", True, modes),
        VideoDevice(Path("/dev/video1"), "HD Webcam", False),
        VideoDevice(Path("/dev/video2"), "Tiny Cam", True, modes[:1]),
        VideoDevice(Path("/dev/video4"), "Mine", False, trouble="no permission: add yourself"),
    ]
    monkeypatch.setattr(v4l2, "video_devices", lambda: devices)
    made = {}

    def cameras_of(configs: dict, key: str) -> list[FakeCamera]:  # type: ignore[type-arg]
        made.update(configs)
        return [FakeCamera(CameraSpec(n, c.height, c.width, c.fps)) for n, c in configs.items()]

    monkeypatch.setattr(find_cameras, "cameras_of", cameras_of)
    assert main(["find-cameras", QUICK, f"--output_dir={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "/dev/video0  HD Webcam\n    MJPG 320x240 at 30 Hz\n    MJPG 640x480 at 30 Hz" in out
    assert "/dev/video1  HD Webcam: delivers no pictures" in out
    assert "/dev/video4  Mine: no permission" in out
    assert "[2] /dev/video2 Tiny Cam: 320x240 at" in out
    (flag,) = re.findall(r"(--robot\.cameras=.*)", out)
    robot = load_run(["--robot.type=fake", flag.replace('"', "")]).config.robot
    assert robot.cameras == {**made}
    assert [(c.width, c.height) for c in robot.cameras.values()] == [(640, 480), (320, 240)]


def test_a_host_without_cameras_is_told_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing delivers pictures the answer is a sentence and 74."""
    monkeypatch.setattr(v4l2, "video_devices", list)
    assert main(["find-cameras"]) == 74
    assert "no camera of this host delivers pictures" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """An output folder below a file is a wrong flag, said before any camera is opened."""
    (tmp_path / "file").write_bytes(b"")
    assert (
        main(["find-cameras", "--cameras={a: {type: fake}}", f"--output_dir={tmp_path / 'file' / 'x'}"]) == 64
    )
