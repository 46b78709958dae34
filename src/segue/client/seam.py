"""How rough the joints between chunks are: the jerk of the plan around each merge.

For consecutive begun targets u[k-1], u[k], u[k+1] the second difference
u[k+1] - 2 u[k] + u[k-1] is what a servo feels as a kick. It is taken for the
steps within two of a merge (the step at which a new chunk first rules), as a
Euclidean norm over the dimensions in the robot's units. A hold ends a run of
steps: what lies on its two sides is not a seam but a new start.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from segue.client.samples import Samples
from segue.core.queue import PlannedAction

NEAR_STEPS = 2


@dataclass(frozen=True, slots=True)
class _Bend:
    step: int
    norm: float


class SeamJerk:
    """Collects the bends that lie near a merge."""

    def __init__(self) -> None:
        self._samples = Samples()
        self._targets: deque[PlannedAction] = deque(maxlen=3)
        # A bend waits until the merges up to two steps after it are known.
        self._waiting: deque[_Bend] = deque()
        self._merges: deque[int] = deque(maxlen=2 * NEAR_STEPS + 2)

    def __repr__(self) -> str:
        return f"<SeamJerk bends={self._samples.seen}>"

    def merged(self, step: int) -> None:
        """Notes that a chunk rules from `step` on; call it before that step begins."""
        self._merges.append(step)

    def began(self, action: PlannedAction) -> None:
        """Notes the next begun action."""
        self._targets.append(action)
        if len(self._targets) == 3:
            before, middle, after = (a.target for a in self._targets)
            bend = float(np.linalg.norm(after - 2.0 * middle + before))
            self._waiting.append(_Bend(self._targets[1].step, bend))
        self._settle(known_until=action.step)

    def interrupted(self) -> None:
        """Notes a hold: the next action continues nothing."""
        self._settle(known_until=None)
        self._targets.clear()

    def p95(self) -> float | None:
        """Returns the 95th percentile of the bends near a merge; None without any."""
        self._settle(known_until=None)
        return self._samples.percentile(95)

    def _settle(self, known_until: int | None) -> None:
        while self._waiting and (known_until is None or self._waiting[0].step + NEAR_STEPS <= known_until):
            bend = self._waiting.popleft()
            if any(abs(bend.step - merge) <= NEAR_STEPS for merge in self._merges):
                self._samples.add(bend.norm)
