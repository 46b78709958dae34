"""Which camera is which: lets cameras run for some seconds, all at once, and draws what they show.

All at once, because cameras that work one by one often do not together: they
share a USB bus. The sheet has each camera's picture with its name above it, so
that a person sees which is which. A camera that fails has a place there too,
with the reason. This file takes cameras as they are made and finds none itself.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segue.cameras.base import Camera
from segue.cameras.cv import load_cv2
from segue.cameras.latest import LatestFrame
from segue.clock import NS_PER_S
from segue.core.resize import Fit, Geometry, resized
from segue.core.types import Frame, ImageArray
from segue.errors import RobotFault
from segue.wire.image import pixels

# Until the first picture: a USB camera starts up and its exposure settles.
FIRST_PICTURE_S = 8.0

_TILE = Geometry(240, 320, Fit.PAD_CENTER)
_LABEL_ROWS, _LINE_ROWS, _MARGIN = 46, 18, 6
_MOST_COLUMNS = 3
_CHARS = 44
_LABEL = (235, 235, 235)


@dataclass(frozen=True, slots=True)
class Look:
    """What came of one camera.

    Attributes:
        image: its last picture, (height, width, 3) uint8 RGB; None when there was none.
        rate_hz: new pictures per second; None when there were not two.
        jpeg_bytes: of its own last JPEG; None when it delivers pixels.
        fault: what is wrong, in words; empty when nothing is.
    """

    name: str
    image: ImageArray | None
    rate_hz: float | None
    jpeg_bytes: int | None
    fault: str

    def __str__(self) -> str:
        if self.image is None:
            return self.fault or "no picture"
        height, width = self.image.shape[:2]
        rate = f"{self.rate_hz:.1f} Hz" if self.rate_hz is not None else "one picture only"
        kind = f", JPEG of {self.jpeg_bytes / 1000:.0f} kB" if self.jpeg_bytes is not None else ""
        return f"{width}x{height} at {rate}{kind}" + (f"; {self.fault}" if self.fault else "")


def look(cameras: Sequence[Camera], seconds: float, first_s: float = FIRST_PICTURE_S) -> list[Look]:
    """Lets `cameras` run and returns what each showed, in order.

    Args:
        cameras: not open.
        seconds: over which the rate is measured.
        first_s: how long the first picture of any of them is waited for.
    """
    watched = [LatestFrame(camera) for camera in cameras]
    for each in watched:
        each.start()
    try:
        deadline_s = time.monotonic() + first_s
        for each in watched:
            each.wait_first(max(0.0, deadline_s - time.monotonic()))
        before = [each.latest() for each in watched]
        time.sleep(seconds)
        return [_seen(each, earlier) for each, earlier in zip(watched, before, strict=True)]
    finally:
        for each in watched:
            each.stop()


def _seen(watched: LatestFrame, earlier: Frame | None) -> Look:
    name, fault, newest = watched.spec.name, watched.fault() or "", watched.latest()
    if newest is None:
        return Look(name, None, None, None, fault)
    rate_hz = None
    if earlier is not None and newest.captured_ns > earlier.captured_ns:
        rate_hz = (newest.number - earlier.number) * NS_PER_S / (newest.captured_ns - earlier.captured_ns)
    size = len(newest.jpeg) if newest.jpeg is not None else None
    try:
        return Look(name, pixels(newest), rate_hz, size, fault)
    except RobotFault as error:
        return Look(name, None, rate_hz, size, f"camera {name}: {error}")


def contact_sheet(looks: Sequence[Look], titles: Mapping[str, str], path: Path) -> None:
    """Draws each camera's picture under its title, in rows, and writes them to `path` as PNG.

    Args:
        looks: at least one.
        titles: by camera, what stands above its picture.
        path: its folder must be there.

    Raises:
        RobotFault: the file cannot be written.
    """
    cv2 = load_cv2("the sheet of pictures")
    tiles = [_tile(each, titles[each.name]) for each in looks]
    columns = min(_MOST_COLUMNS, len(tiles))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)]
    sheet = np.vstack(rows)
    if not cv2.imwrite(str(path), np.ascontiguousarray(sheet[:, :, ::-1])):
        raise RobotFault(f"{path} cannot be written")


def _tile(seen: Look, title: str) -> ImageArray:
    """Returns a picture under its label, or the reason why there is none."""
    tile = np.zeros((_LABEL_ROWS + _TILE.height + _MARGIN, _TILE.width + 2 * _MARGIN, 3), np.uint8)
    inside = slice(_MARGIN, _MARGIN + _TILE.width)
    rows = slice(_LABEL_ROWS, _LABEL_ROWS + _TILE.height)
    _write(tile, [title, str(seen) if seen.image is not None else "no picture"], _LINE_ROWS)
    if seen.image is not None:
        tile[rows, inside] = resized(seen.image, _TILE)
        return tile
    tile[rows, inside] = 60
    _write(tile, textwrap.wrap(seen.fault or "no picture", _CHARS), _LABEL_ROWS + 2 * _LINE_ROWS)
    return tile


def _write(tile: ImageArray, lines: Sequence[str], top: int) -> None:
    cv2 = load_cv2("the sheet of pictures")
    for number, line in enumerate(lines):
        plain = line.encode("ascii", "replace").decode()[:_CHARS]
        at = (_MARGIN, top + number * _LINE_ROWS)
        cv2.putText(tile, plain, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, _LABEL, 1, cv2.LINE_AA)
