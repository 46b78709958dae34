"""The configuration of `segue demo`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import annotated_types as at

from segue.config.constraints import PlainPath, Seed
from segue.config.schema import Help

RunSeconds = Annotated[float, at.Interval(ge=5, le=3600)]
Latency = Annotated[float, at.Interval(ge=0, le=10)]


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The demonstration."""

    duration: Annotated[RunSeconds, Help("seconds for each strategy")] = 45.0
    latency: Annotated[Latency, Help("seconds that every inference takes at least")] = 0.3
    seed: Annotated[Seed, Help("of the belt, the same for all strategies")] = 0
    output_dir: Annotated[PlainPath | None, Help("folder of all runs; null means outputs/demo_<time>")] = None

    def resolve(self, given: frozenset[str]) -> DemoConfig:
        """Returns this configuration; nothing in it can contradict anything else."""
        return self
