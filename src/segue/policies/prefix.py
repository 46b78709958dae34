"""How strongly each step of a new chunk is tied to the plan that is still being executed.

The first `delay` steps are begun before the chunk can arrive, so the chunk has
to agree with them (weight 1). From there to `end` the tie loosens, because the
later a step, the more the newer observation should decide. After `end` there is
nothing to agree with (weight 0). Everything is counted in steps of the policy.

This file is NumPy only, so that policies without torch can use it. It decides
weights; it does not know what is done with them (`rtc.py` guides a flow with
them, `scripted.py` blends).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segue.core.types import FloatArray, RtcMode, Schedule, Strategy
from segue.errors import PolicyError
from segue.policies.base import PolicyInput


@dataclass(frozen=True, slots=True)
class Window:
    """The steps of a chunk that are tied to a leftover.

    Attributes:
        delay: hard prefix d; steps 0 … d − 1 must agree.
        end: first step that is free; 0 <= delay <= end.
    """

    delay: int
    end: int


def guidance_window(
    delay_steps: int, leftover_steps: int, chunk_length: int, prefix_end: int | None = None
) -> Window:
    """Returns the window for a leftover, shortened to what really is left.

    Args:
        delay_steps: forecast d of the inference delay, steps.
        leftover_steps: len(Y), planned actions that remain.
        chunk_length: H, actions of a chunk that the robot uses.
        prefix_end: wished end of the window; None or 0 means `chunk_length`.

    Source: arXiv:2506.07339, equation 5; with a short leftover the window itself shrinks.
    """
    end = max(0, min(prefix_end or chunk_length, leftover_steps))
    return Window(delay=max(0, min(delay_steps, end)), end=end)


def guided_window(item: PolicyInput, horizon: int) -> Window | None:
    """Returns the steps that `item` ties to its leftover; None when its chunk is to be sampled freely.

    Args:
        item: one robot's question.
        horizon: H_policy, steps that the policy samples.

    Raises:
        PolicyError: the trained mode is asked for, or the guidance weight is not a finite number >= 0.
    """
    guidance, leftover = item.guidance, item.leftover
    if guidance.strategy is not Strategy.RTC:
        return None
    if guidance.mode is not RtcMode.GUIDED:
        raise PolicyError(
            f"guidance.mode: {guidance.mode.value!r} needs a policy trained on prefixes, "
            f"which this one is not; allowed is {RtcMode.GUIDED.value!r}"
        )
    if not (math.isfinite(guidance.max_weight) and guidance.max_weight >= 0):
        raise PolicyError(f"guidance.max_weight: {guidance.max_weight} is not a finite number >= 0")
    if leftover is None or len(leftover) == 0:
        return None
    left, length = min(len(leftover), horizon), min(item.chunk_length, horizon)
    return guidance_window(item.delay_steps, left, length, guidance.prefix_end)


def prefix_weights(window: Window, horizon: int, schedule: Schedule) -> FloatArray:
    """Returns W, one weight in [0, 1] per step of a chunk, shape (horizon,).

    Args:
        window: hard prefix and end, in steps.
        horizon: H_policy, steps that the policy samples.
        schedule: how the weight falls from `window.delay` to `window.end`.

    Source: arXiv:2506.07339, equation 5 (``exp``); the others replace its soft part.
    """
    step = np.arange(horizon)
    hard, free = step < window.delay, step >= window.end
    # c counts down from just below 1 at the first soft step to just above 0 at the last.
    c = (window.end - step) / (window.end - window.delay + 1)
    match schedule:
        case Schedule.EXP:
            soft = c * np.expm1(c) / np.expm1(1.0)
        case Schedule.LINEAR:
            soft = c
        case Schedule.ONES:
            soft = np.ones(horizon)
        case Schedule.ZEROS:
            soft = np.zeros(horizon)
    return np.where(hard, 1.0, np.where(free, 0.0, soft))
