"""MuJoCo, imported in one place, set up to draw without a screen.

MuJoCo decides while it is being imported how it will draw, from the environment
variable MUJOCO_GL, and by default wants a window. Where nobody has chosen, EGL
is taken if the host has it, else OSMesa, else none: physics runs everywhere and
only cameras fail. Everything in this room that needs MuJoCo takes it from here.
"""

from __future__ import annotations

import ctypes.util
import os
import sys

from segue.errors import ConfigError


def _choose_backend() -> str:
    chosen = os.environ.get("MUJOCO_GL")
    if chosen or sys.platform != "linux":
        return chosen or "default"
    found = next((gl for gl in ("EGL", "OSMesa") if ctypes.util.find_library(gl)), "disable")
    os.environ["MUJOCO_GL"] = found.lower()
    return found.lower()


RENDERING = _choose_backend()

try:
    import mujoco
except ImportError as error:
    raise ConfigError(f"the simulated robot needs MuJoCo: pip install 'segue[sim]' ({error})") from error

__all__ = ["RENDERING", "mujoco"]
