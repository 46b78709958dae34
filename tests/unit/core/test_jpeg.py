"""What a JPEG says of itself, for true ones, cut ones and lies."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from segue.core.jpeg import JpegHeader, jpeg_end, jpeg_header, whole_jpeg


def jpeg(height: int, width: int, **wish: object) -> bytes:
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return bytes(simplejpeg.encode_jpeg(image, **({"colorspace": "RGB"} | wish)))


PICTURE = jpeg(48, 64)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (48, 64), (1080, 1920), (17, 3)])
@pytest.mark.parametrize("sampling", ["444", "422", "420"])
def test_the_header_says_the_size(height: int, width: int, sampling: str) -> None:
    """Size and number of colours are those that the encoder was given, and the end is the end."""
    data = jpeg(height, width, colorsubsampling=sampling)
    assert jpeg_header(data) == JpegHeader(height, width, 3)
    assert jpeg_end(data) == len(data)
    assert jpeg_end(data + b"\xff\xd8more") == len(data)


def test_a_grey_picture_has_one_component() -> None:
    """A picture without colour says so."""
    grey = simplejpeg.encode_jpeg(np.zeros((8, 8, 1), np.uint8), colorspace="GRAY")
    assert jpeg_header(grey) == JpegHeader(8, 8, 1)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xd8", b"GIF89a", PICTURE[1:], b"\xff\xd8\xff\xd9"])
def test_what_is_no_jpeg_has_no_header(data: bytes) -> None:
    """No header is made up for bytes that hold none."""
    assert jpeg_header(data) is None


def test_a_cut_picture_has_no_end() -> None:
    """However much of a picture is missing, it is not called whole."""
    for cut in range(2, len(PICTURE), 7):
        assert jpeg_end(PICTURE[:cut]) is None
        assert whole_jpeg(PICTURE[:cut]) is None


@pytest.mark.parametrize("rest", [b"", b"\0" * 500, b"\xff\xff"])
def test_what_a_driver_leaves_behind_the_end_is_cut_off(rest: bytes) -> None:
    """Padding after the last mark is no part of the picture."""
    assert whole_jpeg(PICTURE + rest) == PICTURE


@given(st.binary(max_size=300), st.integers(0, len(PICTURE)))
def test_any_bytes_are_looked_through_without_harm(noise: bytes, cut: int) -> None:
    """Whatever follows a begin of a picture, the answer is a size, an end within it, or none."""
    data = PICTURE[:cut] + noise
    header = jpeg_header(data)
    assert header is None or header.height >= 0
    try:
        end = jpeg_end(data)
    except ValueError:
        return
    assert end is None or 0 < end <= len(data)
