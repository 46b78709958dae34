"""The configuration of `segue find-cameras`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import annotated_types as at

from segue.config.cameras import REAL, CameraConfig
from segue.config.constraints import Hz, Pixels, PlainPath
from segue.config.schema import Help

Looking = Annotated[float, at.Interval(gt=0, le=60)]


@dataclass(frozen=True, kw_only=True)
class FindCamerasConfig:
    """Which cameras are looked at, and where the sheet of pictures goes."""

    output_dir: Annotated[PlainPath, Help("folder of the sheet; made if it is not there")] = Path(
        "outputs/cameras"
    )
    record_time_s: Annotated[Looking, Help("seconds over which rates are measured, all cameras at once")] = (
        2.0
    )
    width: Annotated[Pixels, Help("tried first on this host's devices, pixels")] = 640
    height: Annotated[Pixels, Help("tried first on this host's devices, pixels")] = 480
    fps: Annotated[Hz, Help("asked of this host's devices")] = 30.0
    cameras: Annotated[
        Mapping[str, CameraConfig],
        REAL,
        Help(
            'looked at instead of this host\'s devices, such as "{front: {type: opencv, index_or_path: 2}}"'
        ),
    ] = field(default_factory=dict)

    def resolve(self, given: frozenset[str]) -> FindCamerasConfig:
        """Returns this configuration; nothing in it can contradict anything else."""
        return self
