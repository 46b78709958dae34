"""The cameras that a run can be configured for, one dataclass each, written as LeRobot users write them.

``type`` chooses the dataclass, which says what else may be set; another camera
is one more dataclass and one more line in `CAMERAS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal
from urllib.parse import urlsplit

import annotated_types as at

from segue.config.constraints import Hz, Pixels, PlainPath, Seconds, Text
from segue.config.schema import Help, Named


def is_device(text: str) -> bool:
    """Returns whether `text` is a device's number or an absolute path."""
    return text.isprintable() and (text.startswith("/") or (text.isascii() and text.isdecimal()))


def is_stream_url(text: str) -> bool:
    """Returns whether `text` is an HTTP address that names a host and no password.

    A configuration is written down with every run, so nothing secret may stand in it.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isprintable() and " " not in text and "@" not in parts.netloc
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


Device = Annotated[str, at.Len(1, 1000), at.Predicate(is_device)]
Url = Annotated[str, at.Len(1, 1000), at.Predicate(is_stream_url)]
Rotation = Literal["0", "90", "180", "270", "-90"]


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


@dataclass(frozen=True, kw_only=True)
class OpenCVCameraConfig(CameraConfig):
    """A camera of this host, such as a USB camera; `segue find-cameras` shows which there are."""

    type: Annotated[Literal["opencv"], Help("kind of camera")] = "opencv"
    index_or_path: Annotated[Device, Help("the device", "a number, or a path such as /dev/video2")]
    rotation: Annotated[Rotation, Help("degrees by which pictures are turned to the right")] = "0"
    warmup_s: Annotated[Seconds, Help("pictures of that long after opening are thrown away")] = 1.0
    color_mode: Annotated[Literal["rgb", "bgr"], Help("changes nothing: pictures are RGB here")] = "rgb"
    fourcc: Annotated[Text | None, Help("changes nothing: MJPG is taken where there is it")] = None
    backend: Annotated[Text | None, Help("changes nothing: Video4Linux is taken")] = None


@dataclass(frozen=True, kw_only=True)
class FileCameraConfig(CameraConfig):
    """A file shown again and again, for rehearsals; width and height are those of its pictures."""

    type: Annotated[Literal["file"], Help("kind of camera")] = "file"
    path: Annotated[PlainPath, Help("a video, a .mjpeg, or a folder of pictures")]


@dataclass(frozen=True, kw_only=True)
class HttpCameraConfig(CameraConfig):
    """A network camera that sends JPEGs in one endless answer (MJPEG over HTTP)."""

    type: Annotated[Literal["http"], Help("kind of camera")] = "http"
    url: Annotated[Url, Help("where it answers", "http://… or https://…, without a password")]


# Of every robot: none of these needs a simulation.
HOST_CAMERAS: Mapping[str, type[CameraConfig]] = MappingProxyType(
    {
        "opencv": OpenCVCameraConfig,
        "file": FileCameraConfig,
        "http": HttpCameraConfig,
        "fake": FakeCameraConfig,
    }
)
CAMERAS: Mapping[str, type[CameraConfig]] = MappingProxyType({"sim": SimCameraConfig, **HOST_CAMERAS})
# For a robot without a simulation.
REAL = Named(HOST_CAMERAS, {"sim": "this robot is not simulated and has no camera of its own"})
# What the simulation shows; named here again so that --help need not load it.
SIM_CAMERAS = ("top", "front", "wrist")
