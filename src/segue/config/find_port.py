"""The configuration of `segue find-port`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from segue.config.constraints import Text
from segue.config.schema import Help


@dataclass(frozen=True, kw_only=True)
class FindPortConfig:
    """Where to look, and how."""

    port: Annotated[Text, Help("further ports to look at, with commas between", "paths")] = ""
    unplug: Annotated[bool, Help("finds an arm's port by unplugging it")] = False

    def resolve(self, given: frozenset[str]) -> FindPortConfig:
        """Returns this configuration; nothing in it can contradict anything else."""
        return self
