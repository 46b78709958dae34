"""Segue: run a robot policy on a far GPU and drive the arm here, smoothly.

The few names that others build on are here; `docs/ARCHITECTURE.md` is the map
to the rest. They are loaded when they are first used, so that `import segue`
costs nothing and a command's help is on the screen before numpy would be.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from segue.cameras.base import Camera
    from segue.core.executor import ChunkExecutor
    from segue.core.facts import ExecutorConfig, Tick
    from segue.core.specs import (
        ActionSpec,
        CameraSpec,
        Dimension,
        Kind,
        ObservationSpec,
        PolicySpec,
        RobotSpec,
    )
    from segue.core.types import ActionChunk, ChunkRequest, Frame, Guidance, Leftover, Observation, Strategy
    from segue.errors import SegueError
    from segue.policies.base import Policy, PolicyInput, PolicyOutput
    from segue.robots.base import Robot, RobotState

__all__ = [
    "ActionChunk",
    "ActionSpec",
    "Camera",
    "CameraSpec",
    "ChunkExecutor",
    "ChunkRequest",
    "Dimension",
    "ExecutorConfig",
    "Frame",
    "Guidance",
    "Kind",
    "Leftover",
    "Observation",
    "ObservationSpec",
    "Policy",
    "PolicyInput",
    "PolicyOutput",
    "PolicySpec",
    "Robot",
    "RobotSpec",
    "RobotState",
    "SegueError",
    "Strategy",
    "Tick",
    "__version__",
]

_HOMES = {
    "segue.cameras.base": ("Camera",),
    "segue.core.executor": ("ChunkExecutor",),
    "segue.core.facts": ("ExecutorConfig", "Tick"),
    "segue.core.specs": (
        "ActionSpec",
        "CameraSpec",
        "Dimension",
        "Kind",
        "ObservationSpec",
        "PolicySpec",
        "RobotSpec",
    ),
    "segue.core.types": (
        "ActionChunk",
        "ChunkRequest",
        "Frame",
        "Guidance",
        "Leftover",
        "Observation",
        "Strategy",
    ),
    "segue.errors": ("SegueError",),
    "segue.policies.base": ("Policy", "PolicyInput", "PolicyOutput"),
    "segue.robots.base": ("Robot", "RobotState"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'segue' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)
