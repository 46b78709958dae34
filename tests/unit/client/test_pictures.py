from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from segue.cameras.latest import LatestFrame
from segue.client.pictures import Pictures
from segue.clock import NS_PER_S
from segue.core.specs import CameraSpec
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
    images = pictures.newest(NS_PER_S)
    assert list(images) == ["front", "wrist"]
    frames = {name: cameras[name].latest(NS_PER_S) for name in images}
    for spec in SPECS:
        frame, picture = frames[spec.name], decode(images[spec.name], spec).astype(float)
        assert frame is not None
        rolls = [np.abs(np.roll(frame.image, 3 * k, axis=1) - picture).mean() for k in range(-3, 4)]
        assert min(rolls) <= error  # the next frame, drifted by three columns, may have come meanwhile
    pictures.close()


def test_a_camera_without_a_young_picture_is_named(cameras: dict[str, LatestFrame]) -> None:
    """A picture older than asked for is refused with the camera's name."""
    pictures = Pictures(cameras, Encoding.JPEG, 90)
    with pytest.raises(RobotFault, match="front"):
        pictures.newest(max_age_ns=0)
    pictures.close()


def test_a_robot_without_cameras_sends_no_pictures() -> None:
    """No camera is no fault."""
    pictures = Pictures({}, Encoding.JPEG, 90)
    assert pictures.newest(0) == {}
    assert pictures.fault() is None
    pictures.close()


def test_earlier_pictures_are_those_of_their_time(cameras: dict[str, LatestFrame]) -> None:
    """For each stamp there is one picture of each camera."""
    pictures = Pictures(cameras, Encoding.JPEG, 90)
    earlier = pictures.earlier([0, 10**19])
    assert [list(images) for images in earlier] == [["front", "wrist"]] * 2
    pictures.close()
