from __future__ import annotations

import numpy as np
import pytest

from segue.clock import NS_PER_MS, NS_PER_S
from segue.errors import LocalProtocolError, RobotFault
from segue.robots.belt import ENVIRONMENT_NAMES
from segue.robots.belt_cubes import BeltConfig
from segue.robots.mujoco import MAX_CATCH_UP_NS, SimSO101, SimSO101Config
from segue.robots.scene import SceneReader, SceneWriter, scene_name
from segue.robots.so101_model import NAMES

TICK_NS = 10 * NS_PER_MS
BUSY = SimSO101Config(seed=4, belt=BeltConfig(first_cube_s=0.0))


def connected(config: SimSO101Config = BUSY) -> SimSO101:
    robot = SimSO101(config)
    robot.connect()
    return robot


def wave(robot: SimSO101, origin_ns: int, ticks: int = 200) -> np.ndarray:
    """Drives the arm through a slow wave and returns all that was read."""
    rows = []
    for tick in range(ticks):
        now_ns = origin_ns + tick * TICK_NS
        state = robot.read(now_ns)
        rows.append(np.concatenate([state.state, state.environment]))
        target = robot.rest_pose + 8.0 * np.sin(tick / 30 + np.arange(6))
        robot.write(target, now_ns)
    return np.array(rows)


def test_spec_is_known_before_connecting() -> None:
    """Joints, actions, environment and cameras are named in order, as `so101_follower` has them."""
    spec = SimSO101().spec
    assert spec.robot_type == "sim_so101"
    assert spec.action.names == NAMES
    assert tuple(d.name for d in spec.observation.state) == NAMES
    assert spec.observation.environment == ENVIRONMENT_NAMES
    assert [(c.name, c.width, c.height) for c in spec.observation.cameras] == [
        (name, 640, 480) for name in ("top", "front", "wrist")
    ]


def test_starts_at_rest_and_stays_there() -> None:
    """An arm that is not commanded holds its rest pose against gravity within half a degree."""
    robot = connected()
    robot.read(0)
    np.testing.assert_allclose(robot.read(200 * NS_PER_MS).state, robot.rest_pose, atol=0.5)


def test_an_action_is_reached() -> None:
    """A target a few degrees away is reached within a fifth of a second, up to a unit of friction."""
    robot = connected()
    target = robot.rest_pose + np.array([5.0, 4.0, -4.0, 3.0, 8.0, 10.0])
    robot.write(target, 0)
    np.testing.assert_allclose(robot.read(200 * NS_PER_MS).state, target, atol=1.0)


def test_same_times_and_actions_give_the_same_world() -> None:
    """Two robots driven alike read the same to the last bit, whatever their clocks started from."""
    first = wave(connected(), origin_ns=0)
    np.testing.assert_array_equal(wave(connected(), origin_ns=0), first)
    np.testing.assert_array_equal(wave(connected(), origin_ns=987_654_321_000), first)


def test_another_seed_is_another_world() -> None:
    """The seed decides which cubes come."""
    assert (wave(connected(), 0) != wave(connected(SimSO101Config(5, BUSY.belt)), 0)).any()


def test_connecting_again_starts_anew() -> None:
    """After `disconnect` and `connect` the same seed replays the same belt from the start."""
    robot = connected()
    first = wave(robot, 0)
    robot.disconnect()
    robot.connect()
    np.testing.assert_array_equal(wave(robot, 55 * NS_PER_S), first)


def test_time_that_stands_still_or_runs_back_does_not_move_the_world() -> None:
    """A second read at the same or an earlier time returns the same state."""
    robot = connected()
    robot.read(0)
    now = robot.read(250 * NS_PER_MS)
    np.testing.assert_array_equal(robot.read(250 * NS_PER_MS).environment, now.environment)
    np.testing.assert_array_equal(robot.read(100 * NS_PER_MS).environment, now.environment)


def test_a_long_gap_is_not_made_up() -> None:
    """After an hour's suspension the belt has moved on by a quarter of a second, and then runs as before."""
    robot = connected()
    cube = robot.read(0)
    for tick in range(1, 200):
        cube = robot.read(tick * TICK_NS)
    gap_ns = 3600 * NS_PER_S
    after = robot.read(199 * TICK_NS + gap_ns)
    speed = BUSY.belt.speed_m_s
    assert cube.environment[8] == after.environment[8] == 1.0
    moved = after.environment[1] - cube.environment[1]
    assert moved == pytest.approx(speed * MAX_CATCH_UP_NS / NS_PER_S, abs=0.002)
    later = robot.read(199 * TICK_NS + gap_ns + 10 * TICK_NS)
    assert later.environment[1] - after.environment[1] == pytest.approx(speed * 0.1, abs=0.001)


def test_targets_are_kept_within_the_joints_range() -> None:
    """What `write` returns is the target really applied, never beyond a joint's end."""
    robot = connected()
    limits = robot.spec.action
    np.testing.assert_array_equal(robot.write(np.full(6, 1e4), 0), limits.array("high"))
    np.testing.assert_array_equal(robot.write(np.full(6, -1e4), 0), limits.array("low"))


@pytest.mark.parametrize("action", [np.full(6, np.nan), np.zeros(5), np.array([0, 0, np.inf, 0, 0, 0])])
def test_nonsense_is_refused(action: np.ndarray) -> None:
    """An action of a wrong shape or with a number that is none never reaches the servos."""
    with pytest.raises(LocalProtocolError, match="6 finite numbers"):
        connected().write(action, 0)


def test_an_unconnected_robot_says_so() -> None:
    """Reading, writing and counting need a connection, before it and after."""
    robot = SimSO101()
    robot.disconnect()
    for call in (lambda: robot.read(0), lambda: robot.write(np.zeros(6), 0), robot.summary):
        with pytest.raises(RobotFault, match="not connected"):
            call()


def test_an_idle_arm_misses_every_cube() -> None:
    """With nobody at work each cube is offered and missed, and the run ends by itself."""
    robot = connected(SimSO101Config(0, BeltConfig(max_cubes=3)))
    tick = 0
    while not robot.exhausted and tick < 3000:
        robot.read(tick * TICK_NS)
        tick += 1
    assert robot.summary() == {"cubes_offered": 3, "successes": 0, "misses": 3}


def test_each_read_publishes_the_scene() -> None:
    """A reader finds the stamp of the latest tick and one more number per read."""
    name = scene_name()
    scene = SceneWriter(name)
    try:
        robot, reader = SimSO101(BUSY, scene), SceneReader(name)
        robot.connect()
        assert reader.latest() is None
        for tick in range(1, 4):
            robot.read(tick * TICK_NS)
            seen = reader.latest()
            assert seen is not None
            assert (seen.number, seen.tick_ns) == (tick, tick * TICK_NS)
        reader.close()
    finally:
        scene.close()
