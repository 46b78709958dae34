"""What a JPEG says of itself, read from its markers without decoding a pixel.

A camera that delivers JPEG is passed through, so somebody must look at the
bytes before they are believed: which size, how many colours, and whether the
picture is whole. A JPEG is a chain of segments, each with its length, and of
compressed data in which 0xff is always followed by zero or a restart mark; that
is enough to find its end in a stream. Nothing here sets memory aside by what a
header claims, and every loop ends with the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

START = b"\xff\xd8"
END = b"\xff\xd9"
# A noisy 1920x1080 picture at the best quality takes 2 MB; a message of the link 8 MiB at most.
MAX_JPEG_BYTES = 4 * 1024 * 1024
# As on the wire: larger than any camera of a robot, and 48 MB when decoded.
MAX_JPEG_PIXELS = 16_000_000

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# Begin of a frame: 0xc0 to 0xcf without DHT, JPG and DAC, which share the range.
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# These stand alone, without a length.
_BARE = frozenset({0x01, *range(0xD0, 0xD8), _EOI})
# Ends compressed data: not a stuffed zero, a restart mark or a fill byte.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")

Bytes = bytes | bytearray


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What a JPEG claims: size in pixels, and 1 component for grey, 3 for colour."""

    height: int
    width: int
    components: int


def jpeg_header(data: Bytes) -> JpegHeader | None:
    """Returns what the picture says of itself, or None when it is no JPEG or does not get that far."""
    if not data.startswith(START):
        return None
    try:
        for marker, begin, end in _segments(data, len(START)):
            if marker in _SIZES and end - begin >= 6:
                height, width = _number(data, begin + 1), _number(data, begin + 3)
                return JpegHeader(height, width, data[begin + 5])
            if marker in (_SOS, _EOI):
                return None
    except ValueError:
        return None
    return None


def jpeg_end(data: Bytes) -> int | None:
    """Returns where the picture that begins at index 0 ends, or None when it goes on behind `data`.

    Raises:
        ValueError: it is no JPEG, or damaged.
    """
    if not data.startswith(START):
        raise ValueError("no JPEG begins here")
    for marker, _, end in _segments(data, len(START)):
        if marker == _EOI:
            return end
    return None


def whole_jpeg(data: bytes) -> bytes | None:
    """Returns the picture without what a driver left behind its end, or None when it was cut off."""
    end = data.rfind(END)
    if end < 0 or not data.startswith(START):
        return None
    return data if end + len(END) == len(data) else data[: end + len(END)]


def _segments(data: Bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Yields marker, begin and end of each segment's body that `data` holds whole, the last mark included."""
    while at + 1 < len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == _SOI:
            raise ValueError("damaged JPEG: something else where a marker belongs")
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        begin = end = at + 2
        if marker not in _BARE:
            if begin + 2 > len(data):
                return
            length = _number(data, begin)
            if length < 2:
                raise ValueError("damaged JPEG: a segment shorter than its length")
            begin, end = begin + 2, begin + length
        if end > len(data):
            return
        yield marker, begin, end
        if marker == _EOI:
            return
        at = end
        if marker == _SOS:
            found = _MARKER.search(data, end)
            if found is None:
                return
            at = found.start()


def _number(data: Bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
