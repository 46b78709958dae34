"""The world: physics of arm, belt and cubes, and what a policy is told of it.

The *tracked* cube is the one to take: the foremost that still can be. A policy
sees it and the *next* one behind it, because a chunk reaches beyond the moment
at which the tracked cube is lifted. Which cubes these are follows from the
present positions alone, and so does all of `environment`, hence a policy
without memory sees what it needs. Where there is no cube it sees the spot above
which to wait, marked as empty.

Time here is a count of physics steps of 2 ms. Belt and score are looked at on a
10 ms grid of that count, so the world does not depend on how its steps are
grouped into calls. Clocks, threads and units of time are somebody else's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from segue.core.types import FloatArray
from segue.errors import RobotFault
from segue.robots import so101_model
from segue.robots.belt_cubes import CHECK_S, CUBE_REST_Z_M, BeltConfig, Cube, Cubes
from segue.robots.belt_model import BELT_CENTER_X_M, SLAT_PITCH_M, TIMESTEP_S, VISIBLE_Y_M, scene_mjcf
from segue.robots.engine import mujoco

ENVIRONMENT_NAMES = (
    "cube_x_m",
    "cube_y_m",
    "cube_z_m",
    "cube_vx_m_s",
    "cube_vy_m_s",
    "cube_vz_m_s",
    "cube_cos_4yaw",
    "cube_sin_4yaw",
    "cube_present",
    "next_x_m",
    "next_y_m",
    "next_vy_m_s",
    "next_cos_4yaw",
    "next_sin_4yaw",
    "next_present",
)
# Told in place of a cube when there is none: above it the arm waits for the next.
WAITING_SPOT: FloatArray = np.array([BELT_CENTER_X_M, -0.13, CUBE_REST_Z_M])
WAITING_SPOT.setflags(write=False)

_STEPS_PER_CHECK = round(CHECK_S / TIMESTEP_S)
_JOINTS = len(so101_model.JOINTS)  # they come first in qpos
_LAST_START_Y_M = 0.09  # beyond it the arm could not close on the cube and lift it in time
_LAST_HELD_Y_M = 0.15  # a cube already between the jaws stays tracked up to here
_IN_JAWS_M = 0.04


class BeltWorld:
    """One arm beside one belt."""

    def __init__(self, config: BeltConfig, seed: int) -> None:
        self.config = config
        self.model: Any = mujoco.MjModel.from_xml_string(scene_mjcf(config.pool()))
        self.data: Any = mujoco.MjData(self.model)
        self.cubes = Cubes(config, seed, self.model, self.data)
        self.steps = 0
        self._swing_phase = np.random.default_rng([seed, 1]).uniform(0.0, 2.0 * math.pi)
        self._pinch: FloatArray = self.data.site("pinch").xpos
        self._surface: FloatArray = self.model.geom_surfacevel[self.model.geom("belt").id]
        rest = so101_model.to_radians(so101_model.REST_POSE)
        self.data.qpos[:_JOINTS] = rest
        self.data.ctrl[:] = rest
        mujoco.mj_forward(self.model, self.data)

    def __repr__(self) -> str:
        score = self.cubes.score
        return f"<BeltWorld step={self.steps} offered={score.offered} lifted={score.lifted}>"

    def advance(self, steps: int) -> None:
        """Runs `steps` steps of physics."""
        end = self.steps + steps
        while self.steps < end:
            into_check = self.steps % _STEPS_PER_CHECK
            if into_check == 0:
                self._run_belt()
                self.cubes.check(self.steps * TIMESTEP_S)
            block = min(end - self.steps, _STEPS_PER_CHECK - into_check)
            mujoco.mj_step(self.model, self.data, nstep=block)
            self.steps += block

    def joints(self) -> FloatArray:
        """Returns the measured joints in robot units, shape (6,)."""
        return so101_model.to_units(self.data.qpos[:_JOINTS])

    def command(self, units: FloatArray) -> None:
        """Sets the servos' targets, robot units, shape (6,)."""
        self.data.ctrl[:] = so101_model.to_radians(units)

    def in_sight(self) -> list[Cube]:
        """Returns the cubes in sight that can still be taken, the foremost first."""
        return [cube for cube in self.cubes.active if VISIBLE_Y_M <= cube.pose[1] < self._last_y(cube)]

    def tracked(self) -> Cube | None:
        """Returns the foremost cube in sight that can still be taken, or None."""
        return next(iter(self.in_sight()), None)

    def environment(self) -> FloatArray:
        """Returns the tracked cube and the next as `ENVIRONMENT_NAMES` lists them, shape (15,)."""
        tracked, following = [*self.in_sight(), None, None][:2]
        return np.concatenate([_tracked_numbers(tracked), _next_numbers(following)])

    def _last_y(self, cube: Cube) -> float:
        held = np.abs(cube.pose[:3] - self._pinch).max() < _IN_JAWS_M
        return _LAST_HELD_Y_M if held else _LAST_START_Y_M

    def picture(self) -> FloatArray:
        """Returns what a renderer needs to know: how far the slats have moved, metres, then qpos."""
        return np.concatenate([self.data.mocap_pos[0, 1:2], self.data.qpos])

    def _run_belt(self) -> None:
        time_s = self.steps * TIMESTEP_S
        swing = math.sin(self._swing_phase + 2.0 * math.pi * time_s / self.config.swing_period_s)
        speed = self.config.speed_m_s * (1.0 + self.config.speed_swing * swing)
        self._surface[1] = speed
        # The surface moves, the box does not: slats that wander by one pitch and jump back show it.
        self.data.mocap_pos[0, 1] = (self.data.mocap_pos[0, 1] + speed * CHECK_S) % SLAT_PITCH_M


def show_picture(data: Any, numbers: FloatArray) -> None:
    """Puts what `BeltWorld.picture` returned into the MjData of a renderer.

    Raises:
        RobotFault: the numbers are of another scene, one with more or fewer cubes.
    """
    if len(numbers) != 1 + len(data.qpos):
        raise RobotFault(f"the scene has {len(numbers)} numbers, this belt {1 + len(data.qpos)}")
    data.mocap_pos[0, 1] = numbers[0]
    data.qpos[:] = numbers[1:]


def _tracked_numbers(cube: Cube | None) -> FloatArray:
    if cube is None:
        return np.concatenate([WAITING_SPOT, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]])
    return np.concatenate([cube.pose[:3], cube.motion, _turned(cube), [1.0]])


def _next_numbers(cube: Cube | None) -> FloatArray:
    if cube is None:
        return np.concatenate([WAITING_SPOT[:2], [0.0, 1.0, 0.0, 0.0]])
    return np.concatenate([cube.pose[:2], cube.motion[1:2], _turned(cube), [1.0]])


def _turned(cube: Cube) -> list[float]:
    four_yaw = 4.0 * _yaw(cube.pose[3:])
    return [math.cos(four_yaw), math.sin(four_yaw)]


def _yaw(quaternion: FloatArray) -> float:
    """Returns the direction of a cube's flattest edge seen from above, radians, modulo quarter turns."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quaternion)
    axes = matrix.reshape(3, 3)
    flattest = int(np.argmin(np.abs(axes[2])))
    return math.atan2(axes[1, flattest], axes[0, flattest])
