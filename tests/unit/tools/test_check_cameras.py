"""The check of cameras: what opens, at which rate, and what is said when it does not."""

from __future__ import annotations

import time

import numpy as np
import pytest

from segue.clock import now_ns
from segue.core.specs import CameraSpec
from segue.core.types import Frame
from segue.errors import RobotFault
from segue.testing import FakeCamera
from segue.tools.check_cameras import check_cameras
from segue.tools.checks import Verdict

SPEC = CameraSpec("front", height=48, width=64, fps=50.0)


class Slow:
    """A camera that delivers `hz` pictures a second whatever was asked for, and counts what it hands out."""

    def __init__(self, spec: CameraSpec, hz: float) -> None:
        self.spec = spec
        self.closed = False
        self._hz = hz
        self._number = 0

    def open(self) -> None:
        if not self._hz:
            raise RobotFault("/dev/video9 cannot be opened")

    def grab(self) -> Frame:
        time.sleep(1 / self._hz)
        self._number += 1
        image = np.zeros((self.spec.height, self.spec.width, 3), np.uint8)
        return Frame(image, now_ns(), self._number)

    def close(self) -> None:
        self.closed = True


def test_cameras_that_do_as_asked_pass_in_their_order() -> None:
    """Size and rate are told for each, and they were watched at the same time."""
    cameras = [FakeCamera(CameraSpec(name, height=48, width=64, fps=50.0)) for name in ("a", "b", "c")]
    begun = time.monotonic()
    checks = list(check_cameras(cameras, measure_s=0.5))
    assert time.monotonic() - begun < 1.4
    assert [check.name for check in checks] == ["camera a", "camera b", "camera c"]
    for check in checks:
        assert check.verdict is Verdict.OK, check
        assert check.says.startswith("64x48 at ")
        assert check.says.endswith(" Hz, asked for 50")


@pytest.mark.parametrize(("hz", "verdict", "code"), [(33, Verdict.WARN, 0), (10, Verdict.FAIL, 74)])
def test_a_camera_that_is_slow(hz: float, verdict: Verdict, code: int) -> None:
    """Somewhat slow is a doubt, less than half a failure; both say the rate and what may help."""
    (check,) = check_cameras([Slow(SPEC, hz)], measure_s=1.0)
    assert (check.verdict, check.exit_code) == (verdict, code)
    assert "asked for 50; more light, another USB port" in check.says


def test_a_camera_that_does_not_open_is_told_with_its_reason() -> None:
    """The driver's own sentence is the finding, the others are looked at, and all are closed in the end."""
    cameras = [Slow(SPEC, 0), Slow(CameraSpec("wrist", height=48, width=64, fps=50.0), 60)]
    broken, good = check_cameras(cameras, open_s=0.5, measure_s=0.5)
    assert (broken.verdict, broken.exit_code) == (Verdict.FAIL, 74)
    assert broken.says == "/dev/video9 cannot be opened"
    assert good.verdict is Verdict.OK
    assert all(camera.closed for camera in cameras)
