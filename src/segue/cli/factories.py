"""Makes robots in the process that owns them, from plain settings.

The control process finds these functions by name. It is the guardian that goes
on when all else dies, so this file must not pull in configuration, grpc or
anything else that could hold it up; it imports the one robot that is asked for.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from typing import Any

from segue.client.plan import RobotPart
from segue.core.specs import CameraSpec
from segue.robots.base import Robot
from segue.robots.dry import DryRobot


def make_dry(factory: str, settings: Mapping[str, Any]) -> Robot:
    """Makes the robot of another factory, with its settings, and keeps commands away from it."""
    return DryRobot(RobotPart(factory, settings).make())


def make_sim_so101(
    seed: int, belt: Mapping[str, Any], cameras: Sequence[Mapping[str, Any]], scene: str
) -> Robot:
    """Makes the simulated robot.

    Args:
        seed: fixes the scene.
        belt: fields of `BeltConfig`; what is missing stays as the simulation has it.
        cameras: fields of a `CameraSpec` each.
        scene: name of the page on which the cameras will look at it.
    """
    from segue.robots.belt_cubes import BeltConfig
    from segue.robots.mujoco import SimSO101, SimSO101Config
    from segue.robots.scene import SceneWriter

    writer = SceneWriter(scene)
    # The page is to be taken away however the run ends, and the robot does not own it.
    atexit.register(writer.close)
    specs = tuple(CameraSpec(**each) for each in cameras)
    return SimSO101(SimSO101Config(seed=seed, belt=BeltConfig(**belt), cameras=specs), writer)


def make_so101(
    arm: Mapping[str, Any],
    units: Mapping[str, Any],
    rest: Mapping[str, Any],
    cameras: Sequence[Mapping[str, Any]],
) -> Robot:
    """Makes a follower arm on its serial bus.

    Args:
        arm: further fields of `SO101Config`.
        units: fields of `ArmUnits`; its calibration as fields of a `MotorCalibration` by joint.
        rest: fields of `RestConfig`.
        cameras: fields of a `CameraSpec` each.
    """
    from segue.robots.calibration import MotorCalibration
    from segue.robots.so101 import SO101, RestConfig, SO101Config
    from segue.robots.so101_units import ArmUnits

    calibration = {name: MotorCalibration(**each) for name, each in units["calibration"].items()}
    config = SO101Config(
        units=ArmUnits(**{**units, "calibration": calibration}),
        cameras=tuple(CameraSpec(**each) for each in cameras),
        rest=RestConfig(**rest),
        **arm,
    )
    return SO101(config)
