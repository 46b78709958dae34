"""Pictures on the wire."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from segue.core.specs import CameraSpec
from segue.core.types import Frame
from segue.errors import LocalProtocolError, RemoteProtocolError, RobotFault
from segue.wire.image import decode, encode, encode_raw, is_sound, pass_through, pixels
from segue.wire.records import EncodedImage, Encoding

CAMERA = CameraSpec("front", 48, 64)


def scene() -> np.ndarray:
    """Returns a smooth picture in colour, (48, 64, 3)."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, 255 - x * 2], axis=-1).astype(np.uint8)


def with_size(jpeg: bytes, height: int, width: int) -> bytes:
    """Returns `jpeg` with another size in its frame header."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + jpeg[at + 4 :]


def test_a_jpeg_arrives_nearly_as_it_was() -> None:
    """A picture at the default quality comes back in RGB, within 3 grey levels on average."""
    decoded = decode(encode(scene()), CAMERA)
    assert decoded.shape == (48, 64, 3)
    assert np.abs(decoded.astype(int) - scene()).mean() < 3.0


def test_raw_arrives_as_it_was() -> None:
    """A raw picture comes back byte for byte."""
    assert np.array_equal(decode(encode_raw(scene()), CAMERA), scene())


def test_quality_buys_bytes() -> None:
    """A lower quality takes fewer bytes."""
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    assert len(encode(noise, quality=40).data) < 0.7 * len(encode(noise, quality=90).data)


def test_a_picture_that_is_a_view_is_encoded() -> None:
    """A picture that is not contiguous in memory is encoded as it reads."""
    decoded = decode(encode(scene()[:, ::-1]), CAMERA)
    assert np.abs(decoded.astype(int) - scene()[:, ::-1]).mean() < 3.0


@pytest.mark.parametrize(
    "bad",
    [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_picture_is_not_encoded(bad: np.ndarray) -> None:
    """Grey, float, four-channel and empty arrays are refused at their source."""
    with pytest.raises(LocalProtocolError):
        encode(bad)
    with pytest.raises(LocalProtocolError):
        encode_raw(bad)


GOOD = encode(scene())
GREY = simplejpeg.encode_jpeg(scene()[:, :, :1].copy(), colorspace="GRAY", colorsubsampling="Gray")
SMALL = simplejpeg.encode_jpeg(np.ascontiguousarray(scene()[:24, :32]))
BAD_PICTURES = {
    "claims 65535 x 65535": (with_size(GOOD.data, 65_535, 65_535), "front"),
    "claims 65500 x 65500": (with_size(GOOD.data, 65_500, 65_500), "65500x65500"),
    "truncated": (GOOD.data[:-200], "damaged"),
    "truncated by its last bytes": (GOOD.data[:-2], "damaged"),
    "only its beginning": (GOOD.data[:20], "not a JPEG"),
    "grey": (GREY, "Gray"),
    "of another size": (SMALL, "32x24"),
    "empty": (b"", "not a JPEG"),
    "pickle": (b"\x80\x04K\x01.", "not a JPEG"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(50), "not a JPEG"),
}


@pytest.mark.parametrize(("data", "text"), BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_a_bad_jpeg_is_refused_before_memory_is_taken(data: bytes, text: str) -> None:
    """A JPEG of another size or colour, damaged or none, is refused at the cost of less than 1 MB."""
    tracemalloc.start()
    with pytest.raises(RemoteProtocolError, match=text):
        decode(replace(GOOD, data=data), CAMERA)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "image",
    [
        replace(GOOD, height=47),
        replace(GOOD, height=65_535, width=65_535),
        EncodedImage(Encoding.RAW, 48, 64, bytes(48 * 64 * 3 - 1)),
        EncodedImage(Encoding.RAW, 48, 64, b""),
        EncodedImage(Encoding.RAW, 65_535, 65_535, bytes(9)),
    ],
    ids=["one row less", "huge", "raw cut", "raw empty", "raw huge"],
)
def test_a_picture_that_was_not_announced_is_refused(image: EncodedImage) -> None:
    """A size other than the camera's own, or raw bytes that do not fill it, is refused."""
    with pytest.raises(RemoteProtocolError, match="front"):
        decode(image, CAMERA)


@given(st.data())
def test_a_damaged_jpeg_is_a_picture_or_a_refusal(data: st.DataObject) -> None:
    """A JPEG with one byte changed decodes to the announced size or is refused."""
    damaged = bytearray(GOOD.data)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(replace(GOOD, data=bytes(damaged)), CAMERA)
    except RemoteProtocolError:
        return
    assert decoded.shape == (48, 64, 3)


