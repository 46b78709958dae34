"""What cameras show and how it is drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from segue.cameras.file import FileCamera
from segue.core.specs import CameraSpec
from segue.errors import RobotFault
from segue.testing.cameras import FakeCamera
from segue.tools.find_cameras import Look, contact_sheet, look
from tests.unit.cameras.samples import jpegs

SPEC = CameraSpec("front", 48, 64, fps=50.0)


def test_a_camera_s_picture_rate_and_bytes_are_measured(tmp_path: Path) -> None:
    """Size, rate and kind are what comes, not what was announced."""
    (tmp_path / "0.jpg").write_bytes(jpegs(1)[0])
    drawn, own = look([FakeCamera(SPEC), FileCamera(CameraSpec("disk", 48, 64, fps=25.0), tmp_path)], 0.5)
    assert drawn.image is not None
    assert own.image is not None
    assert drawn.image.shape == own.image.shape == (48, 64, 3)
    assert drawn.rate_hz == pytest.approx(50.0, rel=0.3)
    assert own.rate_hz == pytest.approx(25.0, rel=0.3)
    assert (drawn.jpeg_bytes, own.jpeg_bytes) == (None, len(jpegs(1)[0]))
    assert "64x48 at" in str(own)
    assert "JPEG of" in str(own)
    assert (drawn.fault, own.fault) == ("", "")


def test_a_camera_that_fails_is_said_beside_those_that_work() -> None:
    """One camera that raises takes none of the others with it, and its words are kept."""
    bad = FakeCamera(CameraSpec("wrist", 48, 64))
    bad.fail("unplugged")
    good, failed = look([FakeCamera(SPEC), bad], 0.2, first_s=0.3)
    assert good.image is not None
    assert failed.image is None
    assert str(failed) == "camera wrist: unplugged"


def test_a_camera_that_blocks_does_not_hold_up_the_end() -> None:
    """A driver that hangs is left behind, and said to bring no picture."""
    stuck = FakeCamera(CameraSpec("wrist", 48, 64))
    stuck.block()
    (seen,) = look([stuck], 0.2, first_s=0.2)
    assert seen.image is None
    assert "no picture" in str(seen)
    stuck.heal()


@pytest.mark.parametrize(("count", "shape"), [(1, (292, 332)), (3, (292, 996)), (4, (584, 996))])
def test_the_sheet_has_a_place_for_each_camera(count: int, shape: tuple[int, int], tmp_path: Path) -> None:
    """Each picture stands under its title in its own colours, three in a row."""
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)][:count]
    looks = [
        Look(f"c{k}", np.full((480, 640, 3), colour, np.uint8), 30.0, None, "")
        for k, colour in enumerate(colours)
    ]
    contact_sheet(looks, {each.name: f"[{each.name}]" for each in looks}, tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))[:, :, ::-1]
    assert sheet.shape[:2] == shape
    for k, colour in enumerate(colours):
        row, column = divmod(k, 3)
        assert tuple(sheet[row * 292 + 166, column * 332 + 166]) == colour
        assert sheet[row * 292 : row * 292 + 40, column * 332 : column * 332 + 332].max() > 150  # a label


def test_a_camera_without_a_picture_has_its_place_and_reason(tmp_path: Path) -> None:
    """A failed camera is a grey field with words on it; letters that cannot be drawn are replaced."""
    failed = Look("c", None, None, None, "camera c: ausgesteckt – überprüfe das Kabel " * 3)
    contact_sheet([failed], {"c": "/dev/video0 Kamera für vorn"}, tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert tuple(sheet[280, 300]) == (60, 60, 60)
    assert sheet[70:130, 6:320].max() > 150


def test_a_sheet_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A folder that is not there is a fault with the file's name."""
    with pytest.raises(RobotFault, match=r"nowhere/sheet\.png cannot be written"):
        contact_sheet([Look("c", None, None, None, "")], {"c": "c"}, tmp_path / "nowhere" / "sheet.png")
