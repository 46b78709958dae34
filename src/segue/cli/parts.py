"""A run's robot and cameras by their configured type: one function per kind, found by a table.

The robot is not made here but named, with plain settings, for the process that
will own it. A simulated robot and its cameras meet on a page of shared memory,
whose name both are given. Only what is asked for is imported: a run of a fake
robot knows nothing of MuJoCo.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from segue.cameras.base import Camera
from segue.cli.camera_parts import camera_of, camera_specs, cameras_of
from segue.client.plan import RobotPart
from segue.clock import NS_PER_S
from segue.config.cameras import SimCameraConfig
from segue.config.robot import (
    FakeRobotConfig,
    RobotConfig,
    SimSo101Config,
    So100FollowerConfig,
    So101FollowerConfig,
)
from segue.config.run import RunConfig
from segue.core.specs import Dimension
from segue.errors import ConfigError

Parts = tuple[RobotPart, list[Camera]]


def robot_and_cameras(config: RunConfig) -> Parts:
    """Returns how to make the robot, and its cameras, not yet opened.

    Raises:
        ConfigError: a package that the robot needs is not installed, or an arm's calibration is missing
            or wrong.
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
    others = {n: each for n, each in robot.cameras.items() if not isinstance(each, SimCameraConfig)}
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
    cameras: list[Camera] = [
        camera_of(spec.name, others[spec.name])
        if spec.name in others
        else SimCamera(spec, scene, BeltConfig(**belt))
        for spec in specs
    ]
    return RobotPart("segue.cli.factories:make_sim_so101", settings), cameras


def _fake(config: RunConfig) -> Parts:
    # Without a file its commands would be kept in memory, for a test to read.
    part = RobotPart("segue.testing.robots:make_fake_robot", {"log": os.devnull})
    return part, cameras_of(config.robot.cameras)


def _so101(config: RunConfig) -> Parts:
    from segue.robots.calibration import find_calibration, load_calibration
    from segue.robots.so101_units import ArmUnits

    robot = config.robot
    assert isinstance(robot, So101FollowerConfig)
    if importlib.util.find_spec("serial") is None:
        raise ConfigError("robot.type: an arm needs the package pyserial: pip install 'segue[so101]'")
    # Before anything is opened: a wrong file must not cost a torque.
    file = find_calibration(robot.type, robot.id, robot.calibration_dir, os.environ)
    units = ArmUnits(load_calibration(file), robot.use_degrees, robot.max_speed, robot.gripper_speed)
    park_pose = robot.park_pose.joints()
    _check_park_pose(park_pose, units.dimensions())
    settings = {
        "arm": {
            "port": robot.port,
            "calibration_file": str(file),
            "robot_type": robot.type,
            "write_calibration": robot.write_calibration,
            "dry_run": config.job.dry_run,
            "tick_ns": round(NS_PER_S / config.execution.commands_hz),
        },
        "units": {
            "calibration": {name: asdict(each) for name, each in units.calibration.items()},
            "use_degrees": units.use_degrees,
            "max_speed": units.max_speed,
            "gripper_speed": units.gripper_speed,
        },
        "rest": {
            "park_pose": park_pose,
            "return_to_initial_position": config.job.return_to_initial_position,
            "disable_torque_on_disconnect": robot.disable_torque_on_disconnect,
        },
        "cameras": [asdict(spec) for spec in camera_specs(robot.cameras)],
    }
    return RobotPart("segue.cli.factories:make_so101", settings), cameras_of(robot.cameras)


def _check_park_pose(pose: Mapping[str, float], joints: Sequence[Dimension]) -> None:
    missing = [joint.name for joint in joints if joint.name not in pose]
    if pose and missing:
        raise ConfigError(
            f"robot.park_pose: {', '.join(missing)} is missing; expected all six joints or none"
        )
    for joint in joints:
        value = pose.get(joint.name, joint.low)
        if not joint.low <= value <= joint.high:
            within = f"from {joint.low:.1f} to {joint.high:.1f} {joint.unit}, as it is calibrated"
            raise ConfigError(f"robot.park_pose.{joint.name}: {value:g}; expected {within}")


_KINDS: Mapping[type[RobotConfig], Callable[[RunConfig], Parts]] = {
    So101FollowerConfig: _so101,
    So100FollowerConfig: _so101,
    SimSo101Config: _sim_so101,
    FakeRobotConfig: _fake,
}
