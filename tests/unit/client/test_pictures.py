from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from segue.cameras.latest import LatestFrame, WatchPlan
from segue.client.pictures import Pictures
from segue.clock import NS_PER_S
from segue.core.specs import CameraSpec
from segue.core.types import Frame
from segue.errors import RobotFault
from segue.testing.cameras import FakeCamera
from segue.wire.image import decode
from segue.wire.records import Encoding

SPECS = tuple(CameraSpec(name, 48, 64) for name in ("front", "wrist"))
WAIT_S = 20.0


@pytest.fixture
def cameras() -> Iterator[dict[str, LatestFrame]]:
    """Runs two cameras that have shown their first picture."""
    watched = {spec.name: LatestFrame(FakeCamera(spec, seed)) for seed, spec in enumerate(SPECS)}
    for each in watched.values():
        each.start()
        assert each.wait_first(WAIT_S)
    yield watched
    for each in watched.values():
        each.stop()


@pytest.mark.parametrize(("encoding", "error"), [(Encoding.JPEG, 12.0), (Encoding.RAW, 0.0)])
def test_each_camera_gives_its_newest_picture(
    cameras: dict[str, LatestFrame], encoding: Encoding, error: float
) -> None:
    """Every camera's own picture comes back, exactly when raw and nearly as JPEG."""
    pictures = Pictures(cameras, encoding, 90)
    images = pictures.newest()
    assert list(images) == ["front", "wrist"]
    frames = {name: cameras[name].latest(NS_PER_S) for name in images}
    for spec in SPECS:
        frame, picture = frames[spec.name], decode(images[spec.name], spec).astype(float)
        assert frame is not None
        rolls = [np.abs(np.roll(frame.image, 3 * k, axis=1) - picture).mean() for k in range(-3, 4)]
        assert min(rolls) <= error  # the next frame, drifted by three columns, may have come meanwhile
    pictures.close()


class Snapshots:
    """A camera that shows pictures of given ages, one after the other at given times, and then none."""

    def __init__(self, spec: CameraSpec, *pictures: tuple[float, float]) -> None:
        """Takes pairs: after how long a picture is handed out, and how old it is then, s."""
        self.spec = spec
        self._pictures = list(enumerate(pictures, 1))

    def open(self) -> None:
        """Needs no opening."""

    def grab(self) -> Frame:
        if not self._pictures:
            raise RobotFault("no more pictures")
        number, (wait_s, age_s) = self._pictures.pop(0)
        time.sleep(wait_s)
        captured_ns = time.monotonic_ns() - int(age_s * NS_PER_S)
        return Frame(np.full((48, 64, 3), number, np.uint8), captured_ns, number)

    def close(self) -> None:
        """Has nothing to close."""


def shown(camera: Snapshots, plan: WatchPlan) -> Pictures:
    watched = LatestFrame(camera, plan)
    watched.start()
    assert watched.wait_first(WAIT_S)
    return Pictures({camera.spec.name: watched}, Encoding.RAW, 90)


def test_a_camera_without_a_young_picture_is_named() -> None:
    """A picture older than the age at which its camera has failed is refused with the camera's name."""
    pictures = shown(Snapshots(SPECS[0], (0.0, 2.0)), WatchPlan())
    with pytest.raises(RobotFault, match="front"):
        pictures.newest()
    pictures.close()


def test_a_slow_camera_may_be_as_old_as_its_own_limit() -> None:
    """A camera of one picture in two seconds is not lost for a picture two seconds old."""
    slow = CameraSpec("front", 48, 64, fps=0.5)
    pictures = shown(Snapshots(slow, (0.0, 2.0)), WatchPlan(stale_ns=6 * NS_PER_S))
    assert list(pictures.newest()) == ["front"]
    pictures.close()


def test_a_picture_from_before_a_hold_is_not_sent() -> None:
    """A picture more than two periods before the stamp is not sent: the next one is waited for and is."""
    spec = CameraSpec("front", 48, 64, fps=2.0)
    pictures = shown(Snapshots(spec, (0.0, 1.5), (0.3, 0.0)), WatchPlan(stale_ns=10 * NS_PER_S))
    assert pictures.newest(since_ns=time.monotonic_ns())["front"].data[0] == 2
    pictures.close()


def test_a_camera_that_shows_nothing_after_a_hold_is_named() -> None:
    """When two periods bring no picture that is young enough, the camera is reported."""
    spec = CameraSpec("front", 48, 64, fps=20.0)
    pictures = shown(Snapshots(spec, (0.0, 0.5)), WatchPlan(stale_ns=10 * NS_PER_S))
    assert list(pictures.newest()) == ["front"]
    with pytest.raises(RobotFault, match="front"):
        pictures.newest(since_ns=time.monotonic_ns())
    pictures.close()


def test_a_robot_without_cameras_sends_no_pictures() -> None:
    """No camera is no fault."""
    pictures = Pictures({}, Encoding.JPEG, 90)
    assert pictures.newest() == {}
    assert pictures.fault() is None
    pictures.close()


def test_earlier_pictures_are_those_of_their_time(cameras: dict[str, LatestFrame]) -> None:
    """For each stamp there is one picture of each camera."""
    pictures = Pictures(cameras, Encoding.JPEG, 90)
    earlier = pictures.earlier([0, 10**19])
    assert [list(images) for images in earlier] == [["front", "wrist"]] * 2
    pictures.close()


@pytest.mark.parametrize(
    ("encoding", "to", "smaller"),
    [(Encoding.JPEG, 40, True), (Encoding.JPEG, 95, False), (Encoding.RAW, 40, False)],
)
def test_pictures_are_lowered_only_where_that_makes_them_smaller(
    cameras: dict[str, LatestFrame], encoding: Encoding, to: int, smaller: bool
) -> None:
    """A lower quality makes JPEGs smaller; raw pictures, and a quality that is no lower, stay as they are."""
    pictures = Pictures(cameras, encoding, 90)
    before = sum(len(image.data) for image in pictures.newest().values())
    assert pictures.lower(to) is smaller
    after = sum(len(image.data) for image in pictures.newest().values())
    assert (after < 0.8 * before) is smaller
    pictures.close()
