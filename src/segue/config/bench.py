"""The configuration of `segue bench`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import annotated_types as at

from segue.config.constraints import PlainPath
from segue.config.schema import Help

RunSeconds = Annotated[float, at.Interval(ge=3, le=600)]
Rounds = Annotated[int, at.Interval(ge=1, le=100)]


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """The benchmark."""

    duration: Annotated[RunSeconds, Help("seconds for each run of the robot")] = 10.0
    rounds: Annotated[Rounds, Help("runs, each beside its controls")] = 3
    install: Annotated[bool, Help("also measures an installation, which needs a package index")] = False
    output_dir: Annotated[PlainPath | None, Help("folder of all runs; null means outputs/bench_<time>")] = (
        None
    )

    def resolve(self, given: frozenset[str]) -> BenchConfig:
        """Returns this configuration; nothing in it can contradict anything else."""
        return self
