"""Makes robots in the process that owns them, from plain settings.

The control process finds these functions by name. It is the guardian that goes
on when all else dies, so this file must not pull in configuration, grpc or
anything else that could hold it up; it imports the one robot that is asked for.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from typing import Any

from segue.core.specs import CameraSpec
from segue.robots.base import Robot


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
