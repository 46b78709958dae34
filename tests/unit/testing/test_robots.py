from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segue.errors import RobotFault
from segue.robots import so101_model
from segue.testing.conformance import check_robot
from segue.testing.robots import FakeRobot, make_broken_robot, make_fake_robot, make_other_robot


@pytest.mark.parametrize("make", [FakeRobot, make_other_robot])
def test_fake_robots_conform(make: type[FakeRobot]) -> None:
    """A fake robot keeps the promises of the `Robot` protocol."""
    check_robot(make())


def test_it_goes_where_it_is_told() -> None:
    """The state after a command is the command."""
    robot = FakeRobot()
    robot.connect()
    assert robot.read(0).state.tolist() == so101_model.REST_POSE.tolist()
    target = so101_model.REST_POSE + 1.0
    assert robot.write(target, 0).tolist() == target.tolist()
    assert robot.read(1).state.tolist() == target.tolist()
    assert np.array(robot.commands).tolist() == [target.tolist()]


def test_it_fails_when_told_to() -> None:
    """Every call raises what it was told to, until it is told no more."""
    robot = make_broken_robot()
    with pytest.raises(RobotFault, match="no answer"):
        robot.connect()
    robot.fails = None
    robot.connect()
    robot.fails = "overload"
    with pytest.raises(RobotFault, match="overload"):
        robot.read(0)
    with pytest.raises(RobotFault, match="overload"):
        robot.write(so101_model.REST_POSE, 0)


def test_its_commands_can_be_read_from_a_file(tmp_path: Path) -> None:
    """For another process each command is a line with its time."""
    robot = make_fake_robot(str(tmp_path / "commands"))
    robot.connect()
    robot.write(so101_model.REST_POSE, 17)
    robot.disconnect()
    (line,) = (tmp_path / "commands").read_text().splitlines()
    assert [float(word) for word in line.split()] == [17.0, *so101_model.REST_POSE]
