"""The cubes: when they come, how they are used again, and which count as lifted or missed.

When each cube comes, how far across the belt and how it is turned follows from
the seed alone, so two runs with one seed meet the same cubes however the arm
behaves. A cube held clear of the belt for a quarter of a second is *lifted* and
taken away; one that reaches the belt's end, falls off it or overstays is
*missed*. A cube off duty is parked and used again, so a run may last for hours.
This file moves cubes by hand only to release and to park them; everything in
between is physics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segue.core.types import FloatArray
from segue.robots.belt_model import BELT_TOP_M, CUBE_HALF_M, END_Y_M, PARKING, SPAWN_Y_M

CHECK_S = 0.010  # how often `Cubes.check` is called, world time
CUBE_REST_Z_M = BELT_TOP_M + CUBE_HALF_M

_LIFTED_M = 0.035
_LIFTED_CHECKS = 25
_MOTION_GAIN = 0.3  # per check


@dataclass(frozen=True, slots=True)
class BeltConfig:
    """What the belt brings.

    Attributes:
        speed_m_s: mean speed of the belt.
        speed_swing: relative amplitude of a slow change of speed, 0..0.9.
        swing_period_s: period of that change; its phase follows from the seed.
        interval_s: mean time between two cubes.
        interval_jitter: relative, uniform; 0.2 means 0.8 to 1.2 times the interval.
        first_cube_s: when the first cube is released.
        lateral_m: range of the cubes' x, uniform.
        max_yaw_deg: cubes are turned by up to this much either way, uniform.
        max_cubes: how many come; None for no end.
    """

    speed_m_s: float = 0.10
    speed_swing: float = 0.0
    swing_period_s: float = 7.0
    interval_s: float = 1.3
    interval_jitter: float = 0.15
    first_cube_s: float = 0.3
    lateral_m: tuple[float, float] = (0.165, 0.215)
    max_yaw_deg: float = 45.0
    max_cubes: int | None = None

    def pool(self) -> int:
        """Returns how many cubes can be under way at once: those on the belt, one held, one spare."""
        slowest = self.speed_m_s * (1.0 - self.speed_swing)
        tightest = self.interval_s * (1.0 - self.interval_jitter)
        return math.ceil((END_Y_M - SPAWN_Y_M) / (slowest * tightest)) + 2


@dataclass(frozen=True, slots=True)
class Arrival:
    """One cube to come: when (seconds of world time), where across the belt, how turned."""

    time_s: float
    x_m: float
    yaw_rad: float


def arrivals(config: BeltConfig, seed: int) -> Iterator[Arrival]:
    """Yields the cubes of a seed in order, `config.max_cubes` of them or without end."""
    rng = np.random.default_rng(seed)
    time_s, count = config.first_cube_s, 0
    while config.max_cubes is None or count < config.max_cubes:
        yaw = math.radians(config.max_yaw_deg) * rng.uniform(-1, 1)
        yield Arrival(time_s, rng.uniform(*config.lateral_m), yaw)
        time_s += config.interval_s * (1.0 + config.interval_jitter * rng.uniform(-1, 1))
        count += 1


@dataclass(slots=True, eq=False)
class Cube:
    """One cube of the pool.

    Attributes:
        pose: view of its position (3) and quaternion (4) in qpos.
        velocity: view of its linear (3) and angular (3) velocity in qvel.
        motion: its linear velocity, smoothed over some 30 ms: contacts make the raw one jump.
        parked_at: its pose off duty.
        deadline_s: world time at which it counts as jammed.
        lifted_checks: for how many checks it has been clear of the belt.
    """

    pose: FloatArray
    velocity: FloatArray
    parked_at: FloatArray
    motion: FloatArray = field(default_factory=lambda: np.zeros(3))
    deadline_s: float = 0.0
    lifted_checks: int = 0


@dataclass(slots=True)
class Score:
    """How many cubes were released, lifted and missed; the rest are on the belt."""

    offered: int = 0
    lifted: int = 0
    missed: int = 0


class Cubes:
    """The pool, the schedule and the score of one belt."""

    def __init__(self, config: BeltConfig, seed: int, model: Any, data: Any) -> None:
        """Takes the cubes of a MuJoCo model that has at least `config.pool()` of them."""
        self.score = Score()
        self.active: list[Cube] = []  # in order of release, so the foremost is first
        self._parked = [_cube(model, data, i) for i in range(config.pool())]
        # Twice the time of the way at mean speed: a cube that still lies there is jammed.
        self._patience_s = 2.0 * (END_Y_M - SPAWN_Y_M) / config.speed_m_s
        self._arrivals = arrivals(config, seed)
        self._next = next(self._arrivals, None)

    @property
    def exhausted(self) -> bool:
        """Whether the last cube has come and gone."""
        return self._next is None and not self.active

    def check(self, time_s: float) -> None:
        """Counts, takes away and releases cubes; called every `CHECK_S` of world time."""
        for cube in list(self.active):
            cube.motion += _MOTION_GAIN * (cube.velocity[:3] - cube.motion)
            self._judge(cube, time_s)
        while self._next is not None and self._next.time_s <= time_s and self._parked:
            self._release(self._next, time_s)
            self._next = next(self._arrivals, None)
        for cube in self._parked:  # they fall freely, half a millimetre from check to check
            cube.pose[:] = cube.parked_at
            cube.velocity[:] = 0.0

    def _judge(self, cube: Cube, time_s: float) -> None:
        _, y, z = cube.pose[:3]
        cube.lifted_checks = cube.lifted_checks + 1 if z > CUBE_REST_Z_M + _LIFTED_M else 0
        if cube.lifted_checks >= _LIFTED_CHECKS:
            self.score.lifted += 1
        elif y > END_Y_M or z < BELT_TOP_M or time_s > cube.deadline_s:
            self.score.missed += 1
        else:
            return
        self.active.remove(cube)
        self._parked.append(cube)

    def _release(self, arrival: Arrival, time_s: float) -> None:
        cube = self._parked.pop(0)
        half = arrival.yaw_rad / 2
        cube.pose[:3] = arrival.x_m, SPAWN_Y_M, CUBE_REST_Z_M + 0.0005
        cube.pose[3:] = math.cos(half), 0.0, 0.0, math.sin(half)
        cube.velocity[:] = 0.0
        cube.motion[:] = 0.0
        cube.deadline_s = time_s + self._patience_s
        cube.lifted_checks = 0
        self.active.append(cube)
        self.score.offered += 1


def _cube(model: Any, data: Any, index: int) -> Cube:
    joint = model.joint(f"cube_{index}")
    q, v = int(joint.qposadr[0]), int(joint.dofadr[0])
    x, y, z = PARKING
    parked_at = np.array([x, y + 0.1 * index, z, 1.0, 0.0, 0.0, 0.0])
    return Cube(data.qpos[q : q + 7], data.qvel[v : v + 6], parked_at)
