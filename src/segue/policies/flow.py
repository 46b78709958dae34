"""The built-in policy: a small flow-matching network over chunks of joint targets.

It turns noise into a chunk of H_policy actions in a few Euler steps, seeing the
joints and the tracked objects (no pictures). The network predicts the clean
chunk, from which the velocity follows; a smooth chunk then passes through a
narrow network, while the noise of 300 numbers would not. Flow time is given
per token, so that a network trained on clean prefixes fits the same file.

A weights file is safetensors with the network, the normalisation statistics
and a JSON text (joints, units, rate, sizes) in its metadata; it needs no code
of its own. This file neither trains nor downloads, and does no trained prefix
conditioning.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from segue.clock import AwakeClock, Clock
from segue.core.specs import ActionSpec, Dimension, Kind, ObservationSpec, PolicySpec
from segue.core.types import FloatArray, Guidance, Jacobian, Leftover, Observation, RtcMode
from segue.errors import ConfigError, PolicyError
from segue.policies.base import PolicyInput, PolicyOutput
from segue.policies.prefix import Window, guided_window, prefix_weights
from segue.policies.rtc import Prefix, sample

METADATA_KEY = "segue"
STATISTICS = ("observation_mean", "observation_std", "action_mean", "action_std")
# v = (clean − x) / (1 − τ) is exact up to here, that is for up to 20 Euler steps.
MIN_TIME_LEFT = 0.05
# Normalised observations beyond this were never seen in training; a lost cube is not a reason to flail.
OBSERVATION_CLIP = 5.0
TIME_FREQUENCIES = (1.0, 2.0, 4.0)
WARM_RUNS = 5
# What a weights file may claim.
LARGEST = {"horizon": 4096, "sampler_steps": 1000, "width": 16_384, "depth": 256}


@dataclass(frozen=True, slots=True)
class FlowShape:
    """The sizes of a network: what goes in, what comes out, how wide and deep it is."""

    observation_dim: int
    action_dim: int
    horizon: int
    width: int = 256
    depth: int = 4


class ConditionedBlock(nn.Module):
    """A residual layer that adds what it makes of the chunk so far and of the condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.condition = nn.Linear(width, width)
        self.body = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """Returns the next hidden state, shape (B, width)."""
        return hidden + cast(Tensor, self.body(hidden + self.condition(condition)))


class FlowNetwork(nn.Module):
    """The velocity field v(x, o, τ): a residual MLP over the whole chunk at once."""

    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.shape = shape
        width, chunk = shape.width, shape.horizon * shape.action_dim
        time_dim = shape.horizon * (1 + 2 * len(TIME_FREQUENCIES))
        self.observation = nn.Sequential(
            nn.Linear(shape.observation_dim, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.time = nn.Linear(time_dim, width)
        self.chunk_in = nn.Linear(chunk, width)
        self.blocks = nn.ModuleList(ConditionedBlock(width) for _ in range(shape.depth))
        self.chunk_out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, chunk))

    def forward(self, noisy: Tensor, time: Tensor, observation: Tensor) -> Tensor:
        """Returns the velocity, shape (B, H, A).

        Args:
            noisy: x, shape (B, H, A), model units.
            time: flow time τ of every token, shape (B, H), in [0, 1].
            observation: o, shape (B, O), model units.
        """
        time_left = (1 - time[..., None]).clamp(min=MIN_TIME_LEFT)
        return (self.clean(noisy, time, observation) - noisy) / time_left

    def clean(self, noisy: Tensor, time: Tensor, observation: Tensor) -> Tensor:
        """Returns the chunk that it expects at the flow's end, shape (B, H, A); what it is trained on."""
        condition = nn.functional.silu(self.observation(observation) + self.time(time_features(time)))
        hidden = self.chunk_in(noisy.flatten(1))
        for block in self.blocks:
            hidden = block(hidden, condition)
        return cast(Tensor, self.chunk_out(hidden).view_as(noisy))


def time_features(time: Tensor) -> Tensor:
    """Returns τ and slow sines and cosines of it for every token, shape (B, H · 7)."""
    angle = torch.stack([math.pi * f * time for f in TIME_FREQUENCIES], dim=-1)
    return torch.cat([time[..., None], angle.sin(), angle.cos()], dim=-1).flatten(1)


