"""From configured cameras to cameras, and what is refused before the robot moves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from segue.cameras.file import FileCamera
from segue.cameras.http import HttpCamera
from segue.cameras.opencv import OpenCVCamera
from segue.cli.camera_parts import camera_specs, cameras_of
from segue.config.cameras import (
    CameraConfig,
    FakeCameraConfig,
    FileCameraConfig,
    HttpCameraConfig,
    OpenCVCameraConfig,
    SimCameraConfig,
)
from segue.core.specs import CameraSpec
from segue.errors import ConfigError
from segue.testing.cameras import FakeCamera
from tests.unit.cameras.samples import jpegs

# A device that is no camera and on every host: nothing is opened here.
DEVICE = "/dev/null"


def test_each_kind_of_camera_is_made_in_order(tmp_path: Path) -> None:
    """Cameras come in the order of the configuration, each of its kind, with its size and rate."""
    (tmp_path / "0.jpg").write_bytes(jpegs(1)[0])
    configs: dict[str, CameraConfig] = {
        "usb": OpenCVCameraConfig(index_or_path=DEVICE, width=320, height=240, fps=15.0),
        "disk": FileCameraConfig(path=tmp_path),
        "net": HttpCameraConfig(url="http://127.0.0.1:1/stream"),
        "drawn": FakeCameraConfig(),
    }
    cameras = cameras_of(configs)
    assert [type(camera) for camera in cameras] == [OpenCVCamera, FileCamera, HttpCamera, FakeCamera]
    assert tuple(camera.spec for camera in cameras) == camera_specs(configs)
    assert cameras[0].spec == CameraSpec("usb", 240, 320, 15.0)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (OpenCVCameraConfig(index_or_path="97"), r"index_or_path: 97: no such device; here are "),
        (OpenCVCameraConfig(index_or_path="/nowhere"), "index_or_path: /nowhere: no such device"),
        (OpenCVCameraConfig(index_or_path=__file__), "a video file is a camera of type file"),
        (FileCameraConfig(path=Path("/nowhere/a.mp4")), "path: /nowhere/a.mp4: No such file"),
        (FileCameraConfig(path=Path("/nowhere/a.mjpeg")), "path: /nowhere/a.mjpeg: No such file"),
        (SimCameraConfig(), "comes with a simulated robot only"),
    ],
)
def test_what_is_not_there_is_refused_by_its_key(config: CameraConfig, said: str) -> None:
    """A device or file that does not exist is one sentence with the key, before anything is opened."""
    with pytest.raises(ConfigError, match=said) as refusal:
        cameras_of({"front": config}, "cameras")
    assert str(refusal.value).startswith("cameras.front")


@pytest.mark.parametrize("kind", ["device", "video"])
def test_a_missing_opencv_is_refused_with_the_command(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where OpenCV is not installed, the refusal says how to install it."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    video = tmp_path / "a.mp4"
    video.write_bytes(b"")
    config = OpenCVCameraConfig(index_or_path=DEVICE) if kind == "device" else FileCameraConfig(path=video)
    with pytest.raises(ConfigError, match=r"robot\.cameras\.front.* pip install 'segue\[so101\]'"):
        cameras_of({"front": config})


def test_jpegs_need_no_opencv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A robot with JPEG files for cameras is made without OpenCV."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    (tmp_path / "0.jpg").write_bytes(jpegs(1)[0])
    config = FileCameraConfig(path=tmp_path, width=64, height=48)
    (camera,) = cameras_of({"front": config})
    camera.open()
    assert camera.grab().jpeg == jpegs(1)[0]
    camera.close()


def test_the_same_name_draws_the_same_pictures() -> None:
    """A drawn camera's pictures follow from its name."""
    one, again, other = (
        cameras_of({name: FakeCameraConfig(width=64, height=48)})[0] for name in ("a", "a", "b")
    )
    for camera in (one, again, other):
        camera.open()
    first, same, different = (camera.grab().image for camera in (one, again, other))
    assert first is not None
    assert (first == same).all()
    assert (first != different).any()
