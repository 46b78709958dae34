"""From the name that a server was given to a loaded policy.

`builtin:…` names what comes with the package. torch is imported only for the
policies that need it, so a scripted policy serves on a host without torch.
This file chooses and loads; it does not download.
"""

from __future__ import annotations

import os
from pathlib import Path

from segue.errors import ConfigError
from segue.policies.base import Policy
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy

WEIGHTS = Path(__file__).parent / "weights"
BELT = "builtin:belt"
SCRIPTED = "builtin:scripted"
ALLOWED = f"{BELT}, {SCRIPTED}, or {SCRIPTED}@HZ with another rate than 10 Hz"


def load_policy(name: str, device: str = "auto") -> Policy:
    """Loads the policy called `name`.

    Args:
        name: ``builtin:belt``, ``builtin:scripted`` or ``builtin:scripted@30``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``; of no meaning to a scripted policy.

    Raises:
        ConfigError: no such policy or device; the message says what is allowed.
    """
    if name == BELT:
        from segue.policies.flow import load_flow_policy

        return load_flow_policy(WEIGHTS / "belt.safetensors", resolve_device(device))
    base, at, rate = name.partition("@")
    if base == SCRIPTED:
        return ScriptedPolicy(ScriptedConfig(action_hz=_rate(rate)) if at else ScriptedConfig())
    raise ConfigError(f"policy.path: {name!r} is unknown; allowed are {ALLOWED}")


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


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1000:
        raise ConfigError(f"policy.path: rate {text!r} after @ is not a number of Hz within 0 … 1000")
    return rate
