"""Emulated servos move the simulated arm, and feel it."""

from __future__ import annotations

import numpy as np
import pytest

from segue.clock import NS_PER_MS, NS_PER_S
from segue.robots import so101_model
from segue.robots import sts3215 as sts
from segue.robots.belt import BeltWorld
from segue.robots.belt_cubes import BeltConfig
from segue.testing.servo import Servo
from segue.testing.servo_arm import counts_of, default_calibration
from segue.testing.servo_mirror import servos_of

CALIBRATION = default_calibration()


def world() -> tuple[BeltWorld, list[Servo]]:
    """Returns a belt whose first cube is far away, and its servos."""
    belt = BeltWorld(BeltConfig(first_cube_s=1000.0), 0)
    return belt, servos_of(belt, CALIBRATION)


def run(servos: list[Servo], from_ns: int, to_ns: int) -> None:
    """Lets all servos run in steps of 10 ms."""
    for now_ns in range(from_ns, to_ns + 1, 10 * NS_PER_MS):
        for servo in servos:
            servo.advance(now_ns)


def go(servos: list[Servo], units: list[float]) -> None:
    """Writes goals as a host does."""
    for servo, count in zip(servos, counts_of(np.array(units), CALIBRATION), strict=True):
        servo.write(sts.GOAL_POSITION.address, sts.GOAL_POSITION.encode(count))


def test_a_goal_moves_the_joint_and_comes_back_as_counts() -> None:
    """Within a second the simulated joints are where the servos were told to go, and the servos say so."""
    belt, servos = world()
    run(servos, 0, 0)
    pose = [20.0, -60.0, 50.0, 60.0, -30.0, 70.0]
    go(servos, pose)
    run(servos, 10 * NS_PER_MS, NS_PER_S)
    assert np.abs(belt.joints() - pose).max() < 1.0
    expected = counts_of(belt.joints(), CALIBRATION)
    assert [servo.present() for servo in servos] == pytest.approx(expected, abs=1)


def test_the_arm_falls_without_torque_and_stands_with_it() -> None:
    """Held servos keep the pose; when torque is taken away the arm sinks."""
    belt, servos = world()
    run(servos, 0, 0)
    go(servos, list(so101_model.REST_POSE))
    run(servos, 10 * NS_PER_MS, NS_PER_S)
    assert np.abs(belt.joints() - so101_model.REST_POSE).max() < 1.5
    for servo in servos:
        servo.write(sts.TORQUE_ENABLE.address, b"\x00")
    run(servos, NS_PER_S, 3 * NS_PER_S)
    assert np.abs(belt.joints() - so101_model.REST_POSE).max() > 10.0


def test_an_arm_that_was_never_held_lies_still() -> None:
    """Before torque is first switched on nothing moves, however long that takes."""
    belt, servos = world()
    run(servos, 0, NS_PER_S)
    assert belt.steps == 0
    assert [servo.present() for servo in servos] == counts_of(so101_model.REST_POSE, CALIBRATION)


def test_a_joint_that_cannot_reach_its_goal_loads_its_servo() -> None:
    """A shoulder that pushes against its stop says so in load and current."""
    _, servos = world()
    servos[0].set(sts.MAX_POSITION, 4095)
    run(servos, 0, 0)
    servos[0].write(sts.GOAL_POSITION.address, sts.GOAL_POSITION.encode(3400))
    run(servos, 10 * NS_PER_MS, NS_PER_S)
    resting = servos[4].get(sts.PRESENT_LOAD)
    # The target is clamped at the joint's end, where the servo rests without strain.
    assert abs(servos[0].get(sts.PRESENT_LOAD)) < 100
    assert abs(resting) < 100
    servos[1].shaft.push(300.0)
    go(servos, list(so101_model.REST_POSE))
    servos[1].advance(NS_PER_S + 2 * NS_PER_MS)
    assert abs(servos[1].get(sts.PRESENT_LOAD)) > 500
    assert servos[1].get(sts.PRESENT_CURRENT) > 100


def test_a_long_pause_is_not_made_up() -> None:
    """After ten seconds of silence at most a quarter of a second of physics runs at once."""
    belt, servos = world()
    servos[0].write(sts.TORQUE_ENABLE.address, b"\x01")
    run(servos, 0, 0)
    servos[0].advance(10 * NS_PER_S)
    assert belt.steps == 125
    servos[0].advance(10 * NS_PER_S + 20 * NS_PER_MS)
    assert belt.steps == 135
