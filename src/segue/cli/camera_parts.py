"""A run's cameras by their configured type, not yet opened.

One function per kind, found by a table. What can be seen before the robot moves
is seen here: a device or file that does not exist, a missing OpenCV. Only what
is asked for is imported.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segue.cameras.base import Camera
from segue.config.cameras import (
    CameraConfig,
    FakeCameraConfig,
    FileCameraConfig,
    HttpCameraConfig,
    OpenCVCameraConfig,
)
from segue.core.specs import CameraSpec
from segue.errors import ConfigError

KEY = "robot.cameras"


def camera_specs(cameras: Mapping[str, CameraConfig]) -> tuple[CameraSpec, ...]:
    """Returns the specs of the configured cameras, in order."""
    return tuple(_spec(name, each) for name, each in cameras.items())


def cameras_of(configs: Mapping[str, CameraConfig], key: str = KEY) -> list[Camera]:
    """Returns the configured cameras, in order, not yet opened.

    Args:
        configs: by the cameras' names; none may be of a simulation, whose robot hands them out.
        key: of the configuration, under which they stand.

    Raises:
        ConfigError: a device or file does not exist, or a package is missing; the key is named.
    """
    return [camera_of(name, each, key) for name, each in configs.items()]


def camera_of(name: str, config: CameraConfig, key: str = KEY) -> Camera:
    """Returns one configured camera, not yet opened; see `cameras_of`.

    Raises:
        ConfigError: its device or file does not exist, or a package is missing.
    """
    make = _KINDS.get(type(config))
    if make is None:
        raise ConfigError(f"{key}.{name}: this kind of camera comes with a simulated robot only")
    return make(_spec(name, config), config, f"{key}.{name}")


def _spec(name: str, config: CameraConfig) -> CameraSpec:
    return CameraSpec(name, height=config.height, width=config.width, fps=config.fps)


def _fake(spec: CameraSpec, config: Any, key: str) -> Camera:
    """Returns a camera that draws its pictures itself; the same name draws the same."""
    from segue.testing.cameras import FakeCamera

    return FakeCamera(spec, seed=zlib.crc32(spec.name.encode()))


def _opencv(spec: CameraSpec, config: OpenCVCameraConfig, key: str) -> Camera:
    from segue.cameras.cv import load_cv2
    from segue.cameras.opencv import OpenCVCamera, OpenCVOptions

    options = OpenCVOptions(config.index_or_path, int(config.rotation), config.warmup_s)
    if not options.path.is_char_device():
        here = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
        raise ConfigError(
            f"{key}.index_or_path: {config.index_or_path}: no such device; here are {here} "
            "(a video file is a camera of type file)"
        )
    load_cv2(key)
    return OpenCVCamera(spec, options)


def _file(spec: CameraSpec, config: FileCameraConfig, key: str) -> Camera:
    from segue.cameras.cv import load_cv2
    from segue.cameras.file import FileCamera, needs_opencv

    try:
        if needs_opencv(config.path):
            load_cv2(key)
        if not config.path.is_dir():
            config.path.open("rb").close()
    except OSError as error:
        raise ConfigError(
            f"{key}.path: {config.path}: {error.strerror}; expected a readable video, .mjpeg or folder"
        ) from None
    return FileCamera(spec, config.path)


def _http(spec: CameraSpec, config: HttpCameraConfig, key: str) -> Camera:
    from segue.cameras.http import HttpCamera

    return HttpCamera(spec, config.url)


_KINDS: Mapping[type[CameraConfig], Callable[[CameraSpec, Any, str], Camera]] = {
    FakeCameraConfig: _fake,
    OpenCVCameraConfig: _opencv,
    FileCameraConfig: _file,
    HttpCameraConfig: _http,
}