def test_a_jpeg_of_very_many_scans_is_refused_at_once() -> None:
    """More scans than any camera makes are refused by their count: each costs as much as a picture."""
    jpeg = encode(scene())
    at = jpeg.data.rindex(b"\xff\xda")
    many = jpeg.data[:-2] + jpeg.data[at:-2] * 100 + b"\xff\xd9"
    with pytest.raises(RemoteProtocolError, match="more than 64 scans"):
        decode(replace(jpeg, data=many), CAMERA)


def test_a_jpeg_of_an_odd_subsampling_is_no_jpeg() -> None:
    """A subsampling that the library has no name for is refused like any other nonsense."""
    jpeg = encode(scene())
    at = jpeg.data.index(b"\xff\xc0") + 11
    odd = jpeg.data[:at] + b"\x14" + jpeg.data[at + 1 :]
    with pytest.raises(RemoteProtocolError, match="not a JPEG"):
        decode(replace(jpeg, data=odd), CAMERA)


def own(image: np.ndarray, **wish: object) -> Frame:
    """Returns a frame that holds only a JPEG, as a camera made it."""
    options = {"quality": 85, "colorspace": "RGB", "colorsubsampling": "422"} | wish
    return Frame(None, 1, 1, simplejpeg.encode_jpeg(np.ascontiguousarray(image), **options))


@pytest.mark.parametrize("sampling", ["444", "422", "420"])
def test_a_camera_s_own_jpeg_travels_as_it_is(sampling: str) -> None:
    """What passes through is byte for byte the camera's, and the other side takes it."""
    frame = own(scene(), colorsubsampling=sampling)
    passed = pass_through(frame)
    assert passed is not None
    assert passed.data is frame.jpeg
    assert np.array_equal(decode(passed, CAMERA), pixels(frame))


def test_a_jpeg_without_tables_travels_as_it_is() -> None:
    """Most USB cameras leave out the standard Huffman tables; both sides know them."""
    frame = own(scene())
    jpeg = frame.jpeg or b""
    tables = jpeg.index(b"\xff\xc4")
    begin = jpeg.index(b"\xff\xda")
    bare = replace(frame, jpeg=jpeg[:tables] + jpeg[begin:])
    passed = pass_through(bare)
    assert passed is not None
    assert np.array_equal(decode(passed, CAMERA), pixels(frame))


@pytest.mark.parametrize(
    "frame",
    [
        Frame(scene(), 1, 1),
        Frame(None, 1, 1, b"no picture"),
        own(scene()[:, :, :1], colorspace="GRAY", colorsubsampling="Gray"),
        replace(own(scene()), jpeg=(own(scene()).jpeg or b"") + b"\xff\xda" * 65),
    ],
    ids=["pixels", "noise", "grey", "scans"],
)
def test_what_the_other_side_would_refuse_does_not_pass(frame: Frame) -> None:
    """Pixels, noise, a grey picture and one of very many scans are not passed on as they are."""
    assert pass_through(frame) is None


@pytest.mark.parametrize("zeros", [0, 40])
def test_a_picture_is_sound_when_the_other_side_decodes_it(zeros: int) -> None:
    """A good header is not enough: bytes too many before the end are refused there, and seen here."""
    frame = own(scene())
    jpeg = frame.jpeg or b""
    passed = pass_through(replace(frame, jpeg=jpeg[:-2] + bytes(zeros) + jpeg[-2:]))
    assert passed is not None
    assert is_sound(passed) is (zeros == 0)
    if zeros:
        with pytest.raises(RemoteProtocolError, match="damaged"):
            decode(passed, CAMERA)


def test_pixels_are_those_that_are_there_or_else_decoded() -> None:
    """Pixels that a frame has are handed out as they are; a JPEG, a grey one too, is decoded to RGB."""
    image = scene()
    assert pixels(Frame(image, 1, 1, b"not looked at")) is image
    grey = pixels(own(image[:, :, :1], colorspace="GRAY", colorsubsampling="Gray"))
    assert grey.shape == image.shape
    assert np.abs(grey.astype(int) - image[:, :, :1]).max() <= 8


def test_of_a_slightly_damaged_picture_is_taken_what_can_be_seen() -> None:
    """A camera's JPEG with some bytes lost still gives a picture of the right size."""
    frame = own(scene())
    jpeg = frame.jpeg or b""
    assert pixels(replace(frame, jpeg=jpeg[:-400] + b"\xff\xd9")).shape == (48, 64, 3)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff\xd9", with_size(own(scene()).jpeg or b"", 65535, 65535)]
)
def test_pixels_of_what_is_no_picture_are_a_fault(data: bytes) -> None:
    """Nothing is decoded, and no memory set aside, for what is no picture or claims a huge size."""
    with pytest.raises(RobotFault, match="no JPEG, or too large"):
        pixels(Frame(None, 1, 1, data))
