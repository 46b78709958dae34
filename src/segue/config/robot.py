"""The robots and cameras that a run can be configured for, one dataclass each.

``--robot.type`` chooses the dataclass, which says what else may be set; another
robot is one more dataclass and one more line in `ROBOTS`. Cameras are written
as LeRobot users write them, a map of names to settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Literal

import annotated_types as at

from segue.config.cameras import CAMERAS, FAKE_ALONE, OF_THIS_HOST, SIM_CAMERAS, CameraConfig
from segue.config.constraints import Count, Text
from segue.config.schema import Help, Named

Speed = Annotated[float, at.Interval(gt=0, le=0.5)]
Swing = Annotated[float, at.Interval(ge=0, le=0.9)]
Interval = Annotated[float, at.Interval(gt=0, le=60)]


@dataclass(frozen=True, kw_only=True)
class RobotConfig:
    """What every robot has."""

    id: Annotated[Text, Help("name of this robot, in records and at the server")] = "robot"
    cameras: Annotated[
        Mapping[str, CameraConfig],
        Named(CAMERAS, {"opencv": OF_THIS_HOST}),
        Help(
            'such as "{front: {type: sim, width: 640, height: 480, fps: 30}}"; '
            "sim_so101 without any brings its own three: top, front, wrist"
        ),
    ] = field(default_factory=dict)

    def camera_names(self) -> tuple[str, ...]:
        """Returns the names of the cameras that the run will have."""
        return tuple(self.cameras)


@dataclass(frozen=True, kw_only=True)
class BeltOptions:
    """The belt of the simulation, which brings the cubes; null leaves a value as the simulation has it."""

    speed_m_s: Annotated[Speed | None, Help("mean speed of the belt")] = None
    speed_swing: Annotated[Swing | None, Help("relative amplitude of a slow change of that speed")] = None
    interval_s: Annotated[Interval | None, Help("mean time between two cubes")] = None
    interval_jitter: Annotated[Swing | None, Help("relative change of that time from cube to cube")] = None
    max_cubes: Annotated[Count | None, Help("cubes that come; null for no end")] = None


@dataclass(frozen=True, kw_only=True)
class SimSo101Config(RobotConfig):
    """An SO-101 arm beside a belt, simulated with MuJoCo; --seed fixes the scene."""

    type: Annotated[Literal["sim_so101"], Help("kind of robot")] = "sim_so101"
    belt: BeltOptions = field(default_factory=BeltOptions)

    def camera_names(self) -> tuple[str, ...]:
        """Returns the names of the configured cameras, or of the simulation's own when there are none."""
        return tuple(self.cameras) or SIM_CAMERAS


@dataclass(frozen=True, kw_only=True)
class FakeRobotConfig(RobotConfig):
    """A robot that goes where it is told, for rehearsals; --policy.path=builtin:scripted@30 fits it."""

    type: Annotated[Literal["fake"], Help("kind of robot")] = "fake"
    cameras: Annotated[Mapping[str, CameraConfig], FAKE_ALONE, Help("drawn ones, of any name")] = field(
        default_factory=dict
    )


_NOT_YET = "real arms are not driven yet"
ROBOTS: Mapping[str, type[RobotConfig]] = MappingProxyType(
    {"sim_so101": SimSo101Config, "fake": FakeRobotConfig}
)
ABSENT_ROBOTS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("so100_follower", "so101_follower"), _NOT_YET)
)
