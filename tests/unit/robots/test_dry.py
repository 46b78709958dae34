"""What a dry run lets through to a robot, and what it keeps away."""

from __future__ import annotations

import numpy as np
import pytest

from segue.clock import NS_PER_S
from segue.errors import RobotFault
from segue.robots.dry import DryRobot
from segue.testing.robots import FakeRobot
from tests.unit.client.world import World, control_plan


class TalkingRobot(FakeRobot):
    """A robot that counts, speaks, and comes to an end."""

    exhausted = True

    def summary(self) -> dict[str, int]:
        return {"successes": 3}

    def notes(self) -> list[str]:
        return ["elbow_flex is warm"]

    naps = 0

    def slept(self) -> None:
        self.naps += 1


def test_a_whole_run_sends_the_robot_nothing() -> None:
    """A run that executes chunks, holds and parks leaves the log of writes empty and the arm at rest."""
    robot = FakeRobot()
    world = World(control_plan(2.0), robot=DryRobot(robot))  # type: ignore[arg-type]
    ending = world.run()
    assert ending.summary["chunks"]
    assert ending.summary["parked"]
    assert robot.commands == []
    np.testing.assert_array_equal(robot.read(0).state, robot.rest_pose)


def test_what_would_be_sent_is_answered_within_the_limits() -> None:
    """The answer to a command is what the robot would have applied."""
    dry = DryRobot(FakeRobot())
    high = dry.spec.action.array("high")
    np.testing.assert_array_equal(dry.write(high + 7.0, NS_PER_S), high)
    np.testing.assert_array_equal(dry.write(high - 7.0, NS_PER_S), high - 7.0)


def test_readings_faults_and_words_are_the_robots_own() -> None:
    """Connecting, reading, failing, counting and speaking go through."""
    robot = TalkingRobot()
    dry = DryRobot(robot)
    dry.connect()
    assert robot.connected
    np.testing.assert_array_equal(dry.read(0).state, robot.rest_pose)
    np.testing.assert_array_equal(dry.rest_pose, robot.rest_pose)
    assert (dry.summary(), dry.notes(), dry.exhausted) == ({"successes": 3}, ["elbow_flex is warm"], True)
    dry.slept()
    DryRobot(FakeRobot()).slept()  # one that does not want to know
    assert robot.naps == 1
    robot.fails = "no answer from the bus"
    with pytest.raises(RobotFault, match="no answer from the bus"):
        dry.read(0)
    dry.disconnect()
    assert not robot.connected


def test_a_robot_without_words_stays_without() -> None:
    """What the robot cannot do is not made up for it."""
    dry = DryRobot(FakeRobot())
    assert (dry.summary(), dry.notes(), dry.exhausted) == ({}, (), False)