@dataclass(frozen=True, slots=True)
class Normaliser:
    """Robot units to model units and back; the statistics are the training data's."""

    observation_mean: FloatArray
    observation_std: FloatArray
    action_mean: FloatArray
    action_std: FloatArray

    def observation(self, observation: Observation) -> FloatArray:
        """Returns joints and environment in model units, shape (O,)."""
        seen = np.concatenate([observation.state, observation.environment])
        if seen.shape != self.observation_mean.shape:
            raise PolicyError(
                f"observation has {len(observation.state)} joints and {len(observation.environment)} "
                f"environment numbers, {len(self.observation_mean)} in all are expected"
            )
        if not np.isfinite(seen).all():
            raise PolicyError(f"observation is not finite: {seen}")  # the clip below would hide it
        normal = (seen - self.observation_mean) / self.observation_std
        return cast(FloatArray, np.clip(normal, -OBSERVATION_CLIP, OBSERVATION_CLIP))

    def leftover(self, leftover: Leftover) -> FloatArray:
        """Returns a leftover in model units, shape (L, A): as given, else made from robot units."""
        if leftover.model_actions is not None:
            return leftover.model_actions
        return (leftover.robot_actions - self.action_mean) / self.action_std

    def robot_actions(self, model_actions: FloatArray) -> FloatArray:
        """Returns a chunk in robot units, shape (H, A)."""
        return model_actions * self.action_std + self.action_mean


class FlowPolicy:
    """A loaded network behind the `Policy` interface; owned by one thread."""

    def __init__(
        self, network: FlowNetwork, normaliser: Normaliser, spec: PolicySpec, steps: int = 5
    ) -> None:
        if steps < 1 or steps * MIN_TIME_LEFT > 1:
            raise ConfigError(f"sampler steps: {steps} is not within 1 … {round(1 / MIN_TIME_LEFT)}")
        # Frozen weights: the guidance's gradient then records the path to the noisy chunk only.
        self.network = network.eval().requires_grad_(False)
        self.normaliser = normaliser
        self.steps = steps
        self._spec = spec
        self._like = next(network.parameters())

    def __repr__(self) -> str:
        spec = self._spec
        return f"<FlowPolicy {spec.name} {spec.policy_hash} steps={self.steps} on {self._like.device}>"

    @property
    def spec(self) -> PolicySpec:
        """What it expects and promises; `warm_inference_ns` is known after `warm_up`."""
        return self._spec

    @property
    def device(self) -> str:
        """Where the network computes, as torch names it."""
        return str(self._like.device)

    def warm_up(self, clock: Clock | None = None) -> None:
        """Runs the plain and the guided path and declares the median of a few guided runs."""
        clock = clock or AwakeClock()
        plain = self._rehearsal(None)
        chunk = self.infer([plain])[0]
        guided = self._rehearsal(Leftover(chunk.robot_actions, chunk.model_actions))
        self.infer([guided])
        durations = []
        for _ in range(WARM_RUNS):
            start_ns = clock.now_ns()
            self.infer([guided])
            durations.append(clock.now_ns() - start_ns)
        self._spec = replace(self._spec, warm_inference_ns=int(statistics.median(durations)))

    def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        """Samples one chunk per item, in order; an item's result does not depend on the others.

        Raises:
            PolicyError: an item's shapes are wrong, asks for the trained mode, or a chunk is not finite.
        """
        if not batch:
            return []
        windows = [guided_window(item, self._spec.horizon) for item in batch]
        observations = self._tensor(np.stack([self.normaliser.observation(i.observation) for i in batch]))
        with torch.no_grad():
            chunks = sample(
                lambda x, time: cast(Tensor, self.network(x, time, observations)),
                self._noise([item.seed for item in batch]),
                self.steps,
                self._prefix(batch, windows),
            )
        model_actions = chunks.double().cpu().numpy()
        broken = [k for k, chunk in enumerate(model_actions) if not np.isfinite(chunk).all()]
        if broken:
            raise PolicyError(f"{self._spec.name}: chunk of item {broken} of {len(batch)} is not finite")
        return [
            PolicyOutput(self.normaliser.robot_actions(chunk), chunk, window.delay if window else 0)
            for chunk, window in zip(model_actions, windows, strict=True)
        ]

    def _prefix(self, batch: Sequence[PolicyInput], windows: Sequence[Window | None]) -> Prefix | None:
        """Stacks what the rows have to continue; None when none of them has anything."""
        if not any(windows):
            return None
        shape = self.network.shape
        target = np.zeros((len(batch), shape.horizon, shape.action_dim))
        weights = np.zeros((len(batch), shape.horizon))
        for row, (item, window) in enumerate(zip(batch, windows, strict=True)):
            if item.leftover is None or window is None:
                continue
            # Only the window is copied: what lies beyond it, padding or plan, is never seen.
            known = self.normaliser.leftover(item.leftover)[: window.end]
            if known.shape != (window.end, shape.action_dim):
                raise PolicyError(
                    f"leftover of item {row} has width {known.shape[1:]}, not {shape.action_dim}"
                )
            target[row, : window.end] = known
            weights[row] = prefix_weights(window, shape.horizon, item.guidance.schedule)
        exact = [
            w is not None and i.guidance.jacobian is Jacobian.EXACT
            for i, w in zip(batch, windows, strict=True)
        ]
        max_weight = [i.guidance.max_weight if w else 0.0 for i, w in zip(batch, windows, strict=True)]
        return Prefix(
            self._tensor(target),
            self._tensor(weights),
            torch.tensor(max_weight, device=self._like.device),
            torch.tensor(exact, device=self._like.device),
        )

    def _noise(self, seeds: Sequence[int]) -> Tensor:
        """Returns each row's noise from its own generator, so that no row depends on its neighbours."""
        shape = (self.network.shape.horizon, self.network.shape.action_dim)
        # Drawn on the CPU: one seed gives one chunk, whatever device the network is on.
        rows = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(rows).to(self._like)

    def _tensor(self, values: FloatArray) -> Tensor:
        return torch.from_numpy(values).to(self._like)

    def _rehearsal(self, leftover: Leftover | None) -> PolicyInput:
        """Makes an input at the centre of the training data."""
        joints = len(self._spec.observation.state)
        mean = self.normaliser.observation_mean
        return PolicyInput(
            observation=Observation(0, 0, state=mean[:joints], environment=mean[joints:]),
            history=(),
            task="",
            leftover=leftover,
            delay_steps=0 if leftover is None else 1,
            chunk_length=self._spec.horizon,
            guidance=Guidance(),
            seed=0,
        )


