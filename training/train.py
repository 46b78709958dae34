"""Trains the built-in belt policy from recorded demonstrations, on one CPU core.

    python training/train.py --data belt.npz --out src/segue/policies/weights/belt.safetensors

The data are arrays at 30 Hz: state (T, 6), environment (T, E), action (T, 6) in robot
units, episode_start (T,). A sample is an observation and the H actions from it on; noise
and actions are mixed at a random flow time, and the network learns to tell the actions
from the mixture, which is the velocity from one to the other (flow matching). What is
saved is the exponential moving average of the weights, with statistics, joint names and
units beside it: all that `policies/flow.py` needs. One seed gives one file on one machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from segue.core.specs import Dimension, RobotSpec
from segue.policies.flow import METADATA_KEY, OBSERVATION_CLIP, FlowNetwork, FlowShape
from segue.robots.mujoco import SimSO101

ACTION_HZ = 30.0
HORIZON = 50
SAMPLER_STEPS = 5
REPORT_EVERY = 500


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes:
        observation_noise: added to normalised observations, so that the network does not
            read a cube's place to the micrometre, as no camera could.
        ema_decay: of the weights that are saved.
    """

    steps: int = 14_000
    batch: int = 256
    learning_rate: float = 1e-3
    warm_up_steps: int = 300
    weight_decay: float = 1e-4
    ema_decay: float = 0.999
    observation_noise: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class Windows:
    """Normalised observations and actions of all steps, and at which steps a whole chunk begins.

    Attributes:
        observations: shape (T, O).
        actions: shape (T, A).
        starts: shape (N,), indices into both.
        statistics: the four arrays that undo the normalisation.
    """

    observations: Tensor
    actions: Tensor
    starts: Tensor
    statistics: dict[str, Tensor]


def load_windows(path: Path) -> Windows:
    """Reads a recording and returns every chunk that lies within one episode."""
    with np.load(path) as data:
        seen = np.concatenate([data["state"], data["environment"]], axis=1)
        actions, episode = data["action"], np.cumsum(data["episode_start"])
    starts = np.flatnonzero(episode[: len(episode) - HORIZON + 1] == episode[HORIZON - 1 :])
    statistics = {
        "observation_mean": seen.mean(0),
        "observation_std": spread(seen),
        "action_mean": actions.mean(0),
        "action_std": spread(actions),
    }
    normal = (seen - statistics["observation_mean"]) / statistics["observation_std"]
    return Windows(
        observations=torch.from_numpy(normal).float().clamp(-OBSERVATION_CLIP, OBSERVATION_CLIP),
        actions=torch.from_numpy((actions - statistics["action_mean"]) / statistics["action_std"]).float(),
        starts=torch.from_numpy(starts),
        statistics={name: torch.from_numpy(values).float() for name, values in statistics.items()},
    )


def spread(values: np.ndarray) -> np.ndarray:
    """Returns each column's standard deviation, and 1 for a column that never changes."""
    std = values.std(0)
    return np.where(std > 1e-9, std, 1.0)


def train(windows: Windows, shape: FlowShape, recipe: Recipe) -> FlowNetwork:
    """Trains a network and returns its moving average."""
    torch.manual_seed(recipe.seed)
    network = FlowNetwork(shape)
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    started, total = time.monotonic(), 0.0
    for step in range(1, recipe.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step, recipe)
        loss = flow_loss(network, *draw(windows, recipe))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay = min(recipe.ema_decay, step / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        total += loss.item()
        if step % REPORT_EVERY == 0:
            minutes = (time.monotonic() - started) / 60
            print(f"step {step:6d}  loss {total / REPORT_EVERY:.4f}  {minutes:.1f} min", flush=True)
            total = 0.0
    return average


def draw(windows: Windows, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Draws a batch: observations (B, O) with a little noise, chunks (B, H, A)."""
    at = windows.starts[torch.randint(len(windows.starts), (recipe.batch,))]
    observations = windows.observations[at]
    chunks = windows.actions[at[:, None] + torch.arange(HORIZON)]
    return observations + recipe.observation_noise * torch.randn_like(observations), chunks


def flow_loss(network: FlowNetwork, observations: Tensor, chunks: Tensor) -> Tensor:
    """Returns the mean squared error of the clean chunk at a flow time drawn for each sample.

    The error of the velocity would be this one over (1 − τ)², up to 400 times it: a network
    trained on that learns to copy x near τ = 1, where no Euler step is taken: it lifted 0 of 30 cubes
    after 5 000 steps, this one 6, both without delay.
    """
    noise = torch.randn_like(chunks)
    time_per_chunk = torch.rand(len(chunks), 1)
    tau = time_per_chunk[..., None]
    noisy = (1 - tau) * noise + tau * chunks
    expected = network.clean(noisy, time_per_chunk.expand(-1, HORIZON), observations)
    return torch.nn.functional.mse_loss(expected, chunks)


def schedule(step: int, recipe: Recipe) -> float:
    """Returns the share of the learning rate: a short ramp, then half a cosine down to 2 %."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    return min(1.0, step / recipe.warm_up_steps) * max(0.02, cosine)


def save(path: Path, network: FlowNetwork, windows: Windows, recipe: Recipe, robot: RobotSpec) -> None:
    """Writes weights, statistics and everything that a server has to know about them."""
    config = {
        "name": "builtin:belt",
        "action_hz": ACTION_HZ,
        "horizon": HORIZON,
        "sampler_steps": SAMPLER_STEPS,
        "state": [listed(d) for d in robot.observation.state],
        "environment": list(robot.observation.environment),
        "action": [listed(d) for d in robot.action.dimensions],
        "network": {"width": network.shape.width, "depth": network.shape.depth},
        "recipe": {**asdict(recipe), "chunks": len(windows.starts)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {**network.state_dict(), **windows.statistics}
    save_file(tensors, path, metadata={METADATA_KEY: json.dumps(config, sort_keys=True)})


def listed(dimension: Dimension) -> dict[str, str]:
    """Returns what a robot is compared by."""
    return {"name": dimension.name, "unit": dimension.unit, "kind": dimension.kind.value}


def main() -> None:
    """Reads the flags, trains, saves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="recording, .npz")
    parser.add_argument("--out", type=Path, required=True, help="weights to write, .safetensors")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="training steps")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    flags = parser.parse_args()
    # Two threads that wait for each other on two busy cores took 1462 ms a step where one takes 39.
    torch.set_num_threads(1)
    recipe = Recipe(steps=flags.steps, seed=flags.seed)
    windows, robot = load_windows(flags.data), SimSO101().spec
    expected = len(robot.observation.state) + len(robot.observation.environment)
    if windows.observations.shape[1] != expected:
        raise SystemExit(
            f"{flags.data}: {windows.observations.shape[1]} numbers are seen, the robot has {expected}"
        )
    shape = FlowShape(windows.observations.shape[1], windows.actions.shape[1], HORIZON)
    parameters = sum(p.numel() for p in FlowNetwork(shape).parameters())
    print(f"{len(windows.starts)} chunks of {HORIZON}, {parameters} parameters")
    network = train(windows, shape, recipe)
    save(flags.out, network, windows, recipe, robot)
    print(f"wrote {flags.out}, {flags.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
