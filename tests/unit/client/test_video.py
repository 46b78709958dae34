from __future__ import annotations

import time
from pathlib import Path

import simplejpeg

from segue.cameras.base import Camera
from segue.cameras.file import FileCamera
from segue.cameras.latest import LatestFrame
from segue.client.video import VideoLog
from segue.core.specs import CameraSpec
from segue.testing.cameras import FakeCamera
from tests.unit.cameras.samples import jpegs

WAIT_S = 20.0


def started(camera: Camera) -> LatestFrame:
    watched = LatestFrame(camera)
    watched.start()
    assert watched.wait_first(WAIT_S)
    return watched


def wait_for(log: VideoLog, frames: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while log.frames < frames and time.monotonic() < deadline:
        time.sleep(0.01)


def test_pictures_are_kept_one_after_the_other(tmp_path: Path) -> None:
    """The file is nothing but whole JPEGs, of the camera's size."""
    watched = started(FakeCamera(CameraSpec("front", 48, 64)))
    log = VideoLog(watched, tmp_path / "front.mjpeg", say=print)
    log.start()
    wait_for(log, 3)
    log.stop()
    watched.stop()
    pictures = (tmp_path / "front.mjpeg").read_bytes().split(b"\xff\xd8\xff")[1:]
    assert len(pictures) == log.frames >= 3
    for picture in pictures:
        assert simplejpeg.decode_jpeg(b"\xff\xd8\xff" + picture).shape == (48, 64, 3)


def test_a_camera_s_own_jpegs_are_kept_as_they_are(tmp_path: Path) -> None:
    """Where the camera delivers JPEG, its bytes are what is written."""
    (tmp_path / "pictures").mkdir()
    jpeg = jpegs(1)[0]
    (tmp_path / "pictures" / "0.jpg").write_bytes(jpeg)
    watched = started(FileCamera(CameraSpec("front", 48, 64), tmp_path / "pictures"))
    log = VideoLog(watched, tmp_path / "front.mjpeg", say=print)
    log.start()
    wait_for(log, 3)
    log.stop()
    watched.stop()
    assert (tmp_path / "front.mjpeg").read_bytes() == jpeg * log.frames


def test_a_frozen_camera_adds_nothing(tmp_path: Path) -> None:
    """A picture is written once, however long the camera shows it."""
    camera = FakeCamera(CameraSpec("front", 48, 64))
    watched = started(camera)
    camera.block()
    log = VideoLog(watched, tmp_path / "front.mjpeg", say=print)
    log.start()
    wait_for(log, 1)
    time.sleep(0.3)
    assert log.frames <= 2  # one more may have been on its way
    log.stop()
    camera.heal()
    watched.stop()


def test_a_folder_that_is_gone_is_said_once(tmp_path: Path) -> None:
    """A video that cannot be written says so once, and ends itself and nothing else."""
    said: list[str] = []
    watched = started(FakeCamera(CameraSpec("front", 48, 64)))
    log = VideoLog(watched, tmp_path / "nowhere" / "front.mjpeg", said.append)
    log.start()
    log.stop()
    watched.stop()
    assert log.error is not None
    (sentence,) = said
    assert "video" in sentence
    assert "nowhere" in sentence
