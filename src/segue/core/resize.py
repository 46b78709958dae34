"""A camera's picture brought to a policy's size, the same on either side of the link.

A policy has learned from pictures that were resized in one way; shown others it
fails without an error. So the policy's spec says size and fit, and client and
server call this one function: whoever resizes, the pixels are the same.
Bilinear with half-pixel centres and no smoothing, as torch's
`interpolate(align_corners=False, antialias=False)`, which is what the policies
were trained behind; from 640x480 to 224x224 it takes 1 ms. Pixels are never
turned, and never stretched unless the fit says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from segue.core.types import ImageArray

Indices = npt.NDArray[np.intp]
Weights = npt.NDArray[np.float32]


class Fit(StrEnum):
    """What becomes of a picture of another shape."""

    STRETCH = "stretch"  # fills the size, each side by its own factor
    PAD_LEFT_TOP = "pad_left_top"  # whole picture, black at its left or above it: LeRobot's SmolVLA
    PAD_CENTER = "pad_center"  # whole picture, black on both sides: openpi's pi0
    CROP_CENTER = "crop_center"  # the middle of the picture, its overhanging sides cut off


@dataclass(frozen=True, slots=True)
class Geometry:
    """The size that a policy wants, pixels, and how a picture is brought to it."""

    height: int
    width: int
    fit: Fit

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


def resized(image: ImageArray, geometry: Geometry) -> ImageArray:
    """Returns `image` in the geometry's size; itself when it has that size.

    Args:
        image: (height, width, 3) uint8, not empty.
        geometry: see there.

    Source: the rounding down of padded sizes is that of `resize_with_pad` in LeRobot's SmolVLA and pi0.
    """
    if image.shape[:2] == geometry.size:
        return image
    return _FITS[geometry.fit](image, geometry)


def _stretch(image: ImageArray, geometry: Geometry) -> ImageArray:
    return bilinear(image, geometry.height, geometry.width)


def _pad_left_top(image: ImageArray, geometry: Geometry) -> ImageArray:
    inner = _shrunk(image, geometry)
    return _framed(inner, geometry, geometry.height - inner.shape[0], geometry.width - inner.shape[1])


def _pad_center(image: ImageArray, geometry: Geometry) -> ImageArray:
    inner = _shrunk(image, geometry)
    # An odd row goes below, an odd column to the right.
    return _framed(
        inner, geometry, (geometry.height - inner.shape[0]) // 2, (geometry.width - inner.shape[1]) // 2
    )


def _crop_center(image: ImageArray, geometry: Geometry) -> ImageArray:
    height, width = image.shape[:2]
    scale = min(height / geometry.height, width / geometry.width)
    rows = min(height, max(1, round(geometry.height * scale)))
    columns = min(width, max(1, round(geometry.width * scale)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return bilinear(image[top : top + rows, left : left + columns], geometry.height, geometry.width)


_FITS: Mapping[Fit, Callable[[ImageArray, Geometry], ImageArray]] = {
    Fit.STRETCH: _stretch,
    Fit.PAD_LEFT_TOP: _pad_left_top,
    Fit.PAD_CENTER: _pad_center,
    Fit.CROP_CENTER: _crop_center,
}


def bilinear(image: ImageArray, height: int, width: int) -> ImageArray:
    """Returns `image`, (rows, columns, 3) uint8, interpolated to (height, width, 3) and rounded."""
    above, below, down = _taps(image.shape[0], height)
    left, right, across = _taps(image.shape[1], width)
    # Rows first: each is copied whole. Buffers are reused, since memory is most of the time.
    rows = image[above].astype(np.float32)
    change = image[below].astype(np.float32)
    change -= rows
    change *= down[:, None, None]
    rows += change
    result, change = rows[:, left], rows[:, right]
    change -= result
    change *= across[:, None]
    result += change
    np.rint(result, out=result)
    return result.astype(np.uint8)


@lru_cache(maxsize=64)
def _taps(old: int, new: int) -> tuple[Indices, Indices, Weights]:
    """Returns for each new line the two old ones that it lies between, and the second one's share."""
    centres = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * np.float32(old / new) - np.float32(0.5)
    # Outside the outermost centres there is nothing to interpolate: the line itself.
    places = np.clip(centres, 0, old - 1)
    first = places.astype(np.intp)
    second = np.minimum(first + 1, old - 1)
    return first, second, (places - first).astype(np.float32)


def _shrunk(image: ImageArray, geometry: Geometry) -> ImageArray:
    """Returns the whole picture, its shape kept, as large as it may be within the geometry."""
    height, width = image.shape[:2]
    ratio = max(height / geometry.height, width / geometry.width)
    return bilinear(image, max(1, int(height / ratio)), max(1, int(width / ratio)))


def _framed(inner: ImageArray, geometry: Geometry, top: int, left: int) -> ImageArray:
    framed = np.zeros((geometry.height, geometry.width, 3), np.uint8)
    framed[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return framed
