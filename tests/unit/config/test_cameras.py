"""Devices and addresses that a camera's configuration takes and refuses."""

from __future__ import annotations

import pytest

from segue.config.cameras import is_device, is_stream_url
from segue.config.load import load_run

RUN = ["--robot.type=fake"]


@pytest.mark.parametrize("text", ["0", "12", "/dev/video2", "/dev/v4l/by-id/usb-cam"])
def test_a_device_is_a_number_or_a_path(text: str) -> None:
    """Numbers and absolute paths name a device."""
    assert is_device(text)


@pytest.mark.parametrize("text", ["", "-1", "video0", "1.5", "²", "/dev/video\n0"])
def test_what_names_no_device_is_refused(text: str) -> None:
    """Anything else does not."""
    assert not is_device(text)


@pytest.mark.parametrize("text", ["http://10.0.0.5/a", "https://[::1]:8080/a?b=c", "http://cam.local"])
def test_a_stream_has_an_http_address(text: str) -> None:
    """HTTP and HTTPS addresses with a host are taken."""
    assert is_stream_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "file:///etc/passwd",
        "rtsp://a/b",
        "http://me:secret@a/b",
        "http://a:99999/",
        "http://a b",
    ],
)
def test_what_is_no_such_address_is_refused(text: str) -> None:
    """Other schemes, a password that would be written down, and nonsense are refused."""
    assert not is_stream_url(text)


def test_cameras_are_written_as_lerobot_s_users_write_them() -> None:
    """A camera's map from LeRobot's documentation loads as it stands."""
    cameras = "{ front: {type: opencv, index_or_path: 0, width: 640, height: 480, fps: 30, rotation: -90}}"
    (front,) = load_run([*RUN, f"--robot.cameras={cameras}"]).config.robot.cameras.values()
    assert (front.index_or_path, front.rotation, front.width) == ("0", "-90", 640)  # type: ignore[attr-defined]
