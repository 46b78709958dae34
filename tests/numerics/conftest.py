"""A small flow policy with random weights, and questions to ask it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from segue.core.types import Guidance, Leftover, Observation
from segue.policies.base import PolicyInput
from segue.policies.flow import FlowNetwork, FlowPolicy, FlowShape, build_flow_policy

JOINTS = ("pan", "lift", "grip")
SHAPE = FlowShape(observation_dim=5, action_dim=3, horizon=16, width=32, depth=2)
MakePolicy = Callable[..., FlowPolicy]
Ask = Callable[..., PolicyInput]


@pytest.fixture
def network() -> FlowNetwork:
    torch.manual_seed(3)
    return FlowNetwork(SHAPE).requires_grad_(False)


@pytest.fixture
def make_policy(network: FlowNetwork) -> MakePolicy:
    """Makes the policy; `unit_scale` multiplies the robot's unit of each joint."""

    def make(unit_scale: tuple[float, float, float] = (1.0, 1.0, 1.0), steps: int = 5) -> FlowPolicy:
        scale = torch.tensor(unit_scale, dtype=torch.float64)
        environment = torch.ones(2, dtype=torch.float64)
        tensors = {
            **network.state_dict(),
            "observation_mean": torch.cat([scale * torch.tensor([5.0, -20.0, 40.0]), 0.1 * environment]),
            "observation_std": torch.cat([scale * torch.tensor([10.0, 15.0, 25.0]), 0.3 * environment]),
            "action_mean": scale * torch.tensor([4.0, -22.0, 41.0]),
            "action_std": scale * torch.tensor([11.0, 14.0, 26.0]),
        }
        dimensions = [{"name": name, "unit": "deg", "kind": "position"} for name in JOINTS]
        config = {
            "name": "test:small",
            "action_hz": 30.0,
            "horizon": SHAPE.horizon,
            "state": dimensions,
            "environment": ["x", "y"],
            "action": dimensions,
            "network": {"width": SHAPE.width, "depth": SHAPE.depth},
        }
        return build_flow_policy(config, tensors, "cpu", steps, "0" * 16)

    return make


@pytest.fixture
def ask() -> Ask:
    """Makes a question; keyword arguments replace its fields."""

    def make(
        leftover: Leftover | None = None, guidance: Guidance | None = None, **fields: object
    ) -> PolicyInput:
        question = PolicyInput(
            observation=Observation(
                0, 0, state=np.array([9.0, -10.0, 60.0]), environment=np.array([0.2, -0.3])
            ),
            history=(),
            task="",
            leftover=leftover,
            delay_steps=0 if leftover is None else 4,
            chunk_length=SHAPE.horizon,
            guidance=guidance or Guidance(),
            seed=7,
        )
        return replace(question, **fields)  # type: ignore[arg-type]

    return make
