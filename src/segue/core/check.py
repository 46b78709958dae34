"""Whether a chunk may move the robot at all, before anything is merged.

The server has checked already; this side checks again, because it is this side
that has the arm. A chunk is judged as a whole: one number that is not finite or
far outside the joint's range says that the rest is not to be trusted either.
"""

from __future__ import annotations

import numpy as np

from segue.core.limits import finite
from segue.core.schedule import DropReason, Outstanding
from segue.core.specs import ActionSpec
from segue.core.types import ActionChunk

# No joint is ever told a number like this, in whatever unit; on the way to one, sums overflow.
ANYTHING_MEANT = 1e12


def fault_of(
    chunk: ActionChunk, asked: Outstanding, spec: ActionSpec, policy_horizon: int
) -> DropReason | None:
    """Returns why `chunk` must not be merged, or None.

    Values up to one range beyond a limit are accepted and clipped: policies overshoot a
    little. What lies further out is nonsense. A limit on one side alone has no range to
    measure by, so there everything is clipped that some unit could mean.
    """
    actions = chunk.robot_actions
    if actions.ndim != 2 or actions.shape[1] != len(spec) or not 1 <= len(actions) <= policy_horizon:
        return DropReason.BAD_SHAPE
    model = chunk.model_actions
    if model is not None and (model.ndim != 2 or not len(actions) <= len(model) <= policy_horizon):
        return DropReason.BAD_SHAPE
    if chunk.start_step != asked.start_step:
        return DropReason.NOT_ASKED
    if not finite(actions) or (model is not None and not finite(model)):
        return DropReason.NOT_FINITE
    low, high = spec.array("low"), spec.array("high")
    margin = np.where(np.isfinite(high - low), high - low, np.inf)
    lowest = np.maximum(low - margin, -ANYTHING_MEANT)
    highest = np.minimum(high + margin, ANYTHING_MEANT)
    if ((actions < lowest) | (actions > highest)).any():
        return DropReason.OUT_OF_RANGE
    # Last of all: nonsense speaks against the policy, whatever stamp it bears.
    return None if chunk.captured_ns == asked.captured_ns else DropReason.NOT_ASKED


# Reasons that speak against the policy itself; three in a row latch a fault.
BAD_CHUNK = frozenset({DropReason.BAD_SHAPE, DropReason.NOT_FINITE, DropReason.OUT_OF_RANGE})
