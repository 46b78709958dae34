"""How a new chunk joins the plan: replace it, or blend where the two overlap.

A plan is a run of actions from the next step on, each with the policy's own
output behind it, the stamp of the observation behind it, and how many chunks
went into it. Merging is a function from two plans that begin at the same step
to one. A row that was blended is nobody's output any more, so its model
actions are gone; discrete dimensions are never blended: the latest wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from segue.core.types import FloatArray

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# (old rows (n, A), new rows (n, A), chunks already in each old row (n,)) -> rows (n, A)
Blend = Callable[[FloatArray, FloatArray, IntArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions for consecutive steps.

    Attributes:
        robot_actions: shape (L, A), robot units.
        model_actions: shape (L, A_model), model units; meaningless where not `intact`.
        intact: shape (L,), whether the row is one policy output, neither blended nor clipped.
        captured_ns: shape (L,), stamp of the oldest observation behind the row.
        covered: shape (L,), number of chunks in the row.
    """

    robot_actions: FloatArray
    model_actions: FloatArray
    intact: BoolArray
    captured_ns: IntArray
    covered: IntArray

    def __len__(self) -> int:
        return len(self.robot_actions)

    def __getitem__(self, rows: slice) -> Plan:
        return Plan(
            self.robot_actions[rows],
            self.model_actions[rows],
            self.intact[rows],
            self.captured_ns[rows],
            self.covered[rows],
        )

    @classmethod
    def empty(cls, width: int) -> Plan:
        """Returns a plan without actions, `width` = A."""
        none = np.zeros(0, dtype=np.int64)
        return cls(np.zeros((0, width)), np.zeros((0, 0)), np.zeros(0, dtype=np.bool_), none, none)

    @classmethod
    def of_chunk(
        cls,
        robot_actions: FloatArray,
        model_actions: FloatArray | None,
        captured_ns: int,
        low: FloatArray,
        high: FloatArray,
    ) -> Plan:
        """Makes a plan of one chunk, with the position limits applied (TIMELINE rule 9)."""
        length = len(robot_actions)
        clipped = np.clip(robot_actions, low, high)
        if model_actions is None:
            model_actions, intact = np.zeros((length, 0)), np.zeros(length, dtype=np.bool_)
        else:
            model_actions, intact = model_actions[:length], (clipped == robot_actions).all(axis=1)
        stamps = np.full(length, captured_ns, dtype=np.int64)
        return cls(clipped, model_actions, intact, stamps, np.ones(length, dtype=np.int64))


def _weighted(old_weight: float) -> Blend:
    def blend(old: FloatArray, new: FloatArray, covered: IntArray) -> FloatArray:
        return old_weight * old + (1.0 - old_weight) * new

    return blend


def temporal_ensemble(old: FloatArray, new: FloatArray, covered: IntArray, decay: float = 0.01) -> FloatArray:
    """Averages all chunks that cover a step with weights exp(-decay * i), i = 0 the oldest.

    Source: ACT, arXiv:2304.13705, section IV-B; computed incrementally, since the
    old row is already the weighted mean of the `covered` chunks before.
    """
    weight_so_far = -np.expm1(-decay * covered) / -np.expm1(-decay)  # geometric sum of covered terms
    weight_new = np.exp(-decay * covered)
    share = (weight_new / (weight_so_far + weight_new))[:, None]
    blended: FloatArray = old + share * (new - old)
    return blended


# LeRobot's names and numbers; None replaces, which keeps the rows whole.
AGGREGATIONS: Mapping[str, Blend | None] = MappingProxyType(
    {
        "weighted_average": _weighted(0.3),
        "latest_only": None,
        "average": _weighted(0.5),
        "conservative": _weighted(0.7),
        "temporal_ensemble": temporal_ensemble,
    }
)


def merge(old: Plan, new: Plan, blend: Blend | None, discrete: BoolArray) -> Plan:
    """Returns the plan that holds `new` where it reaches, and `old` beyond its end.

    Args:
        old: the plan so far; both plans begin at the same step.
        new: the chunk, already without the steps that have begun.
        blend: what to do where both plan a step; None takes the new one.
        discrete: shape (A,), dimensions that are never blended.
    """
    both = min(len(old), len(new))
    fresh = new if blend is None or both == 0 else _blended(old[:both], new, blend, discrete)
    if len(old) <= len(fresh):
        return fresh
    return _joined(fresh, old[len(fresh) :])


def _blended(old: Plan, new: Plan, blend: Blend, discrete: BoolArray) -> Plan:
    both = len(old)
    mixed = blend(old.robot_actions, new.robot_actions[:both], old.covered)
    robot = new.robot_actions.copy()
    robot[:both] = np.where(discrete, new.robot_actions[:both], mixed)
    intact = new.intact.copy()
    intact[:both] = False
    captured = new.captured_ns.copy()
    # An action is as old as the oldest observation that shaped it.
    captured[:both] = np.minimum(old.captured_ns, new.captured_ns[:both])
    covered = new.covered.copy()
    covered[:both] = old.covered + 1
    return Plan(robot, new.model_actions, intact, captured, covered)


def _joined(head: Plan, tail: Plan) -> Plan:
    model, intact = tail.model_actions, tail.intact
    if model.shape[1] != head.model_actions.shape[1]:
        model = np.zeros((len(tail), head.model_actions.shape[1]))
        intact = np.zeros(len(tail), dtype=np.bool_)
    return Plan(
        np.concatenate([head.robot_actions, tail.robot_actions]),
        np.concatenate([head.model_actions, model]),
        np.concatenate([head.intact, intact]),
        np.concatenate([head.captured_ns, tail.captured_ns]),
        np.concatenate([head.covered, tail.covered]),
    )
