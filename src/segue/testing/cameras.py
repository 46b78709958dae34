"""A camera without a lens: frames that look like a room, at a fixed rate, and faults on demand.

A JPEG of flat colour or of white noise says nothing about bandwidth. These
frames have what real ones have: soft shapes at all scales, a few hard edges,
and sensor noise. A handful are drawn when the camera is opened and shown in
turn, so that grabbing one costs nothing. It can be told to raise, to block, and
to show the same frame again and again.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import numpy.typing as npt

from segue.clock import now_ns
from segue.core.specs import CameraSpec
from segue.core.types import Frame, ImageArray
from segue.errors import RobotFault

Picture = npt.NDArray[np.float32]

FRAMES = 4
# A cheap sensor's noise in a lit room, grey levels (standard deviation).
NOISE = 3.0
_COARSEST = 4  # cells across the picture in the largest of the soft shapes
_EDGES = 12


class FakeCamera:
    """A camera of natural-looking frames."""

    def __init__(self, spec: CameraSpec, seed: int = 0) -> None:
        """Draws nothing yet; the same seed draws the same frames."""
        self.spec = spec
        self.grabbed = 0
        self._seed = seed
        self._frames: list[ImageArray] = []
        self._due_s = 0.0
        self._error: str | None = None
        self._frozen: Frame | None = None
        self._freeze = False
        self._passable = threading.Event()
        self._passable.set()

    def __repr__(self) -> str:
        return f"<FakeCamera {self.spec.name} grabbed={self.grabbed}>"

    def open(self) -> None:
        """Draws the frames.

        Raises:
            RobotFault: it was told to fail.
        """
        self._check()
        if not self._frames:
            self._frames = natural_frames(self.spec.height, self.spec.width, FRAMES, self._seed)
        self._due_s = time.monotonic()

    def grab(self) -> Frame:
        """Waits for the next picture's time and returns it.

        Raises:
            RobotFault: it was told to fail.
        """
        self._due_s = max(self._due_s + 1.0 / self.spec.fps, time.monotonic() - 1.0)
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        self._passable.wait()
        self._check()
        if self._freeze and self._frozen is not None:
            return self._frozen
        self.grabbed += 1
        image = self._frames[self.grabbed % len(self._frames)]
        self._frozen = Frame(image, now_ns(), self.grabbed)
        return self._frozen

    def close(self) -> None:
        """Does nothing: there is no device."""

    def fail(self, what: str = "unplugged") -> None:
        """Lets every call raise, as an unplugged device does."""
        self._error = what

    def block(self) -> None:
        """Lets `grab` wait until `heal`, as a hanging driver does."""
        self._passable.clear()

    def freeze(self) -> None:
        """Shows the same frame from now on, as a stalled stream does."""
        self._freeze = True

    def heal(self) -> None:
        """Ends all faults."""
        self._error, self._freeze = None, False
        self._passable.set()

    def _check(self) -> None:
        if self._error is not None:
            raise RobotFault(self._error)


def natural_frames(height: int, width: int, count: int, seed: int) -> list[ImageArray]:
    """Returns `count` frames, each (height, width, 3) uint8: one scene that drifts, with fresh noise."""
    rng = np.random.default_rng(seed)
    scene = _scene(height, width, rng)
    frames = []
    for k in range(count):
        noisy = rng.standard_normal(scene.shape, dtype=np.float32)
        noisy *= NOISE
        noisy += np.roll(scene, 3 * k, axis=1)
        frame = np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)
        frame.setflags(write=False)
        frames.append(frame)
    return frames


def _scene(height: int, width: int, rng: np.random.Generator) -> Picture:
    scene = np.full((height, width, 3), 120.0, dtype=np.float32)
    cells, amplitude = _COARSEST, 45.0
    while cells < width / 8:
        coarse = rng.normal(0.0, amplitude, (cells * height // width + 2, cells + 2, 3)).astype(np.float32)
        scene += _stretched(coarse, height, width)
        cells, amplitude = cells * 2, amplitude * 0.5
    for _ in range(_EDGES):
        top, left = rng.integers(0, height), rng.integers(0, width)
        below, right = top + rng.integers(8, height // 3 + 9), left + rng.integers(8, width // 3 + 9)
        scene[top:below, left:right] += rng.normal(0.0, 30.0, 3).astype(np.float32)
    return scene


def _stretched(coarse: Picture, height: int, width: int) -> Picture:
    """Returns `coarse` interpolated between its cells to (height, width, 3)."""
    rows = np.linspace(0, coarse.shape[0] - 1.001, height, dtype=np.float32)
    columns = np.linspace(0, coarse.shape[1] - 1.001, width, dtype=np.float32)
    top, left = rows.astype(int), columns.astype(int)
    down, across = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = coarse[top] * (1 - down) + coarse[top + 1] * down
    stretched: Picture = upper[:, left] * (1 - across) + upper[:, left + 1] * across
    return stretched
