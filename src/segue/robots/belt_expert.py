"""The teacher: takes cubes off the belt, thirty decisions a second.

It sees what a policy sees, joints and tracked cube in robot units, and answers
with the next joint targets. Four phases follow each other for every cube:

    APPROACH   over the cube, jaws open, turned like it; waits at the edge of reach
    DESCEND    down onto it while it moves
    CLOSE      jaws shut, hand moving with the belt, until they stall
    LIFT       straight up, until the world takes the cube away

A cube lost in any phase leads back to APPROACH. Each target starts from the
*measured* hand, never from the last target, and the phases can be told from
joints and cube: so a policy without memory can learn from it, and a disturbance
is simply a new starting point. Lifting well needs three habits: follow the belt
while closing, wait until the jaws stall, and hover only five centimetres up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from segue.core.types import FloatArray
from segue.robots import so101_model
from segue.robots.belt_cubes import CUBE_REST_Z_M
from segue.robots.so101_kinematics import ArmKinematics
from segue.robots.so101_model import BODY_JOINTS

ACTION_HZ = 30.0

GRASP_Z_M = CUBE_REST_Z_M + 0.001
HOVER_M = 0.050
_LIFT_M = 0.055
_FIRST_Y_M = -0.14  # the arm waits here for cubes that are not in reach yet
_LAST_Y_M = 0.16
_LEAD_S = 0.035  # a target set now is reached about this much later
_STEP_M = 0.0085  # per decision, 0.26 m/s
_EASE = 0.45  # of the remaining way per decision, so that moves end softly

_OPEN = 36.0
_CLOSED = 3.0
_EMPTY = 10.0  # jaws on a cube stop near 14 percent; shut further there is none between them
_STALLED = 0.6  # percent per decision
_ABOVE_M = 0.010
_ON_CUBE_M = 0.006
_LOST_M = 0.025


class Phase(StrEnum):
    """What the teacher is doing."""

    APPROACH = "approach"
    DESCEND = "descend"
    CLOSE = "close"
    LIFT = "lift"


@dataclass(frozen=True, slots=True)
class _View:
    """One observation, taken apart. Positions in metres; `off` is hand minus cube, horizontally."""

    state: FloatArray
    hand: FloatArray
    cube: FloatArray
    velocity: FloatArray
    yaw: float
    present: bool

    @property
    def off(self) -> float:
        return float(np.hypot(*(self.hand - self.cube)[:2]))

    @property
    def height(self) -> float:
        """How far the hand is above where it grasps."""
        return float(self.hand[2] - GRASP_Z_M)


class BeltExpert:
    """The scripted teacher; deterministic, owned by one thread."""

    def __init__(self) -> None:
        self.phase = Phase.APPROACH
        self._arm = ArmKinematics()
        self._last_grip = so101_model.REST_POSE[BODY_JOINTS]
        self._belt_velocity = np.zeros(3)

    def __repr__(self) -> str:
        return f"<BeltExpert {self.phase.value}>"

    def act(self, state: FloatArray, environment: FloatArray) -> FloatArray:
        """Returns the target to be reached by the end of this decision's step, robot units, shape (6,).

        Args:
            state: measured joints, robot units, shape (6,).
            environment: the tracked cube, shape (15,), see `belt.ENVIRONMENT_NAMES`.
        """
        view = self._look(state, environment)
        self.phase = self._next_phase(view)
        grip = float(state[BODY_JOINTS])
        self._last_grip = grip
        hand, jaws = _MOVES[self.phase](self, view)
        body = self._arm.reach(hand, view.yaw, state)
        reach = so101_model.BODY_SPEED_DEG_S / ACTION_HZ
        body = np.clip(body, state[:BODY_JOINTS] - reach, state[:BODY_JOINTS] + reach)
        step = so101_model.GRIPPER_SPEED_PERCENT_S / ACTION_HZ
        return np.append(body, np.clip(jaws, max(0.0, grip - step), grip + step))

    def _look(self, state: FloatArray, environment: FloatArray) -> _View:
        hand, _ = self._arm.pinch(state)
        yaw = float(np.arctan2(environment[7], environment[6])) / 4.0
        return _View(state, hand, environment[:3], environment[3:6], yaw, environment[8] > 0.5)

    def _next_phase(self, view: _View) -> Phase:
        if not view.present:
            return Phase.APPROACH
        return _TRANSITIONS[self.phase](self, view)

    def _from_approach(self, view: _View) -> Phase:
        in_reach = _FIRST_Y_M - 0.01 < view.cube[1] < _LAST_Y_M
        above = view.off < _ABOVE_M and abs(view.height - HOVER_M) < 0.015
        return Phase.DESCEND if in_reach and above else Phase.APPROACH

    def _from_descend(self, view: _View) -> Phase:
        if view.off > _LOST_M:
            return Phase.APPROACH
        if view.off < _ON_CUBE_M and view.height < _ON_CUBE_M:
            self._belt_velocity = np.array([0.0, view.velocity[1], 0.0])
            return Phase.CLOSE
        return Phase.DESCEND

    def _from_close(self, view: _View) -> Phase:
        grip = view.state[BODY_JOINTS]
        if view.off > _LOST_M or grip < _EMPTY:
            return Phase.APPROACH
        closing = self._last_grip - grip
        return Phase.LIFT if grip < _OPEN / 2 and closing < _STALLED else Phase.CLOSE

    def _from_lift(self, view: _View) -> Phase:
        return Phase.APPROACH if np.abs(view.hand - view.cube).max() > _LOST_M else Phase.LIFT

    def _approach(self, view: _View) -> tuple[FloatArray, float]:
        ahead = view.cube + view.velocity * _LEAD_S
        goal = np.array([ahead[0], np.clip(ahead[1], _FIRST_Y_M, _LAST_Y_M), GRASP_Z_M + HOVER_M])
        if view.height < HOVER_M - 0.015 and view.off > 0.02:
            goal[:2] = view.hand[:2]  # first up, or the jaws sweep cubes off the belt
        drift = view.velocity if _FIRST_Y_M < ahead[1] < _LAST_Y_M else np.zeros(3)
        return _towards(view.hand, goal, drift), _OPEN

    def _descend(self, view: _View) -> tuple[FloatArray, float]:
        ahead = view.cube + view.velocity * _LEAD_S
        goal = np.array([ahead[0], ahead[1], GRASP_Z_M])
        return _towards(view.hand, goal, view.velocity), _OPEN

    def _close(self, view: _View) -> tuple[FloatArray, float]:
        hand = view.hand + self._belt_velocity * _LEAD_S
        hand[2] = GRASP_Z_M
        return hand, _CLOSED

    def _lift(self, view: _View) -> tuple[FloatArray, float]:
        goal = np.array([*view.hand[:2], GRASP_Z_M + _LIFT_M])
        hand = _towards(view.hand, goal, np.zeros(3))
        if view.height < 0.02:  # while it may still touch the belt it moves with it
            hand += self._belt_velocity * _LEAD_S
        return hand, _CLOSED


_TRANSITIONS = {
    Phase.APPROACH: BeltExpert._from_approach,
    Phase.DESCEND: BeltExpert._from_descend,
    Phase.CLOSE: BeltExpert._from_close,
    Phase.LIFT: BeltExpert._from_lift,
}
_MOVES = {
    Phase.APPROACH: BeltExpert._approach,
    Phase.DESCEND: BeltExpert._descend,
    Phase.CLOSE: BeltExpert._close,
    Phase.LIFT: BeltExpert._lift,
}


def _towards(hand: FloatArray, goal: FloatArray, drift: FloatArray) -> FloatArray:
    """Returns the next point on the way from `hand` to `goal`, which itself moves with `drift`."""
    # What the goal moves during one decision is not part of the way that is eased.
    carried = hand + drift / ACTION_HZ
    step = _EASE * (goal - carried)
    length = float(np.linalg.norm(step))
    return carried + step * min(1.0, _STEP_M / max(length, 1e-9))
