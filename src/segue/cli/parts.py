"""A run's robot and cameras by their configured type: one function per kind, found by a table.

The robot is not made here but named, with plain settings, for the process that
will own it. A simulated robot and its cameras meet on a page of shared memory,
whose name both are given. Only what is asked for is imported: a run of a fake
robot knows nothing of MuJoCo.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict

from segue.cameras.base import Camera
from segue.client.plan import RobotPart
from segue.config.robot import CameraConfig, FakeCameraConfig, FakeRobotConfig, RobotConfig, SimSo101Config
from segue.config.run import RunConfig
from segue.core.specs import CameraSpec

Parts = tuple[RobotPart, list[Camera]]


def robot_and_cameras(config: RunConfig) -> Parts:
    """Returns how to make the robot, and its cameras, not yet opened.

    Raises:
        ConfigError: a package that the robot needs is not installed.
    """
    return _KINDS[type(config.robot)](config)


def _sim_so101(config: RunConfig) -> Parts:
    from segue.robots.belt_cubes import BeltConfig
    from segue.robots.mujoco import CAMERAS
    from segue.robots.scene import scene_name
    from segue.robots.sim_camera import SimCamera

    robot = config.robot
    assert isinstance(robot, SimSo101Config)
    specs = _specs(robot.cameras) or CAMERAS
    fake = {name for name, each in robot.cameras.items() if isinstance(each, FakeCameraConfig)}
    belt = {key: value for key, value in asdict(robot.belt).items() if value is not None}
    if config.job.episodes is not None:
        belt["max_cubes"] = config.job.episodes  # on a belt each cube is an episode
    scene = scene_name()
    settings = {
        "seed": config.job.seed,
        "belt": belt,
        "cameras": [asdict(spec) for spec in specs],
        "scene": scene,
    }
    cameras = [
        _fake_camera(spec) if spec.name in fake else SimCamera(spec, scene, BeltConfig(**belt))
        for spec in specs
    ]
    return RobotPart("segue.cli.factories:make_sim_so101", settings), cameras


def _specs(cameras: Mapping[str, CameraConfig]) -> tuple[CameraSpec, ...]:
    return tuple(
        CameraSpec(name, height=each.height, width=each.width, fps=each.fps) for name, each in cameras.items()
    )


def _fake(config: RunConfig) -> Parts:
    # Without a file its commands would be kept in memory, for a test to read.
    part = RobotPart("segue.testing.robots:make_fake_robot", {"log": os.devnull})
    return part, [_fake_camera(spec) for spec in _specs(config.robot.cameras)]


def _fake_camera(spec: CameraSpec) -> Camera:
    from segue.testing.cameras import FakeCamera

    return FakeCamera(spec, seed=zlib.crc32(spec.name.encode()))


_KINDS: Mapping[type[RobotConfig], Callable[[RunConfig], Parts]] = {
    SimSo101Config: _sim_so101,
    FakeRobotConfig: _fake,
}
