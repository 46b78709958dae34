from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from segue.cameras.base import Camera
from segue.cameras.file import FileCamera
from segue.cameras.http import HttpCamera
from segue.cameras.latest import LatestFrame, WatchPlan
from segue.cameras.opencv import OpenCVCamera, OpenCVOptions
from segue.client.pictures import Pictures
from segue.clock import NS_PER_S, now_ns
from segue.core.resize import Fit, Geometry, resized
from segue.core.specs import CameraSpec
from segue.core.types import Frame
from segue.errors import RobotFault
from segue.testing.cameras import FakeCamera, natural_frames
from segue.wire.image import decode, encode, pixels
from segue.wire.records import EncodedImage, Encoding
from tests.unit.cameras.samples import FakeCapture, jpeg_of, served

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
        captured_ns = now_ns() - int(age_s * NS_PER_S)
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
    assert pictures.newest(since_ns=now_ns())["front"].data[0] == 2
    pictures.close()


def test_a_camera_that_shows_nothing_after_a_hold_is_named() -> None:
    """When two periods bring no picture that is young enough, the camera is reported."""
    spec = CameraSpec("front", 48, 64, fps=20.0)
    pictures = shown(Snapshots(spec, (0.0, 0.5)), WatchPlan(stale_ns=10 * NS_PER_S))
    assert list(pictures.newest()) == ["front"]
    with pytest.raises(RobotFault, match="front"):
        pictures.newest(since_ns=now_ns())
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


class JpegCamera:
    """A camera that delivers one picture of its own making, again and again."""

    def __init__(self, jpeg: bytes, spec: CameraSpec = SPECS[0]) -> None:
        self.spec = spec
        self.jpeg = jpeg
        self._number = 0

    def open(self) -> None:
        """Needs no opening."""

    def grab(self) -> Frame:
        time.sleep(0.005)
        self._number += 1
        return Frame(None, now_ns(), self._number, self.jpeg)

    def close(self) -> None:
        """Has nothing to close."""


def watched(camera: Camera) -> LatestFrame:
    latest = LatestFrame(camera)
    latest.start()
    assert latest.wait_first(WAIT_S)
    return latest


NATURAL = natural_frames(48, 64, 1, 2)[0]
# As a USB camera makes it: colour at half width, another quality than ours.
OWN = simplejpeg.encode_jpeg(NATURAL, quality=80, colorspace="RGB", colorsubsampling="422")
SMALLER = Geometry(24, 32, Fit.STRETCH)
LARGER = Geometry(96, 128, Fit.STRETCH)


WIDE = Geometry(24, 200, Fit.STRETCH)  # lower than 48x64, and more pixels
TALL = Geometry(96, 16, Fit.STRETCH)  # higher, and fewer pixels
NARROW = Geometry(200, 32, Fit.STRETCH)  # narrower, and more pixels


@pytest.mark.parametrize(
    "geometries",
    [{}, {"front": LARGER}, {"front": WIDE}, {"front": NARROW}, {"wrist": SMALLER}],
    ids=["none", "larger", "wide", "narrow", "of another"],
)
def test_a_camera_s_own_jpeg_goes_as_it_is(geometries: dict[str, Geometry]) -> None:
    """Without a smaller size that the policy wants of this camera, not a byte is changed."""
    front = watched(JpegCamera(OWN))
    pictures = Pictures({"front": front}, Encoding.JPEG, 90, geometries)
    assert pictures.newest()["front"] == EncodedImage(Encoding.JPEG, 48, 64, OWN)
    pictures.close()
    front.stop()


@pytest.mark.parametrize(
    "jpeg",
    [
        simplejpeg.encode_jpeg(NATURAL, quality=100, colorspace="RGB", colorsubsampling="444"),
        simplejpeg.encode_jpeg(NATURAL[:, :, :1].copy(), colorspace="GRAY"),
    ],
    ids=["large", "grey"],
)
def test_a_jpeg_that_is_large_or_grey_is_made_anew(jpeg: bytes) -> None:
    """What the server would refuse, or takes many times the bytes, is decoded and encoded here."""
    front = watched(JpegCamera(jpeg))
    pictures = Pictures({"front": front}, Encoding.JPEG, 90)
    sent = pictures.newest()["front"]
    assert sent == encode(pixels(Frame(None, 0, 0, jpeg)), 90)
    assert sent.data != jpeg
    pictures.close()
    front.stop()


def test_on_a_slow_link_a_camera_s_own_jpeg_is_made_smaller() -> None:
    """Once pictures are to be coarser, the camera's own are no longer passed through."""
    front = watched(JpegCamera(OWN))
    pictures = Pictures({"front": front}, Encoding.JPEG, 90)
    assert pictures.lower(40)
    assert len(pictures.newest()["front"].data) < 0.8 * len(OWN)
    pictures.close()
    front.stop()


def test_raw_is_raw_for_a_camera_that_delivers_jpeg() -> None:
    """Asked for raw pictures, a JPEG is decoded."""
    front = watched(JpegCamera(OWN))
    pictures = Pictures({"front": front}, Encoding.RAW, 90)
    sent = pictures.newest()["front"]
    assert (sent.encoding, len(sent.data)) == (Encoding.RAW, 48 * 64 * 3)
    pictures.close()
    front.stop()


