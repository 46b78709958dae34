"""`segue find-cameras`: which cameras there are, what they offer, what they deliver, and what they see.

Lists this host's video devices and lets all that deliver pictures run at once,
then draws a sheet on which each picture stands under its number and path. With
``--cameras`` it looks at those instead: at a run's own cameras before the run,
or at files and network cameras. Ends with a line that can be copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segue.cameras.base import Camera
from segue.cli.camera_parts import cameras_of
from segue.cli.help import ASKING, Page
from segue.config.cameras import CameraConfig, OpenCVCameraConfig
from segue.config.find_cameras import FindCamerasConfig
from segue.errors import ConfigError, RobotFault

PAGE = Page(
    verb="find-cameras",
    summary="shows which cameras there are and what they see",
    examples=(
        "segue find-cameras",
        'segue find-cameras --cameras="{front: {type: opencv, index_or_path: 2, width: 1280, height: 720}}"',
    ),
    config=FindCamerasConfig,
)
SHEET = "cameras.png"
_MOST_MODES = 12


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code: 0 when every camera delivered, else 74.

    Args:
        argv: the words after ``find-cameras``.

    Raises:
        ConfigError: a flag is wrong, or a camera that was named does not exist.
        RobotFault: there is no camera.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    from segue.config.load import load

    loaded = load(FindCamerasConfig, argv, of_an_arm=True)
    with loaded.blaming_flags():
        return _find(loaded.config)


def _find(config: FindCamerasConfig) -> int:
    from segue.tools.find_cameras import FIRST_PICTURE_S, contact_sheet, look

    titles = {name: _title(name, each) for name, each in config.cameras.items()}
    configs = config.cameras
    if not configs:
        configs, titles = _devices(config)
    cameras = cameras_of(configs, "cameras")
    try:
        config.output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"output_dir: {config.output_dir}: {error.strerror}; expected a folder") from None
    print(f"looking through {len(cameras)} at once, {config.record_time_s:g} s …", flush=True)
    looks = look(cameras, config.record_time_s, FIRST_PICTURE_S)
    for seen in looks:
        print(f"  {titles[seen.name]}: {seen}")
    path = config.output_dir / SHEET
    contact_sheet(looks, titles, path)
    print(f"which is which: {path}")
    if not config.cameras:
        print(f"to use them, with names of your own: {_flag(configs, cameras)}")
    return RobotFault.exit_code if any(seen.image is None or seen.fault for seen in looks) else 0


def _devices(config: FindCamerasConfig) -> tuple[dict[str, CameraConfig], dict[str, str]]:
    """Says what this host has; returns those that deliver pictures as cameras, and their titles.

    Raises:
        RobotFault: none does.
    """
    from segue.cameras.v4l2 import video_devices

    configs: dict[str, CameraConfig] = {}
    titles: dict[str, str] = {}
    for device in video_devices():
        print(f"{device.path}  {device.name}{_about(device.trouble, device.delivers)}")
        for mode in device.modes[:_MOST_MODES]:
            print(f"    {mode}")
        if len(device.modes) > _MOST_MODES:
            print(f"    and {len(device.modes) - _MOST_MODES} more")
        if not device.delivers:
            continue
        sizes = device.sizes()
        width, height = config.width, config.height
        if sizes and (width, height) not in sizes:
            width, height = next(iter(sizes))
        name = f"camera{device.index}"
        titles[name] = f"[{device.index}] {device.path} {device.name}"
        configs[name] = OpenCVCameraConfig(
            index_or_path=str(device.index), width=width, height=height, fps=config.fps
        )
    if not configs:
        raise RobotFault(
            "no camera of this host delivers pictures: is one plugged in (`ls /dev/video*`)? "
            "--cameras looks at files and network cameras"
        )
    return configs, titles


def _about(trouble: str, delivers: bool) -> str:
    if trouble:
        return f": {trouble}"
    return "" if delivers else ": delivers no pictures (a camera's second device)"


def _title(name: str, config: CameraConfig) -> str:
    sources = (getattr(config, key, None) for key in ("index_or_path", "path", "url"))
    return " ".join([name, *(str(each) for each in sources if each is not None)])


def _flag(configs: Mapping[str, CameraConfig], cameras: Sequence[Camera]) -> str:
    entries = []
    for camera in cameras:
        source, spec = getattr(configs[camera.spec.name], "index_or_path", ""), camera.spec
        size = f"width: {spec.width}, height: {spec.height}, fps: {spec.fps:g}"
        entries.append(f"{spec.name}: {{type: opencv, index_or_path: {source}, {size}}}")
    return f'--robot.cameras="{{{", ".join(entries)}}}"'
