"""The arm behind the emulated bus is a robot like any other."""

from __future__ import annotations

import numpy as np
import pytest

from segue.clock import NS_PER_MS
from segue.errors import RobotFault, SafetyLatch
from segue.robots import so101_model
from segue.robots.belt import ENVIRONMENT_NAMES
from segue.robots.belt_cubes import BeltConfig
from segue.robots.mujoco import SimSO101Config
from segue.robots.sts3215 import Status
from segue.testing.bus_belt import BusBelt
from segue.testing.conformance import check_robot


def arm() -> BusBelt:
    """Returns one whose first cube is far away."""
    return BusBelt(SimSO101Config(belt=BeltConfig(first_cube_s=1000.0, max_cubes=1), cameras=()))


def test_it_keeps_the_promises_of_a_robot() -> None:
    """Every joint follows its target, and no other does."""
    check_robot(arm())


def test_it_begins_at_rest_with_torque_and_tells_of_cubes() -> None:
    """After connecting it holds the rest pose to a count, and its environment is the belt's."""
    robot = arm()
    robot.connect()
    seen = robot.read(0)
    assert np.abs(seen.state - so101_model.REST_POSE).max() < 0.5
    assert seen.environment.shape == (len(ENVIRONMENT_NAMES),)
    assert all(servo.torque for servo in robot.line.servos)
    assert robot.summary()["successes"] == 0
    assert not robot.exhausted


def test_the_bus_takes_its_time() -> None:
    """A read costs the wire, and the clock of the bus keeps up with that of the run."""
    robot = arm()
    robot.connect()
    for tick in range(50):
        robot.read(tick * 10 * NS_PER_MS)
        robot.write(so101_model.REST_POSE, tick * 10 * NS_PER_MS)
    assert robot.summary()["bus_questions"] > 50
    assert robot.summary()["bus_missed_ticks"] == 0


def test_faults_of_the_bus_reach_the_run() -> None:
    """An overloaded servo latches, and a mute one is a fault after 200 ms."""
    robot = arm()
    robot.connect()
    robot.read(0)
    robot.line.faults.mute = frozenset({3})
    for tick in range(1, 20):
        robot.read(tick * 10 * NS_PER_MS)
    with pytest.raises(RobotFault, match="elbow_flex"):
        robot.read(220 * NS_PER_MS)
    other = arm()
    other.connect()
    other.line.servo("gripper").injected = Status.OVERLOADED
    with pytest.raises(SafetyLatch, match="gripper"):
        other.read(0)
