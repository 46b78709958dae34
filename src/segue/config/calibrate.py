"""The configuration of `segue calibrate`: the arm, in the words of `segue run` and of LeRobot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from segue.config.constraints import PlainPath, Text
from segue.config.schema import Help


@dataclass(frozen=True, kw_only=True)
class ArmConfig:
    """The arm."""

    type: Annotated[Literal["so101_follower", "so100_follower"], Help("kind of arm")]
    port: Annotated[Text, Help("serial port, such as /dev/ttyACM0; `segue find-port` lists them")]
    id: Annotated[Text, Help("names the arm, and the file with its calibration")]
    calibration_dir: Annotated[
        PlainPath | None, Help("folder of that file; null takes the one where LeRobot looks")
    ] = None


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """What is done to it."""

    robot: ArmConfig
    write_calibration: Annotated[
        PlainPath | None,
        Help("writes this file's calibration into the servos instead of finding a new one"),
    ] = None

    def resolve(self, given: frozenset[str]) -> CalibrateConfig:
        """Returns this configuration; nothing in it can contradict anything else."""
        return self