def load_flow_policy(path: Path, device: str, steps: int | None = None) -> FlowPolicy:
    """Loads a weights file.

    Args:
        path: safetensors file written by `training/train.py`.
        device: torch device such as ``cpu`` or ``cuda:0``.
        steps: Euler steps per chunk; None takes the file's own number.

    Raises:
        ConfigError: the file is missing, or is not a flow policy's.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            config = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        _check_sizes(config)
        steps = steps or int(config["sampler_steps"])
        return build_flow_policy(config, tensors, device, steps, _digest(path.read_bytes(), steps))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"policy weights {path}: not a flow policy ({error!r})") from error


def build_flow_policy(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], device: str, steps: int, policy_hash: str
) -> FlowPolicy:
    """Builds a policy from the parts of a weights file.

    Args:
        config: the metadata: name, action_hz, horizon, state, environment, action, network.
        tensors: network parameters and the four statistics, by name.
        device: torch device.
        steps: Euler steps per chunk.
        policy_hash: what names these weights.
    """
    spec = PolicySpec(
        name=config["name"],
        observation=ObservationSpec(_dimensions(config["state"]), tuple(config["environment"])),
        action=ActionSpec(_dimensions(config["action"])),
        action_hz=config["action_hz"],
        horizon=config["horizon"],
        model_action_dim=len(config["action"]),
        history_steps=0,
        rtc_modes=(RtcMode.GUIDED.value,),
        warm_inference_ns=0,
        policy_hash=policy_hash,
    )
    shape = FlowShape(
        observation_dim=len(config["state"]) + len(config["environment"]),
        action_dim=len(config["action"]),
        horizon=config["horizon"],
        **config["network"],
    )
    network = FlowNetwork(shape)
    network.load_state_dict({k: v for k, v in tensors.items() if k not in STATISTICS})
    normaliser = Normaliser(*(tensors[name].double().numpy() for name in STATISTICS))
    return FlowPolicy(network.to(device), normaliser, spec, steps)


def _check_sizes(config: Mapping[str, Any]) -> None:
    """Refuses a file that claims absurd sizes, before memory is set aside for them."""
    claims = {key: config[key] for key in ("horizon", "sampler_steps")} | config["network"]
    for key, claimed in claims.items():
        if not 1 <= claimed <= LARGEST[key]:
            raise ValueError(f"{key} {claimed} is outside 1..{LARGEST[key]}")


def _dimensions(listed: Sequence[Mapping[str, str]]) -> tuple[Dimension, ...]:
    return tuple(Dimension(d["name"], d["unit"], Kind(d["kind"])) for d in listed)


def _digest(weights: bytes, steps: int) -> str:
    return hashlib.sha256(weights + f"steps={steps}".encode()).hexdigest()[:16]
