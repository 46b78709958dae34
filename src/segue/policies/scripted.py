"""A policy without a network: slow sine waves that depend on the step and on nothing else.

The action for step t is the same whichever chunk brings it, so two chunks
agree wherever they overlap, and everything seen at a seam is the doing of what
lies between policy and robot. That makes it the policy for trying a link, a
rate (10 Hz actions on a 100 Hz robot) or a new arm. Asked to continue a
leftover it blends into it by the prefix weights, so that a plan which limits
or another policy have bent is continued too.

It needs NumPy only, looks at no joint, and lifts no cube.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segue.core.specs import ActionSpec, CameraSpec, Dimension, Kind, ObservationSpec, PolicySpec
from segue.core.types import FloatArray, RtcMode
from segue.errors import ConfigError, PolicyError
from segue.policies.base import PolicyInput, PolicyOutput
from segue.policies.prefix import guided_window, prefix_weights

# About what an array operation on 50 × 6 numbers takes; declared, because there is nothing to measure.
INFERENCE_NS = 100_000


@dataclass(frozen=True, slots=True)
class Wave:
    """One dimension and how it moves.

    Attributes:
        dimension: name, unit and kind, as the robot has them.
        centre: value at step 0 and around which it moves, in the dimension's unit.
        amplitude: half of the way from one end to the other, in the dimension's unit.
        period_s: duration of one turn.
    """

    dimension: Dimension
    centre: float
    amplitude: float
    period_s: float


# An SO-101 about its rest pose, raised and clear of table and limits. The periods have no common
# multiple under a minute, so a run does not repeat itself.
SO101_WAVES = (
    Wave(Dimension("shoulder_pan", "deg"), 0.0, 25.0, 7.0),
    Wave(Dimension("shoulder_lift", "deg"), -75.0, 8.0, 5.0),
    Wave(Dimension("elbow_flex", "deg"), 65.0, 8.0, 6.0),
    Wave(Dimension("wrist_flex", "deg"), 68.0, 12.0, 4.0),
    Wave(Dimension("wrist_roll", "deg"), 0.0, 30.0, 8.0),
    Wave(Dimension("gripper", "percent"), 20.0, 15.0, 3.0),
)


@dataclass(frozen=True, slots=True)
class ScriptedConfig:
    """What the scripted policy moves, at which rate, and how many actions it gives at a time.

    Attributes:
        cameras: pictures that it asks for and does not look at, to try their way.
    """

    waves: tuple[Wave, ...] = SO101_WAVES
    action_hz: float = 10.0
    horizon: int = 50
    name: str = "builtin:scripted"
    cameras: tuple[CameraSpec, ...] = ()


class ScriptedPolicy:
    """Sine waves behind the `Policy` interface."""

    def __init__(self, config: ScriptedConfig | None = None) -> None:
        config = config or ScriptedConfig()
        if not config.waves or config.horizon < 1 or not config.action_hz > 0:
            raise ConfigError(f"scripted policy: needs waves, horizon >= 1 and action_hz > 0, got {config}")
        self.config = config
        dimensions = tuple(wave.dimension for wave in config.waves)
        self.spec = PolicySpec(
            name=config.name,
            observation=ObservationSpec(state=dimensions, cameras=config.cameras),
            action=ActionSpec(dimensions),
            action_hz=config.action_hz,
            horizon=config.horizon,
            model_action_dim=len(dimensions),
            history_steps=0,
            rtc_modes=(RtcMode.GUIDED.value,),
            warm_inference_ns=INFERENCE_NS,
            policy_hash=hashlib.sha256(repr(config).encode()).hexdigest()[:16],
        )

    def __repr__(self) -> str:
        return f"<ScriptedPolicy {self.config.action_hz} Hz horizon={self.config.horizon}>"

    def warm_up(self) -> None:
        """Does nothing: there is nothing to load, compile or measure."""

    def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        """Returns the waves from each observation's step on, blended with what the item has left over.

        Raises:
            PolicyError: a leftover has another width, or the trained mode is asked for.
        """
        return [self._answer(item) for item in batch]

    def actions(self, steps: FloatArray) -> FloatArray:
        """Returns the actions of `steps`, shape (n,), as an array of shape (n, A), robot units."""
        waves = self.config.waves
        turns = steps[:, None] / self.config.action_hz / np.array([w.period_s for w in waves])
        centre, amplitude = (
            np.array([getattr(w, field) for w in waves]) for field in ("centre", "amplitude")
        )
        return np.asarray(centre + amplitude * np.sin(2 * np.pi * turns))

    def _answer(self, item: PolicyInput) -> PolicyOutput:
        chunk = self.actions(item.observation.step + np.arange(self.config.horizon, dtype=np.float64))
        leftover, window = item.leftover, guided_window(item, self.config.horizon)
        if leftover is None or window is None:
            return PolicyOutput(chunk, None, 0)
        known = leftover.robot_actions[: window.end]
        if known.shape != (window.end, len(self.config.waves)):
            raise PolicyError(
                f"leftover has shape {leftover.robot_actions.shape}, width {len(self.config.waves)} expected"
            )
        weights = prefix_weights(window, self.config.horizon, item.guidance.schedule)[: window.end, None]
        # A discrete dimension is never blended: the newest wins.
        weights = weights * ~self.spec.action.mask(Kind.DISCRETE)
        chunk[: window.end] += weights * (known - chunk[: window.end])
        return PolicyOutput(chunk, None, window.delay)
