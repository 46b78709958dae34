"""The robot is named for its own process, and its cameras look at the same scene."""

from __future__ import annotations

import json

import pytest

from segue.cli.parts import robot_and_cameras
from segue.client.plan import RobotPart
from segue.config import load_run

pytest.importorskip("mujoco")
SIM = "--robot.type=sim_so101"


def test_the_simulated_robot_hands_out_its_own_cameras() -> None:
    """Without --robot.cameras there are the simulation's three."""
    part, cameras = robot_and_cameras(load_run([SIM]).config)
    assert [camera.spec.name for camera in cameras] == ["top", "front", "wrist"]
    assert part.settings["scene"]


def test_a_robot_made_in_another_process_is_the_one_configured() -> None:
    """What travels is JSON, and the robot made of it has the cameras, belt and seed of the flags."""
    argv = [
        SIM,
        "--seed=7",
        "--robot.belt.speed_m_s=0.05",
        "--robot.cameras={front: {type: sim, width: 320}}",
    ]
    part, cameras = robot_and_cameras(load_run(argv).config)
    travelled = RobotPart(part.factory, json.loads(json.dumps(part.settings)))
    robot = travelled.make()
    assert [(c.name, c.width) for c in robot.spec.observation.cameras] == [("front", 320)]
    assert [camera.spec for camera in cameras] == list(robot.spec.observation.cameras)
    assert (part.settings["seed"], part.settings["belt"]) == (7, {"speed_m_s": 0.05})


def test_a_fake_robot_takes_fake_cameras_of_any_name() -> None:
    """A rehearsal without an arm has the cameras that it was told, drawn."""
    argv = ["--robot.type=fake", "--robot.cameras={side: {type: fake, width: 64, height: 48}}"]
    part, (camera,) = robot_and_cameras(load_run(argv).config)
    assert (camera.spec.name, camera.spec.width) == ("side", 64)
    camera.open()
    assert camera.grab().image.shape == (48, 64, 3)
    robot = part.make()
    robot.connect()
    assert len(robot.read(0).state) == len(robot.spec.action)
    robot.disconnect()


def test_episodes_are_cubes_on_the_belt() -> None:
    """--episodes lets that many cubes come, and the simulated run ends after the last."""
    part, _ = robot_and_cameras(load_run([SIM, "--episodes=3"]).config)
    assert part.settings["belt"] == {"max_cubes": 3}
