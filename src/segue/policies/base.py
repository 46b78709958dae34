"""What every policy looks like to the server: a spec, a warm-up, and one batched call.

Numpy in, numpy out; which framework works inside is the policy's own affair.
Each item of a batch stands for another robot, with its own leftover, delay,
window and seed, and its result must not depend on who shares the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from segue.core.specs import PolicySpec
from segue.core.types import FloatArray, Guidance, Leftover, Observation


@dataclass(frozen=True, slots=True)
class PolicyInput:
    """One robot's question.

    Attributes:
        observation: present observation, robot units, decoded images.
        history: earlier observations, oldest first.
        task: what to do, in words.
        leftover: planned actions to continue; None for a fresh chunk.
        delay_steps: hard prefix d; 0 without leftover.
        chunk_length: H, the actions that the robot will use.
        guidance: how to continue the leftover.
        seed: noise seed of this item.
    """

    observation: Observation
    history: tuple[Observation, ...]
    task: str
    leftover: Leftover | None
    delay_steps: int
    chunk_length: int
    guidance: Guidance
    seed: int


@dataclass(frozen=True, slots=True)
class PolicyOutput:
    """One robot's chunk.

    Attributes:
        robot_actions: shape (H_policy, A), robot units.
        model_actions: shape (H_policy, A_model), model units; None when the policy has none.
        conditioned_delay: the hard prefix that was really used.
    """

    robot_actions: FloatArray
    model_actions: FloatArray | None
    conditioned_delay: int


class Policy(Protocol):
    """A chunk-predicting policy, loaded and owned by one thread."""

    @property
    def spec(self) -> PolicySpec:
        """What it expects and promises; `warm_inference_ns` is known after `warm_up`."""
        ...

    def warm_up(self) -> None:
        """Runs every code path once (with and without leftover) and measures a warm inference."""
        ...

    def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        """Samples one chunk per item, in order.

        Raises:
            PolicyError: the policy cannot answer.
        """
        ...
