"""The configuration of `segue replay`.

A replay is a run whose policy is a recording: what it may be told is what a run
may be told of robot, safety and records, and nothing of servers and strategies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import annotated_types as at

from segue.config.constraints import Hz, PlainPath
from segue.config.robot import ABSENT_ROBOTS, ROBOTS, RobotConfig
from segue.config.run import SafetyConfig
from segue.config.schema import Help, Variants

Pace = Annotated[float, at.Interval(ge=0.05, le=1)]


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """What to replay, and how fast."""

    run: Annotated[
        PlainPath,
        Help("folder of the run, with its commands.csv; the arm first goes slowly to where that begins"),
    ]
    speed: Annotated[Pace, Help("share of the recorded pace: 0.5 takes twice the time, 1 as long")] = 0.5
    control_hz: Annotated[
        Hz | None,
        Help(
            "commands per second to the robot; at least the recording's steps per second times speed; "
            "null means 100, or that if more"
        ),
    ] = None
    realtime: Annotated[bool, Help("asks for real-time scheduling of the control process")] = True
    dry_run: Annotated[bool, Help("goes through the recording and records it anew, but moves nothing")] = (
        False
    )
    output_dir: Annotated[PlainPath | None, Help("folder of the records; null means outputs/<time>")] = None
    robot: Annotated[RobotConfig, Variants(ROBOTS, ABSENT_ROBOTS)]
    safety: SafetyConfig = field(default_factory=SafetyConfig)

    def resolve(self, given: frozenset[str]) -> ReplayConfig:
        """Returns this configuration; nothing in it can contradict anything else."""
        return self
