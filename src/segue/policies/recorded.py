"""A policy that has only one idea: to move along a recording, step by step.

The step of the question says how far the arm is. Steps stand still while an arm
is held, so a hold loses nothing; but afterwards, as at the start, the arm may be
anywhere. A question without a leftover therefore gets a slow straight line from
where the joints are to where the recording goes on, and the recording after it.
With a leftover the answer is what was answered before, so chunks agree wherever
they overlap and nothing is blended.

One recording, one arm: it remembers where the last line led. NumPy only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from segue.core.motion import PARK_SPEED_SHARE
from segue.core.specs import ActionSpec, Dimension, Kind, ObservationSpec, PolicySpec
from segue.core.types import FloatArray, RtcMode
from segue.errors import ConfigError
from segue.policies.base import PolicyInput, PolicyOutput
from segue.policies.prefix import guided_window

HORIZON = 50
# About what copying 50 actions takes; declared, because there is nothing to measure.
INFERENCE_NS = 100_000
# The line takes this long where no limit says how fast a joint may go; as long as parking may.
UNLIMITED_S = 4.0


@dataclass(frozen=True, slots=True)
class Recording:
    """A path.

    Attributes:
        dimensions: of a command, with the limits of the robot that was recorded.
        action_hz: steps per second.
        actions: one command per step, shape (N, A), robot units, N >= 1.
    """

    dimensions: tuple[Dimension, ...]
    action_hz: float
    actions: FloatArray

    def at_speed(self, speed: float) -> Recording:
        """Returns the same path, followed at `speed` times the pace.

        Raises:
            ConfigError: it has efforts, and a force has no slower form.
        """
        action = ActionSpec(self.dimensions)
        if speed != 1.0 and action.mask(Kind.EFFORT).any():
            raise ConfigError(f"speed: {speed:g} is not possible for a recording of efforts; expected 1")
        pace = np.where(action.mask(Kind.VELOCITY), speed, 1.0)
        return replace(self, action_hz=self.action_hz * speed, actions=self.actions * pace)


def slow_line(recording: Recording, start: FloatArray, end: FloatArray) -> FloatArray:
    """Returns a straight line as steps of `recording`, shape (n, A), n >= 1.

    Positions go as slowly as parking does, whatever is discrete is at its end at once, and
    what flows stands still.

    Args:
        recording: its rate and limits.
        start: where the arm is, shape (A,), robot units; no step of the line.
        end: where it is after the last step, shape (A,).
    """
    action = ActionSpec(recording.dimensions)
    positions = action.mask(Kind.POSITION)
    way = np.where(positions, end - start, 0.0)
    speed = PARK_SPEED_SHARE * action.array("max_speed")
    limited_s = float(np.max(np.abs(way) / speed, initial=0.0))
    unlimited_s = UNLIMITED_S if (way[np.isinf(speed)] != 0).any() else 0.0
    count = max(1, math.ceil(max(limited_s, unlimited_s) * recording.action_hz))
    share = np.arange(1, count + 1)[:, None] / count
    still = np.where(action.mask(Kind.DISCRETE), end, 0.0)
    return np.where(positions, start + share * way, still)


@dataclass(frozen=True, slots=True)
class _Line:
    """From step `first` on `actions` lead to the recording's action number `end`, their last."""

    first: int
    actions: FloatArray
    end: int

    @property
    def after(self) -> int:
        """The step after the line."""
        return self.first + len(self.actions)

    def due(self, step: int) -> int:
        """Returns which of the recording's actions is due at `step`; on the line, the one at its end."""
        return self.end + max(0, step - self.after + 1)


class RecordedPolicy:
    """A recording behind the `Policy` interface, for one robot."""

    def __init__(self, recording: Recording, on_end: Callable[[], None]) -> None:
        """Gives the last action for as long as it is asked.

        Args:
            recording: where to go.
            on_end: called, on the policy's thread, by each question after the last step.
        """
        self._recording = recording
        self._on_end = on_end
        self._line: _Line | None = None
        digest = hashlib.sha256(recording.actions.tobytes() + repr(recording.dimensions).encode())
        self.spec = PolicySpec(
            name="recording",
            observation=ObservationSpec(state=recording.dimensions),
            action=ActionSpec(recording.dimensions),
            action_hz=recording.action_hz,
            horizon=HORIZON,
            model_action_dim=len(recording.dimensions),
            history_steps=0,
            rtc_modes=(RtcMode.GUIDED.value,),
            warm_inference_ns=INFERENCE_NS,
            policy_hash=digest.hexdigest()[:16],
        )

    def __repr__(self) -> str:
        return f"<RecordedPolicy {len(self._recording.actions)} steps at {self._recording.action_hz:g} Hz>"

    def warm_up(self) -> None:
        """Does nothing: there is nothing to load, compile or measure."""

    def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        """Returns the path from each observation's step on."""
        return [self._answer(item) for item in batch]

    def _answer(self, item: PolicyInput) -> PolicyOutput:
        step, window, path = item.observation.step, guided_window(item, HORIZON), self._recording.actions
        line = self._line
        if line is None or window is None:
            due = min(line.due(step) if line else 0, len(path) - 1)
            actions = slow_line(self._recording, item.observation.state, path[due])
            line = self._line = _Line(step, actions, due)
        if line.due(step) >= len(path):
            self._on_end()
        rest = path[line.due(max(step, line.after)) :]
        ahead = np.concatenate([line.actions[step - line.first :], rest, path[-1:]])
        chunk = ahead[np.minimum(np.arange(HORIZON), len(ahead) - 1)]
        return PolicyOutput(chunk, None, window.delay if window else 0)
