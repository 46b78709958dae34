"""The configuration of `segue emulate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from segue.config.constraints import PlainPath, Seed
from segue.config.refusal import Refused
from segue.config.schema import Help


@dataclass(frozen=True, kw_only=True)
class EmulateConfig:
    """The arm that is not there."""

    link: Annotated[
        PlainPath | None, Help("where the port is to be found; null means a new folder below /tmp")
    ] = None
    calibration: Annotated[
        PlainPath | None, Help("LeRobot's file, whose numbers the servos then hold; null means their own")
    ] = None
    save_calibration: Annotated[
        PlainPath | None, Help("file that the arm's calibration is written to, for whoever drives it")
    ] = None
    role: Annotated[
        Literal["follower", "leader"], Help("whether LeRobot has configured it, as it does a follower")
    ] = "follower"
    log: Annotated[PlainPath | None, Help("file that gets a line of CSV for each register written")] = None
    realtime: Annotated[bool, Help("asks the kernel to wake the bus before all others")] = True
    belt: Annotated[bool, Help("the servos move a simulated arm beside a belt with cubes")] = False
    seed: Annotated[Seed, Help("of the belt")] = 0

    def resolve(self, given: frozenset[str]) -> EmulateConfig:
        """Returns this configuration.

        Raises:
            Refused: a leader is to move something.
        """
        if self.belt and self.role == "leader":
            raise Refused("role", "a leader is moved by hand; with --belt=true expected follower", "leader")
        return self
