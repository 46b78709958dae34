"""Pictures on the wire: JPEG, or raw where every byte counts as it is.

Chroma is halved (4:2:0): on a noisy 640x480 frame at quality 90 that takes 73 %
of the bytes and 63 % of the time of 4:4:4, for 0.7 grey levels more mean error.
The accurate transforms are used on both sides; the fast ones save 5 %. Before a
JPEG is decoded, its own header must say the size and the colour that the
camera announced at the handshake: a header is free to claim 65535 x 65535 and
must not be believed with 12 GB.
"""

from __future__ import annotations

import numpy as np
import simplejpeg

from segue.core.jpeg import MAX_JPEG_PIXELS, jpeg_header
from segue.core.specs import CameraSpec
from segue.core.types import Frame, ImageArray
from segue.errors import LocalProtocolError, RemoteProtocolError, RobotFault
from segue.wire.checks import brief, wrong
from segue.wire.records import EncodedImage, Encoding

DEFAULT_QUALITY = 90
# A progressive JPEG has about ten scans. Each costs up to 18 ms at 4000x4000 pixels and may be 31 bytes
# long, so that without a bound one message of 8 MiB decodes for more than an hour.
_MAX_SCANS = 64
_START_OF_SCAN = b"\xff\xda"

# The library looks up the chroma subsampling in a table that lacks the rarer ones.
_NO_JPEG = (ValueError, KeyError)


def encode(image: ImageArray, quality: int = DEFAULT_QUALITY) -> EncodedImage:
    """Returns `image` as a JPEG.

    Args:
        image: (height, width, 3) uint8 RGB.
        quality: 1..100.

    Raises:
        LocalProtocolError: it is not such a picture.
    """
    _check_picture(image)
    pixels = np.ascontiguousarray(image)
    data = simplejpeg.encode_jpeg(
        pixels, quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=False
    )
    return EncodedImage(Encoding.JPEG, image.shape[0], image.shape[1], data)


def encode_raw(image: ImageArray) -> EncodedImage:
    """Returns `image`, (height, width, 3) uint8 RGB, byte for byte.

    Raises:
        LocalProtocolError: it is not such a picture.
    """
    _check_picture(image)
    return EncodedImage(Encoding.RAW, image.shape[0], image.shape[1], image.tobytes())


def pass_through(frame: Frame) -> EncodedImage | None:
    """Returns the JPEG that a camera itself made, as it is, if the other side will take it; else None.

    Its header is held against the same rules as on arrival. Its pixels are not decoded, so that it may
    still be damaged and refused: see `is_sound`.
    """
    if frame.jpeg is None:
        return None
    header = jpeg_header(frame.jpeg)
    if header is None:
        return None
    image = EncodedImage(Encoding.JPEG, header.height, header.width, frame.jpeg)
    try:
        _check_jpeg(image, "frame")
    except RemoteProtocolError:
        return None
    return image


def is_sound(image: EncodedImage) -> bool:
    """Returns whether the other side will decode `image`: that is tried, in exactly its way."""
    try:
        decode(image, CameraSpec("own", image.height, image.width))
    except RemoteProtocolError:
        return False
    return True


def pixels(frame: Frame) -> ImageArray:
    """Returns the pixels of a camera's picture, (height, width, 3) uint8 RGB, decoded if need be.

    A cheap camera's JPEG may be slightly damaged; what of it can be seen is taken.

    Raises:
        RobotFault: it cannot be decoded, or is larger than any camera's.
    """
    if frame.image is not None:
        return frame.image
    header = jpeg_header(frame.jpeg or b"")
    size = header.height * header.width if header else 0
    if not 0 < size <= MAX_JPEG_PIXELS or _scans(frame.jpeg or b"") > _MAX_SCANS:
        raise RobotFault("a picture that is no JPEG, or too large a one")
    try:
        decoded: ImageArray = simplejpeg.decode_jpeg(
            frame.jpeg, colorspace="RGB", fastdct=False, fastupsample=False, strict=False
        )
    except _NO_JPEG as error:
        raise RobotFault(f"a damaged picture: {error}") from None
    return decoded


def decode(image: EncodedImage, camera: CameraSpec) -> ImageArray:
    """Returns the picture, (height, width, 3) uint8 RGB.

    Args:
        image: as it travelled.
        camera: as announced at the handshake; its size is the only one accepted.

    Raises:
        RemoteProtocolError: size, colour or bytes are not what they should be.
    """
    if (image.height, image.width) != (camera.height, camera.width):
        says = f"{image.width}x{image.height}, announced were {camera.width}x{camera.height}"
        raise _wrong(camera.name, says)
    if image.encoding is Encoding.RAW:
        return _decode_raw(image, camera)
    return _decode_jpeg(image, camera)


def _decode_raw(image: EncodedImage, camera: CameraSpec) -> ImageArray:
    expected = image.height * image.width * 3
    if len(image.data) != expected:
        raise _wrong(camera.name, f"{len(image.data)} raw bytes, expected {expected}")
    return np.frombuffer(image.data, dtype=np.uint8).reshape(image.height, image.width, 3)


def _decode_jpeg(image: EncodedImage, camera: CameraSpec) -> ImageArray:
    _check_jpeg(image, camera.name)
    try:
        decoded: ImageArray = simplejpeg.decode_jpeg(
            image.data, colorspace="RGB", fastdct=False, fastupsample=False
        )
    except _NO_JPEG:
        raise _wrong(camera.name, "the JPEG is damaged") from None
    return decoded


def _check_jpeg(image: EncodedImage, camera: str) -> None:
    """Refuses a JPEG whose header is not what was announced, before it is decoded."""
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(image.data)
    except _NO_JPEG:
        raise _wrong(camera, "not a JPEG") from None
    if (height, width) != (image.height, image.width):
        says = f"the JPEG says {width}x{height}, announced were {image.width}x{image.height}"
        raise _wrong(camera, says)
    if colorspace != "YCbCr":
        raise _wrong(camera, f"the JPEG is {colorspace}, not in colour (YCbCr)")
    if _scans(image.data) > _MAX_SCANS:
        raise _wrong(camera, f"the JPEG has more than {_MAX_SCANS} scans")


def _wrong(camera: str, says: str) -> RemoteProtocolError:
    return wrong(f"image of {brief(camera)}", says)


def _scans(data: bytes) -> int:
    # Compressed data never holds a marker by chance: its 0xff bytes are followed by zero.
    return data.count(_START_OF_SCAN)


def _check_picture(image: ImageArray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise LocalProtocolError(f"a picture is (height, width, 3) uint8, not {image.shape} {image.dtype}")
