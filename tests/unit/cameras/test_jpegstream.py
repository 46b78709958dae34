"""Pictures out of a stream, however it is cut, and whatever stands between them."""

from __future__ import annotations

import io
import random

import pytest

from segue.cameras.jpegstream import JpegStream
from segue.errors import RobotFault
from tests.unit.cameras.samples import jpegs

PICTURES = jpegs(5)


def stream_of(data: bytes, chunk: int, max_bytes: int = 1 << 20) -> JpegStream:
    file = io.BytesIO(data)
    return JpegStream(lambda count: file.read(min(chunk, count)), max_bytes)


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000, 1 << 20])
@pytest.mark.parametrize(
    "between", [b"", b"\r\n--frame\r\nContent-Length: 7\r\n\r\n", b"\0\0\xff", b"\xff\xd8"]
)
def test_every_picture_comes_whole_and_once(chunk: int, between: bytes) -> None:
    """The pictures come byte for byte, wherever reads cut the stream and whatever lies between."""
    stream = stream_of(between + between.join(PICTURES) + between, chunk)
    assert [stream.next() for _ in PICTURES] == PICTURES
    assert stream.next() is None


def test_a_mark_of_the_end_inside_a_segment_does_not_end_the_picture() -> None:
    """A thumbnail's end mark within a comment is passed over."""
    picture = PICTURES[0]
    comment = b"\xff\xfe" + (2 + 6).to_bytes(2, "big") + b"ab\xff\xd9cd"
    longer = picture[:2] + comment + picture[2:]
    assert stream_of(longer + PICTURES[1], 100).next() == longer


def test_what_is_no_picture_is_skipped_without_being_kept() -> None:
    """A stream of noise without a picture ends, and the buffer stays small meanwhile."""
    noise = random.Random(1).randbytes(300_000).replace(b"\xff\xd8", b"\0\0")
    stream = stream_of(noise, 1000)
    assert stream.next() is None
    assert "buffered=2" in repr(stream)


def test_a_damaged_picture_is_left_out() -> None:
    """A picture whose segments make no sense is skipped, and the next one comes."""
    damaged = b"\xff\xd8\xff\xe0\x00\x00" + b"\xff\xd9" * 3
    assert stream_of(damaged + PICTURES[0], 50).next() == PICTURES[0]


def test_a_picture_that_breaks_off_takes_no_other_with_it() -> None:
    """When the next picture begins within one, the broken one is left out and the next comes whole."""
    stream = stream_of(PICTURES[0][:-300] + PICTURES[1] + PICTURES[2], 100)
    assert [stream.next(), stream.next()] == PICTURES[1:3]


def test_a_picture_without_end_does_not_grow_the_memory() -> None:
    """A picture larger than allowed is refused before more of it is read than that."""
    endless = PICTURES[0][:-2] + b"\x00" * 1_000_000
    with pytest.raises(RobotFault, match="more than 50000 bytes"):
        stream_of(endless, 1000, max_bytes=50_000).next()
