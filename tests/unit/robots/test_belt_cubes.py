from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from segue.robots.belt import BeltWorld
from segue.robots.belt_cubes import CUBE_REST_Z_M, BeltConfig, arrivals

CHECK_STEPS = 5
ONE = BeltConfig(max_cubes=1, first_cube_s=0.0)


def carry(world: BeltWorld, place: tuple[float, float, float], checks: int) -> None:
    """Holds the foremost cube at `place` for so many checks, as a hand would."""
    for _ in range(checks):
        if world.cubes.active:
            world.cubes.active[0].pose[:3] = place
            world.cubes.active[0].velocity[:] = 0.0
        world.advance(CHECK_STEPS)


def started(config: BeltConfig = ONE) -> BeltWorld:
    world = BeltWorld(config, seed=0)
    world.advance(CHECK_STEPS)
    assert world.cubes.score.offered == 1
    return world


def test_a_seed_fixes_the_cubes() -> None:
    """Times, places and turns are the same for the same seed and others for another."""
    first, again, other = ([*islice(arrivals(BeltConfig(), seed), 50)] for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_cubes_come_as_configured() -> None:
    """Intervals, places and turns stay within their bounds and use most of them."""
    config = BeltConfig(interval_s=2.0, interval_jitter=0.25, lateral_m=(0.17, 0.21), max_yaw_deg=30.0)
    cubes = [*islice(arrivals(config, 1), 400)]
    gaps = np.diff([c.time_s for c in cubes])
    for values, low, high in (
        (gaps, 1.5, 2.5),
        (np.array([c.x_m for c in cubes]), 0.17, 0.21),
        (np.array([c.yaw_rad for c in cubes]), -math.radians(30), math.radians(30)),
    ):
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high


def test_no_more_cubes_than_asked_for() -> None:
    """`max_cubes` ends the schedule."""
    assert len([*arrivals(BeltConfig(max_cubes=3), 0)]) == 3


@pytest.mark.parametrize("seed", range(3))
def test_pool_suffices_when_nobody_lifts(seed: int) -> None:
    """With every cube riding to the end, each is released at its own time."""
    config = BeltConfig(interval_s=1.2, speed_swing=0.4)
    world = BeltWorld(config, seed)
    for _ in range(60):
        world.advance(250)
        due = sum(1 for a in islice(arrivals(config, seed), 60) if a.time_s <= world.steps * 0.002 - 0.01)
        assert world.cubes.score.offered >= due


def test_a_cube_held_clear_counts_once_and_is_taken_away() -> None:
    """A quarter of a second in the air is one lifted cube, and the belt is then empty."""
    world = started()
    carry(world, (0.19, 0.0, CUBE_REST_Z_M + 0.05), 40)
    assert (world.cubes.score.lifted, world.cubes.score.missed) == (1, 0)
    assert world.cubes.exhausted
    assert world.environment()[8] == 0.0


def test_a_short_hop_does_not_count() -> None:
    """A cube that comes down again before a quarter of a second is not lifted."""
    world = started()
    carry(world, (0.19, 0.0, CUBE_REST_Z_M + 0.05), 20)
    carry(world, (0.19, 0.0, CUBE_REST_Z_M), 3)
    carry(world, (0.19, 0.0, CUBE_REST_Z_M + 0.05), 20)
    assert world.cubes.score.lifted == 0


def test_a_cube_barely_raised_does_not_count() -> None:
    """Two centimetres above the belt are not clear of it."""
    world = started()
    carry(world, (0.19, 0.0, CUBE_REST_Z_M + 0.02), 60)
    assert world.cubes.score.lifted == 0


def test_a_cube_left_alone_is_missed_at_the_end() -> None:
    """Nobody takes it: one miss, no success, and the run is over."""
    world = started()
    world.advance(round(0.62 / ONE.speed_m_s / 0.002))
    assert (world.cubes.score.lifted, world.cubes.score.missed) == (0, 1)
    assert world.cubes.exhausted


def test_a_cube_off_the_belt_is_missed() -> None:
    """A cube on the floor beside the belt counts as missed at once."""
    world = started()
    carry(world, (0.35, 0.0, 0.0125), 2)
    assert world.cubes.score.missed == 1


def test_a_jammed_cube_is_missed_in_time() -> None:
    """A cube that is kept on the belt for twice its way is given up."""
    config = replace(ONE, speed_m_s=0.3)
    world = started(config)
    carry(world, (0.19, 0.0, CUBE_REST_Z_M), round(2 * 0.6 / config.speed_m_s / 0.01) + 2)
    assert world.cubes.score.missed == 1


def test_parked_cubes_stay_out_of_sight() -> None:
    """After a minute no cube off duty has left its parking place behind the arm."""
    world = BeltWorld(BeltConfig(max_cubes=2), seed=0)
    world.advance(30_000)
    heights = world.data.qpos[6:].reshape(-1, 7)
    assert (heights[:, 0] < -1.0).all()
    assert (heights[:, 2] > 2.9).all()