@pytest.mark.parametrize("camera", [JpegCamera(OWN), FakeCamera(SPECS[0])], ids=["jpeg", "pixels"])
def test_a_larger_picture_is_brought_to_the_policy_s_size(camera: Camera) -> None:
    """Whatever the camera delivers, what travels has the policy's size where that is smaller."""
    front = watched(camera)
    pictures = Pictures({"front": front}, Encoding.RAW, 90, {"front": SMALLER})
    sent = pictures.newest()["front"]
    assert (sent.height, sent.width, len(sent.data)) == (24, 32, 24 * 32 * 3)
    if isinstance(camera, JpegCamera):
        expected = resized(simplejpeg.decode_jpeg(OWN, fastdct=False, fastupsample=False), SMALLER)
        assert sent.data == expected.tobytes()
    pictures.close()
    as_jpeg = Pictures({"front": front}, Encoding.JPEG, 90, {"front": SMALLER})
    sent = as_jpeg.newest()["front"]
    assert decode(sent, CameraSpec("front", 24, 32)).shape == (24, 32, 3)
    as_jpeg.close()
    front.stop()


@pytest.mark.parametrize("geometry", [TALL, Geometry(12, 128, Fit.STRETCH)], ids=["tall", "long"])
def test_what_has_fewer_pixels_is_smaller_whatever_its_shape(geometry: Geometry) -> None:
    """One side may be longer than the camera's: a picture of fewer pixels is made here."""
    front = watched(JpegCamera(OWN))
    pictures = Pictures({"front": front}, Encoding.JPEG, 90, {"front": geometry})
    sent = pictures.newest()["front"]
    assert (sent.height, sent.width) == geometry.size
    pictures.close()
    front.stop()


def several() -> list[bytes]:
    """Returns the JPEGs of a drifting scene, small enough to pass."""
    return [jpeg_of(image, quality=80) for image in natural_frames(48, 64, 4, 2)]


def damaged(jpeg: bytes) -> bytes:
    """Returns a picture with bytes too many before its end, as some cheap cameras make them."""
    return jpeg[:-2] + bytes(40) + jpeg[-2:]


@contextmanager
def camera_of(kind: str, shown: list[bytes], tmp_path: Path) -> Iterator[Camera]:
    """Makes a camera of a kind that shows these JPEGs in turn."""
    spec = CameraSpec("front", 48, 64, fps=100.0)
    if kind == "opencv":
        capture = FakeCapture(shown)
        capture.period_s = 0.01
        yield OpenCVCamera(spec, OpenCVOptions("2", warmup_s=0.0), lambda path: capture)
    elif kind == "file":
        (tmp_path / "front.mjpeg").write_bytes(b"".join(shown))
        yield FileCamera(spec, tmp_path / "front.mjpeg")
    else:
        with served(lambda handler: endless(handler, shown)) as url:
            yield HttpCamera(spec, url)


def endless(handler: BaseHTTPRequestHandler, shown: list[bytes]) -> None:
    handler.send_response(200)
    handler.end_headers()
    for jpeg in itertools.cycle(shown):
        handler.wfile.write(b"--frame\r\n\r\n" + jpeg)
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["opencv", "file", "http"])
def test_damaged_pictures_of_any_camera_arrive_well(kind: str, tmp_path: Path) -> None:
    """What the server would refuse is never sent: each picture decodes there; the camera is named once."""
    own = several()
    with camera_of(kind, [damaged(each) for each in own], tmp_path) as camera:
        front = watched(camera)
        pictures = Pictures({"front": front}, Encoding.JPEG, 90)
        sent = [pictures.newest()["front"] for _ in range(10)]
        assert pictures.newly_damaged() == ["front"]
        assert pictures.newly_damaged() == []
        expected = [encode(pixels(Frame(None, 0, 0, each)), 90) for each in own]
        assert all(image in expected for image in sent)
        assert all(decode(image, SPECS[0]).shape == (48, 64, 3) for image in sent)
        pictures.close()
        front.stop()


@pytest.mark.parametrize("kind", ["opencv", "file", "http"])
def test_whole_pictures_of_any_camera_pass_untouched(kind: str, tmp_path: Path) -> None:
    """Checked pictures that are whole are the camera's own bytes, and nothing is said."""
    own = several()
    with camera_of(kind, own, tmp_path) as camera:
        front = watched(camera)
        pictures = Pictures({"front": front}, Encoding.JPEG, 90)
        assert all(pictures.newest()["front"].data in own for _ in range(10))
        assert pictures.newly_damaged() == []
        pictures.close()
        front.stop()


def test_a_picture_that_cannot_be_decoded_names_its_camera() -> None:
    """A JPEG with a good header and no picture behind it is a fault of its camera."""
    header = OWN[: OWN.index(b"\xff\xda")]
    front = watched(JpegCamera(header + b"\xff\xd9"))
    pictures = Pictures({"front": front}, Encoding.RAW, 90)
    with pytest.raises(RobotFault, match="camera front: a damaged picture"):
        pictures.newest()
    pictures.close()
    front.stop()


@pytest.mark.parametrize("fit", list(Fit))
def test_three_cameras_fit_into_45_kilobytes(fit: Fit) -> None:
    """Three noisy 640x480 pictures, brought to 224x224 at quality 90, take at most 45 000 bytes."""
    specs = [CameraSpec(name, 480, 640) for name in ("top", "front", "wrist")]
    cameras = {spec.name: watched(FakeCamera(spec, seed)) for seed, spec in enumerate(specs)}
    pictures = Pictures(cameras, Encoding.JPEG, 90, {s.name: Geometry(224, 224, fit) for s in specs})
    size = sum(len(image.data) for image in pictures.newest().values())
    sys.stdout.write(f"three 224x224 pictures, {fit}: {size} bytes\n")
    assert size <= 45_000
    pictures.close()
    for each in cameras.values():
        each.stop()
