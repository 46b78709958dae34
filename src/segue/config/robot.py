"""The robots and cameras that a run can be configured for, one dataclass each.

``--robot.type`` chooses the dataclass, which says what else may be set; another
robot is one more dataclass and one more line in `ROBOTS`. Cameras are written
as LeRobot users write them, a map of names to settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Annotated, Literal

import annotated_types as at

from segue.config.cameras import CAMERAS, REAL, SIM_CAMERAS, CameraConfig
from segue.config.constraints import Count, PlainPath, Text
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
        Named(CAMERAS),
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
    cameras: Annotated[
        Mapping[str, CameraConfig],
        REAL,
        Help('of any name, such as "{front: {type: opencv, index_or_path: 2}}"'),
    ] = field(default_factory=dict)


Units = Annotated[float, at.Interval(ge=-360, le=360)]
DegreesPerSecond = Annotated[float, at.Interval(gt=0, le=360)]
PercentPerSecond = Annotated[float, at.Interval(gt=0, le=1000)]


@dataclass(frozen=True, kw_only=True)
class ParkPose:
    """Where the arm is parked, in its own units; all six joints, or null for none."""

    shoulder_pan: Annotated[Units | None, Help("turn of the base")] = None
    shoulder_lift: Annotated[Units | None, Help("shoulder, up and down")] = None
    elbow_flex: Annotated[Units | None, Help("elbow")] = None
    wrist_flex: Annotated[Units | None, Help("wrist, up and down")] = None
    wrist_roll: Annotated[Units | None, Help("turn of the wrist")] = None
    gripper: Annotated[Units | None, Help("percent, 0 closed")] = None

    def joints(self) -> dict[str, float]:
        """Returns the joints that are set."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}


@dataclass(frozen=True, kw_only=True)
class So101FollowerConfig(RobotConfig):
    """An SO-101 follower arm on its serial bus."""

    type: Annotated[Literal["so101_follower"], Help("kind of robot")] = "so101_follower"
    cameras: Annotated[
        Mapping[str, CameraConfig],
        REAL,
        Help('of any name, such as "{front: {type: opencv, index_or_path: 2}}"'),
    ] = field(default_factory=dict)
    port: Annotated[Text, Help("serial port, such as /dev/ttyACM0; `segue find-port` lists them")]
    calibration_dir: Annotated[
        PlainPath | None, Help("folder of <id>.json; null takes the one where LeRobot looks")
    ] = None
    use_degrees: Annotated[bool, Help("body joints in degrees, else -100..100, as the policy learnt it")] = (
        True
    )
    max_speed: Annotated[DegreesPerSecond, Help("of a body joint, degrees per second in any unit")] = 180.0
    gripper_speed: Annotated[PercentPerSecond, Help("of the gripper, percent per second")] = 200.0
    park_pose: ParkPose = field(default_factory=ParkPose)
    disable_torque_on_disconnect: Annotated[
        bool, Help("frees the arm in the end, if it is where it cannot fall; false leaves it holding")
    ] = True
    write_calibration: Annotated[bool, Help("writes the file's calibration to servos that hold another")] = (
        False
    )


@dataclass(frozen=True, kw_only=True)
class So100FollowerConfig(So101FollowerConfig):
    """An SO-100 follower arm on its serial bus."""

    type: Annotated[Literal["so100_follower"], Help("kind of robot")] = "so100_follower"  # type: ignore[assignment]


ROBOTS: Mapping[str, type[RobotConfig]] = MappingProxyType(
    {
        "sim_so101": SimSo101Config,
        "fake": FakeRobotConfig,
        "so101_follower": So101FollowerConfig,
        "so100_follower": So100FollowerConfig,
    }
)
_TWO = "two arms at once are not driven yet"
_LEADER = "a leader is moved by hand and not by a policy"
ABSENT_ROBOTS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("bi_so_follower", "bi_so100_follower", "bi_so101_follower"), _TWO),
        **dict.fromkeys(("so_leader", "so100_leader", "so101_leader"), _LEADER),
    }
)
