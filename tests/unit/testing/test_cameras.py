from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest

from segue.core.specs import CameraSpec
from segue.errors import RobotFault
from segue.testing.cameras import FakeCamera, natural_frames
from segue.wire.image import encode

SPEC = CameraSpec("front", 48, 64, fps=200.0)
WAIT_S = 20.0


def test_frames_weigh_what_real_ones_do() -> None:
    """At 640×480 and quality 90 a frame takes 32 to 80 kB, between a rendered and a noisy real one."""
    for frame in natural_frames(480, 640, 2, seed=1):
        assert 32_000 <= len(encode(frame, 90).data) <= 80_000


def test_the_same_seed_draws_the_same_frames() -> None:
    """Frames follow from the seed, differ from one to the next, and nobody may write to them."""
    first, again = natural_frames(48, 64, 3, seed=5), natural_frames(48, 64, 3, seed=5)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])
    with pytest.raises(ValueError, match="read-only"):
        first[0][0, 0, 0] = 1


def test_pictures_are_numbered_and_stamped() -> None:
    """Each grab gives a new number and a later stamp."""
    camera = FakeCamera(SPEC)
    camera.open()
    frames = [camera.grab() for _ in range(5)]
    assert [frame.number for frame in frames] == [1, 2, 3, 4, 5]
    assert all(a.captured_ns < b.captured_ns for a, b in pairwise(frames))
    assert frames[0].image.shape == (48, 64, 3)
    camera.close()


def test_a_frozen_camera_shows_the_same_frame() -> None:
    """Frozen, it hands out one frame with one number; healed, it goes on."""
    camera = FakeCamera(SPEC)
    camera.open()
    first = camera.grab()
    camera.freeze()
    assert [camera.grab().number for _ in range(3)] == [first.number] * 3
    camera.heal()
    assert camera.grab().number == first.number + 1


def test_a_failed_camera_raises() -> None:
    """Told to fail, it can neither be opened nor grabbed from."""
    camera = FakeCamera(SPEC)
    camera.open()
    camera.fail("unplugged")
    with pytest.raises(RobotFault, match="unplugged"):
        camera.grab()
    with pytest.raises(RobotFault, match="unplugged"):
        camera.open()


def test_a_blocked_camera_waits_until_healed() -> None:
    """Blocked, a grab does not come back before the camera is healed."""
    camera = FakeCamera(SPEC)
    camera.open()
    camera.block()
    grabbed = threading.Event()
    thread = threading.Thread(target=lambda: (camera.grab(), grabbed.set()))
    thread.start()
    assert not grabbed.wait(0.1)
    camera.heal()
    assert grabbed.wait(WAIT_S)
    thread.join(WAIT_S)
