"""A run's cameras by their configured type, not yet opened."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from segue.cameras.base import Camera
from segue.config.cameras import CameraConfig
from segue.core.specs import CameraSpec


def camera_specs(cameras: Mapping[str, CameraConfig]) -> tuple[CameraSpec, ...]:
    """Returns the specs of the configured cameras, in order."""
    return tuple(
        CameraSpec(name, height=each.height, width=each.width, fps=each.fps) for name, each in cameras.items()
    )


def fake_camera(spec: CameraSpec) -> Camera:
    """Returns a camera that draws its pictures itself; the same name draws the same."""
    from segue.testing.cameras import FakeCamera

    return FakeCamera(spec, seed=zlib.crc32(spec.name.encode()))
