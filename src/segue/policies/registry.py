"""From the name that a server was given to a loaded policy.

`builtin:…` names what comes with the package. torch is imported only for the
policies that need it, so a scripted policy serves on a host without torch.
Anything else is a file on this host: a safetensors file, or a folder that
holds one. This file chooses and loads; it does not download.
"""

from __future__ import annotations

import os
from pathlib import Path

from segue.core.resize import Fit
from segue.core.specs import CameraSpec
from segue.errors import ConfigError
from segue.policies.base import Policy
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy

WEIGHTS = Path(__file__).parent / "weights"
BELT = "builtin:belt"
SCRIPTED = "builtin:scripted"
SUFFIX = ".safetensors"
ALLOWED = (
    f"{BELT}, {SCRIPTED}, or {SCRIPTED}@HZ with another rate than 10 Hz "
    f"or {SCRIPTED}@HZ:CAMERA,CAMERA:WIDTHxHEIGHT:FIT with pictures, "
    f"or a {SUFFIX} file of this host, or a folder that holds one"
)
# A claim of more is a mistake or an attack; it is refused before it is read.
MAX_FILE_BYTES = 64 * 1024**3
# Of the pictures that the scripted policy may ask for: all of them together fit a message's bounds.
MAX_SIDE = 1024
MAX_CAMERAS = 8


def load_policy(name: str, device: str = "auto") -> Policy:
    """Loads the policy called `name`.

    Args:
        name: ``builtin:belt``, ``builtin:scripted``, ``builtin:scripted@30``,
            ``builtin:scripted@30:front,wrist:224x224:pad_left_top``, or a path.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``; of no meaning to a scripted policy.

    Raises:
        ConfigError: no such policy or device; the message says what is allowed.
    """
    if name == BELT:
        from segue.policies.flow import load_flow_policy

        return load_flow_policy(WEIGHTS / "belt.safetensors", resolve_device(device))
    base, at, wishes = name.partition("@")
    if base == SCRIPTED:
        return ScriptedPolicy(_scripted(wishes) if at else ScriptedConfig())
    from_disk = _weights_at(Path(name)) if name else None
    if from_disk is None:
        raise ConfigError(f"policy.path: {name!r} is unknown; allowed are {ALLOWED}")
    from segue.policies.flow import load_flow_policy

    return load_flow_policy(from_disk, resolve_device(device))


def _weights_at(path: Path) -> Path | None:
    """Returns the weights file that `path` means; None when nothing of the kind is there.

    Raises:
        ConfigError: a folder with several of them, or a file that is too large.
    """
    if path.is_dir():
        found = sorted(path.glob(f"*{SUFFIX}"))
        if len(found) > 1:
            names = ", ".join(each.name for each in found)
            raise ConfigError(f"policy.path: {path} holds {names}; allowed is one, name the file")
        path = found[0] if found else path
    if path.suffix != SUFFIX or not path.is_file():
        return None
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ConfigError(f"policy.path: {path} has {size} bytes, allowed are {MAX_FILE_BYTES}")
    return path


def resolve_device(wanted: str) -> str:
    """Returns the torch device that `wanted` means on this host, and settles the CPU's threads.

    Raises:
        ConfigError: it does not exist here; the message says what does.
    """
    import torch

    count = torch.cuda.device_count()
    here = ["cpu", *(["cuda"] if count else []), *(f"cuda:{k}" for k in range(count))]
    device = wanted if wanted != "auto" else ("cuda" if count else "cpu")
    if device not in here:
        raise ConfigError(f"policy.device: {wanted!r} is not here; allowed are auto, {', '.join(here)}")
    if device == "cpu" and len(os.sched_getaffinity(0)) <= 2:
        # Two threads that wait for each other on two busy cores took 1462 ms where one takes 39.
        torch.set_num_threads(1)
    return device


def _scripted(wishes: str) -> ScriptedConfig:
    """Returns what ``HZ`` or ``HZ:CAMERAS:WIDTHxHEIGHT:FIT`` asks for."""
    rate, *pictures = wishes.split(":")
    if not pictures:
        return ScriptedConfig(action_hz=_rate(rate))
    if len(pictures) != 3:
        raise _no_pictures(wishes)
    names, size, fit = pictures
    sides = [int(side) if side.isascii() and side.isdecimal() else 0 for side in size[:9].split("x")]
    known = fit in tuple(Fit) and len(sides) == 2 and all(16 <= side <= MAX_SIDE for side in sides)
    cameras = names.split(",")
    if not known or len(cameras) > MAX_CAMERAS or len(set(cameras)) < len(cameras) or not all(cameras):
        raise _no_pictures(wishes)
    width, height = sides
    return ScriptedConfig(
        action_hz=_rate(rate),
        cameras=tuple(CameraSpec(name, height, width, fit=Fit(fit)) for name in cameras),
    )


def _no_pictures(text: str) -> ConfigError:
    return ConfigError(
        f"policy.path: {text!r} after @ is not HZ:CAMERA,CAMERA:WIDTHxHEIGHT:FIT with sides of 16 to "
        f"{MAX_SIDE} pixels, at most {MAX_CAMERAS} cameras, and a fit of {', '.join(Fit)}"
    )


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1000:
        raise ConfigError(f"policy.path: rate {text!r} after @ is not a number of Hz within 0 … 1000")
    return rate
