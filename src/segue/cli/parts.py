"""A run's robot and cameras by their configured type: one function per kind, found by a table.

The robot is not made here but named, with plain settings, for the process that
will own it. A simulated robot and its cameras meet on a page of shared memory,
whose name both are given. Only what is asked for is imported: a run of a fake
robot knows nothing of MuJoCo.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict

from segue.cameras.base import Camera
from segue.cli.camera_parts import camera_specs, fake_camera
from segue.client.plan import RobotPart
from segue.config.cameras import FakeCameraConfig
from segue.config.robot import FakeRobotConfig, RobotConfig, SimSo101Config
from segue.config.run import RunConfig

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
    specs = camera_specs(robot.cameras) or CAMERAS
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
        fake_camera(spec) if spec.name in fake else SimCamera(spec, scene, BeltConfig(**belt))
        for spec in specs
    ]
    return RobotPart("segue.cli.factories:make_sim_so101", settings), cameras


def _fake(config: RunConfig) -> Parts:
    # Without a file its commands would be kept in memory, for a test to read.
    part = RobotPart("segue.testing.robots:make_fake_robot", {"log": os.devnull})
    return part, [fake_camera(spec) for spec in camera_specs(config.robot.cameras)]


_KINDS: Mapping[type[RobotConfig], Callable[[RunConfig], Parts]] = {
    SimSo101Config: _sim_so101,
    FakeRobotConfig: _fake,
}
