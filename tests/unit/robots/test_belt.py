from __future__ import annotations

import numpy as np
import pytest

from segue.errors import RobotFault
from segue.robots.belt import ENVIRONMENT_NAMES, WAITING_SPOT, BeltWorld, show_picture
from segue.robots.belt_cubes import CUBE_REST_Z_M, BeltConfig

QUIET = BeltConfig(first_cube_s=0.0, interval_s=2.0, interval_jitter=0.0)


def place(world: BeltWorld, index: int, y: float) -> None:
    world.cubes.active[index].pose[:3] = 0.19, y, CUBE_REST_Z_M


def test_grouping_of_steps_does_not_matter() -> None:
    """The same number of steps in odd pieces gives the same world to the last bit."""
    whole, pieces = BeltWorld(QUIET, 5), BeltWorld(QUIET, 5)
    whole.advance(1200)
    for size in (1, 2, 3, 7, 11, 476, 500, 200):
        pieces.advance(size)
    np.testing.assert_array_equal(whole.data.qpos, pieces.data.qpos)
    np.testing.assert_array_equal(whole.environment(), pieces.environment())


def test_belt_carries_cubes_at_its_speed() -> None:
    """A cube on the belt moves along +y at the configured speed and nowhere else."""
    world = BeltWorld(QUIET, 0)
    world.advance(500)
    before = world.cubes.active[0].pose[:3].copy()
    world.advance(500)
    moved = world.cubes.active[0].pose[:3] - before
    np.testing.assert_allclose(moved, [0.0, QUIET.speed_m_s, 0.0], atol=0.001)


def test_swing_changes_speed_but_not_its_mean() -> None:
    """Over a whole period a swinging belt carries a cube as far as a steady one."""
    world = BeltWorld(BeltConfig(speed_m_s=0.08, first_cube_s=0.0, speed_swing=0.5, swing_period_s=4.0), 3)
    world.advance(250)
    start, speeds = world.cubes.active[0].pose[1], []
    for _ in range(200):
        world.advance(10)
        speeds.append(world.cubes.active[0].motion[1])
    assert world.cubes.active[0].pose[1] - start == pytest.approx(0.08 * 4.0, abs=0.005)
    assert min(speeds) == pytest.approx(0.04, abs=0.004)
    assert max(speeds) == pytest.approx(0.12, abs=0.004)


def test_without_a_cube_it_shows_where_to_wait() -> None:
    """Before the first cube is in sight the environment names the waiting spot and says absent."""
    world = BeltWorld(BeltConfig(first_cube_s=5.0), 0)
    world.advance(5)
    environment = world.environment()
    assert environment.shape == (len(ENVIRONMENT_NAMES),)
    np.testing.assert_array_equal(environment[:3], WAITING_SPOT)
    np.testing.assert_array_equal(environment[3:9], [0, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(environment[9:11], WAITING_SPOT[:2])
    np.testing.assert_array_equal(environment[11:], [0, 1, 0, 0])


def test_the_next_cube_is_shown_as_well() -> None:
    """Place, speed, four times the turn and presence of the cube behind the tracked one follow its own."""
    world = BeltWorld(QUIET, 0)
    world.advance(1800)
    first, second = world.cubes.active[:2]
    place(world, 0, 0.0)
    place(world, 1, -0.1)
    shown = dict(zip(ENVIRONMENT_NAMES, world.environment(), strict=True))
    assert (shown["cube_y_m"], shown["next_y_m"]) == (first.pose[1], second.pose[1])
    assert (shown["next_x_m"], shown["next_vy_m_s"]) == (second.pose[0], second.motion[1])
    assert shown["next_cos_4yaw"] ** 2 + shown["next_sin_4yaw"] ** 2 == pytest.approx(1.0)
    assert (shown["cube_present"], shown["next_present"]) == (1.0, 1.0)


def test_environment_describes_the_tracked_cube() -> None:
    """Place, motion, four times the turn and presence are those of the cube on the belt."""
    world = BeltWorld(QUIET, 0)
    world.advance(1000)
    cube = world.cubes.active[0]
    environment = world.environment()
    np.testing.assert_allclose(environment[:3], cube.pose[:3])
    np.testing.assert_allclose(environment[3:6], [0.0, QUIET.speed_m_s, 0.0], atol=0.002)
    yaw = 2 * np.arctan2(cube.pose[6], cube.pose[3])
    np.testing.assert_allclose(environment[6:8], [np.cos(4 * yaw), np.sin(4 * yaw)], atol=0.01)
    assert environment[8] == 1.0


def test_tracked_is_the_foremost_that_can_still_be_taken() -> None:
    """A cube past the last place to start on gives way to the next, and one in the hood is not seen."""
    world = BeltWorld(QUIET, 0)
    world.advance(1005)
    first, second = world.cubes.active
    place(world, 0, 0.05)
    place(world, 1, -0.10)
    assert world.tracked() is first
    place(world, 0, 0.12)
    assert world.tracked() is second
    place(world, 1, -0.30)
    assert world.tracked() is None


def test_a_cube_between_the_jaws_stays_tracked_a_little_longer() -> None:
    """The same place counts as too late for a cube on the belt but not for one already in hand."""
    world = BeltWorld(QUIET, 0)
    world.advance(1000)
    cube = world.cubes.active[0]
    place(world, 0, 0.12)
    assert world.tracked() is None
    world.data.site("pinch").xpos[:] = [cube.pose[0] + 0.01, *cube.pose[1:3]]
    assert world.tracked() is cube


def test_yaw_is_known_whichever_side_is_up() -> None:
    """A cube that was tipped on another face and stands straight reports the turn of its edges."""
    world = BeltWorld(QUIET, 0)
    world.advance(1000)
    half = np.pi / 4
    tipped = np.array([np.cos(half), np.sin(half), 0.0, 0.0])  # a quarter turn about x
    world.cubes.active[0].pose[3:] = tipped
    np.testing.assert_allclose(world.environment()[6:8], [1.0, 0.0], atol=1e-6)


def test_a_picture_is_refused_by_another_belt() -> None:
    """A renderer whose model has more cubes than the scene says so instead of drawing nonsense."""
    few, many = BeltWorld(BeltConfig(), 0), BeltWorld(BeltConfig(interval_s=0.8), 0)
    with pytest.raises(RobotFault, match="numbers"):
        show_picture(many.data, few.picture())
    show_picture(few.data, few.picture())
