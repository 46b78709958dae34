"""The configuration of `segue release`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from segue.config.constraints import Text
from segue.config.schema import Help


@dataclass(frozen=True, kw_only=True)
class HeldArmConfig:
    """The arm that holds itself."""

    port: Annotated[Text, Help("serial port, such as /dev/ttyACM0; `segue find-port` lists them")]
    id: Annotated[Text, Help("what the arm is called in the question; changes nothing else")] = ""


@dataclass(frozen=True, kw_only=True)
class ReleaseConfig:
    """Which arm is freed."""

    robot: HeldArmConfig
    yes: Annotated[bool, Help("frees the arm without asking")] = False

    def resolve(self, given: frozenset[str]) -> ReleaseConfig:
        """Returns this configuration; nothing in it can contradict anything else."""
        return self
