"""Where the fingers are, and which joint angles bring them where they are wanted.

Forward kinematics come from the arm's own model. Backwards goes by damped
least squares (Gauss-Newton with a little resistance against wild steps near
singular poses), started at the present angles: from step to step the arm moves
a few millimetres, so two or three rounds are enough. Asked for are a position
of the point between the open jaws, fingers pointing straight down, and a yaw
that is free up to quarter turns because a cube looks the same from four sides.
This file plans no motion and knows no time.
"""

from __future__ import annotations

import math

import numpy as np

from segue.core.types import FloatArray
from segue.robots import so101_model
from segue.robots.engine import mujoco
from segue.robots.so101_model import BODY_JOINTS

QUARTER_TURN = math.pi / 2
_METRES_PER_RADIAN = 0.03  # how much an error of direction counts beside one of position
_DAMPING = 1e-5
_TOLERANCE = 1e-4
_ROUNDS = 12
_MAX_ROUND_RAD = 0.3
_TURN_BACK = 0.35  # price of a rolled wrist beside that of rolling it

_LOW = np.array([joint.low for joint in so101_model.JOINTS[:BODY_JOINTS]])
_HIGH = np.array([joint.high for joint in so101_model.JOINTS[:BODY_JOINTS]])


def wrap_quarter(angle: float) -> float:
    """Returns `angle`, radians, modulo quarter turns, in [-pi/4, pi/4)."""
    return (angle + QUARTER_TURN / 2) % QUARTER_TURN - QUARTER_TURN / 2


class ArmKinematics:
    """The kinematics of one arm; owned by one thread."""

    def __init__(self) -> None:
        self._model = mujoco.MjModel.from_xml_string(so101_model.arm_mjcf())
        self._data = mujoco.MjData(self._model)
        self._pinch = self._model.site("pinch").id
        self._jacobian = np.zeros((6, self._model.nv))

    def pinch(self, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Returns position (3,), metres, and rotation (3, 3) of the point between the jaws.

        Args:
            state: joints in robot units, shape (6,).
        """
        self._place(so101_model.to_radians(state))
        return self._data.site_xpos[self._pinch].copy(), self._data.site_xmat[self._pinch].reshape(
            3, 3
        ).copy()

    def reach(self, position: FloatArray, yaw: float, state: FloatArray) -> FloatArray:
        """Returns the five body joints, degrees, that bring the jaws to `position`, pointing down.

        Where the place is out of reach the result is the nearest that the rounds found.

        Args:
            position: of the point between the jaws, metres, shape (3,).
            yaw: direction of the cube's edges, radians, modulo quarter turns.
            state: present joints in robot units, shape (6,); the search starts there.

        Source: damped least squares, Wampler 1986 (IEEE Trans. SMC 16-1), eq. 16.
        """
        q = so101_model.to_radians(state)
        self._place(q)
        wanted_yaw = _nearest_yaw(yaw, position, roll=float(q[4]))
        for _ in range(_ROUNDS):
            error = self._error(position, wanted_yaw)
            if np.abs(error).max() < _TOLERANCE:
                break
            q[:BODY_JOINTS] = _limited_step(self._weighted_jacobian(), error, q[:BODY_JOINTS])
            self._place(q)
        return so101_model.to_units(q)[:BODY_JOINTS]

    def _place(self, radians: FloatArray) -> None:
        self._data.qpos[:] = radians
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)

    def _present_yaw(self) -> float:
        matrix = self._data.site_xmat[self._pinch].reshape(3, 3)
        return math.atan2(matrix[1, 2], matrix[0, 2])

    def _error(self, position: FloatArray, yaw: float) -> FloatArray:
        ahead = self._data.site_xmat[self._pinch].reshape(3, 3)[:, 0]
        tilt = np.array([-ahead[1], ahead[0]])  # cross product of `ahead` with straight down
        turn = (yaw - self._present_yaw() + math.pi) % (2 * math.pi) - math.pi
        offset = position - self._data.site_xpos[self._pinch]
        return np.concatenate([offset, _METRES_PER_RADIAN * np.array([tilt[0], tilt[1], turn])])

    def _weighted_jacobian(self) -> FloatArray:
        move, rotate = self._jacobian[:3], self._jacobian[3:]
        mujoco.mj_jacSite(self._model, self._data, move, rotate, self._pinch)
        rows = np.concatenate([move, _METRES_PER_RADIAN * rotate])
        columns: FloatArray = rows[:, :BODY_JOINTS]
        return columns


def _limited_step(jacobian: FloatArray, error: FloatArray, q: FloatArray) -> FloatArray:
    """Returns the joints after one damped step towards a vanishing `error`, within their range."""
    step = _damped_step(jacobian, error)
    stuck = ((q + step < _LOW) & (q <= _LOW)) | ((q + step > _HIGH) & (q >= _HIGH))
    if stuck.any():
        # A joint at its stop cannot help; without it the others find the best that is left.
        step = _damped_step(np.where(stuck, 0.0, jacobian), error)
    result: FloatArray = np.clip(q + np.clip(step, -_MAX_ROUND_RAD, _MAX_ROUND_RAD), _LOW, _HIGH)
    return result


def _damped_step(jacobian: FloatArray, error: FloatArray) -> FloatArray:
    step: FloatArray = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + _DAMPING * np.eye(6), error)
    return step


def _nearest_yaw(yaw: float, position: FloatArray, roll: float) -> float:
    """Returns the quarter turn of `yaw` that costs the least rolling, now and back to the middle."""
    offset = so101_model.JOINTS[0].offset
    # Fingers point down, so the wrist has to undo the pan: roll = yaw + pan.
    pan = -math.atan2(position[1] - offset[1], position[0] - offset[0])
    middle = wrap_quarter(yaw + pan)
    rolls = (middle - QUARTER_TURN, middle, middle + QUARTER_TURN)
    return min(rolls, key=lambda r: abs(r - roll) + _TURN_BACK * abs(r)) - pan
