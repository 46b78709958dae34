"""Resizing against torch's own, each fit against what it says, and the work it costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segue.core.resize import Fit, Geometry, bilinear, resized
from segue.core.types import ImageArray
from segue.testing.cameras import natural_frames


def picture(height: int, width: int, seed: int = 0) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_torch(image: ImageArray, height: int, width: int) -> ImageArray:
    channels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(
        channels, size=(height, width), mode="bilinear", align_corners=False
    )
    return np.asarray(resized[0].permute(1, 2, 0).round().to(torch.uint8).numpy())


@pytest.mark.parametrize("old", [(480, 640), (224, 224), (7, 5), (1, 1)])
@pytest.mark.parametrize("new", [(224, 224), (96, 128), (512, 512), (13, 1)])
def test_pixels_are_those_of_torch(old: tuple[int, int], new: tuple[int, int]) -> None:
    """Up or down, from any size to any, no pixel is more than one grey level from torch's."""
    image = picture(*old)
    ours, theirs = bilinear(image, *new), by_torch(image, *new)
    assert ours.shape == (*new, 3)
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert (ours != theirs).mean() < 0.001


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    """Nothing is copied where nothing is to be done."""
    image = picture(224, 224)
    for fit in Fit:
        assert resized(image, Geometry(224, 224, fit)) is image


@pytest.mark.parametrize(
    ("fit", "size", "inner"),
    [
        # 640x480 into 224x224: the factor is 640/224, the height int(480 / 2.857) = 168.
        (Fit.PAD_LEFT_TOP, (224, 224), (slice(56, 224), slice(0, 224))),
        (Fit.PAD_CENTER, (224, 224), (slice(28, 196), slice(0, 224))),
        (Fit.PAD_CENTER, (225, 224), (slice(28, 196), slice(0, 224))),
        (Fit.PAD_LEFT_TOP, (240, 512), (slice(0, 240), slice(192, 512))),
        (Fit.PAD_CENTER, (240, 513), (slice(0, 240), slice(96, 416))),
        (Fit.STRETCH, (224, 224), (slice(0, 224), slice(0, 224))),
    ],
)
def test_padding_is_black_and_where_the_fit_says(
    fit: Fit, size: tuple[int, int], inner: tuple[slice, slice]
) -> None:
    """The whole picture, its shape kept, lies where the fit puts it, and all around is black."""
    image = np.maximum(picture(480, 640), 1)
    fitted = resized(image, Geometry(*size, fit))
    rows, columns = inner
    expected = by_torch(image, rows.stop - rows.start, columns.stop - columns.start)
    assert np.abs(fitted[inner].astype(int) - expected).max() <= 1
    outside = fitted.copy()
    outside[inner] = 0
    assert not outside.any()


@pytest.mark.parametrize(
    ("fit", "above"), [(Fit.PAD_LEFT_TOP, 98), (Fit.PAD_CENTER, 49)], ids=["left top", "center"]
)
def test_a_padded_side_is_rounded_down(fit: Fit, above: int) -> None:
    """848x480 in 224x224 takes 126 rows, as in LeRobot, though 126.79 are nearer to 127."""
    image = np.maximum(picture(480, 848), 1)
    fitted = resized(image, Geometry(224, 224, fit))
    shown = np.flatnonzero(fitted.any(axis=(1, 2)))
    assert (shown[0], len(shown)) == (above, 126)
    inner = fitted[above : above + 126].astype(int)
    assert np.abs(inner - by_torch(image, 126, 224)).max() <= 1


@pytest.mark.parametrize("size", [(224, 224), (100, 400), (480, 480), (1, 4096)])
def test_a_crop_keeps_the_middle_and_the_shape(size: tuple[int, int]) -> None:
    """A crop shows the middle, its centre in the centre, and nothing of it is stretched."""
    rows, columns = np.mgrid[0:480, 0:640]
    image = np.stack([rows // 2, columns // 3, columns * 0], axis=2).astype(np.uint8)
    fitted = resized(image, Geometry(*size, Fit.CROP_CENTER)).astype(float)
    scale = min(480 / size[0], 640 / size[1])
    assert fitted.shape[:2] == size
    assert fitted[..., 0].mean() == pytest.approx(479 / 4, abs=1.0)
    assert fitted[..., 1].mean() == pytest.approx(639 / 6, abs=1.0)
    spread = np.ptp(fitted[:, size[1] // 2, 0]) * 2
    assert spread == pytest.approx(size[0] * scale, abs=3.0 + scale)


def test_a_single_line_can_be_padded() -> None:
    """A picture far from the policy's shape still leaves one line of itself."""
    fitted = resized(np.full((1, 1000, 3), 9, np.uint8), Geometry(32, 32, Fit.PAD_CENTER))
    assert (fitted == 9).any(axis=(1, 2)).sum() == 1


def test_neighbours_are_not_mixed_up() -> None:
    """Three natural frames in turn give the same pixels as each alone: tables are shared, buffers are not."""
    frames = natural_frames(48, 64, 3, 7)
    alone = [resized(frame, Geometry(20, 20, Fit.STRETCH)).copy() for frame in frames]
    again = [resized(frame, Geometry(20, 20, Fit.STRETCH)) for frame in frames]
    assert all(np.array_equal(a, b) for a, b in zip(alone, again, strict=True))
