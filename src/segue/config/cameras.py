"""The cameras that a run can be configured for, one dataclass each, written as LeRobot users write them.

``type`` chooses the dataclass, which says what else may be set; another camera
is one more dataclass and one more line in `CAMERAS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

from segue.config.constraints import Hz, Pixels
from segue.config.schema import Help, Named


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """A camera's pictures."""

    width: Annotated[Pixels, Help("width of a picture, pixels")] = 640
    height: Annotated[Pixels, Help("height of a picture, pixels")] = 480
    fps: Annotated[Hz, Help("pictures per second")] = 30.0


@dataclass(frozen=True, kw_only=True)
class SimCameraConfig(CameraConfig):
    """A camera that a simulated robot hands out."""

    type: Annotated[Literal["sim"], Help("kind of camera")] = "sim"


@dataclass(frozen=True, kw_only=True)
class FakeCameraConfig(CameraConfig):
    """A camera that draws its pictures itself, for rehearsals."""

    type: Annotated[Literal["fake"], Help("kind of camera")] = "fake"


OF_THIS_HOST = "cameras of this host are not supported yet"
CAMERAS: Mapping[str, type[CameraConfig]] = MappingProxyType(
    {"sim": SimCameraConfig, "fake": FakeCameraConfig}
)
FAKE_ALONE = Named(
    {"fake": FakeCameraConfig},
    {"opencv": OF_THIS_HOST, "sim": "this robot is not simulated and has no camera of its own"},
)
# What the simulation shows; named here again so that --help need not load it.
SIM_CAMERAS = ("top", "front", "wrist")
