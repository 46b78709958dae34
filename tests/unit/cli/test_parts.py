"""The robot is named for its own process, and its cameras look at the same scene."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.cli.parts import robot_and_cameras
from segue.client.plan import RobotPart
from segue.config import load_run
from segue.errors import ConfigError
from segue.robots.calibration import save_calibration
from segue.robots.so101 import SO101, RestConfig
from segue.robots.so101_units import ArmUnits
from segue.testing.servo_arm import default_calibration

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


@pytest.fixture
def calibrated(tmp_path: Path) -> list[str]:
    """Returns the flags of an arm whose calibration file is there."""
    save_calibration(tmp_path / "blue.json", default_calibration())
    robot = {"port": "/dev/ttyACM9", "id": "blue", "calibration_dir": tmp_path}
    return ["--robot.type=so101_follower", *(f"--robot.{key}={value}" for key, value in robot.items())]


def test_an_arm_made_in_another_process_is_the_one_configured(calibrated: list[str]) -> None:
    """What travels is JSON, and the arm made of it has the flags' calibration, units, speeds, cameras."""
    argv = [
        *calibrated,
        "--robot.use_degrees=false",
        "--robot.max_speed=90",
        "--robot.cameras={front: {type: fake, width: 64, height: 48}}",
        "--control_hz=50",
        "--return_to_initial_position=false",
        "--dry_run",
    ]
    part, (camera,) = robot_and_cameras(load_run(argv).config)
    arm = RobotPart(part.factory, json.loads(json.dumps(part.settings))).make()
    assert isinstance(arm, SO101)
    assert arm.spec.observation.cameras == (camera.spec,)
    assert arm.config.units == ArmUnits(default_calibration(), False, 90.0, 200.0)
    assert (arm.config.port, arm.config.tick_ns, arm.config.dry_run) == ("/dev/ttyACM9", 20_000_000, True)
    assert arm.config.rest == RestConfig({}, False, True)
    assert arm.config.calibration_file.endswith("blue.json")


def test_an_so100_is_driven_alike_and_called_by_its_name(calibrated: list[str]) -> None:
    """The older arm differs in its name only."""
    calibrated[0] = "--robot.type=so100_follower"
    part, _ = robot_and_cameras(load_run(calibrated).config)
    assert part.make().spec.robot_type == "so100_follower"


def test_a_missing_calibration_ends_it_before_a_port_is_opened(calibrated: list[str]) -> None:
    """Without the arm's file the run is refused, and the places are listed."""
    with pytest.raises(ConfigError, match=r"no calibration file for robot.id=red.*red\.json") as refused:
        robot_and_cameras(load_run([*calibrated[:2], "--robot.id=red", calibrated[3]]).config)
    assert refused.value.exit_code == 78


@pytest.mark.parametrize(
    ("pose", "says"),
    [
        ("{gripper: 3}", "robot.park_pose: shoulder_pan, .* missing; expected all six joints or none"),
        (
            "{shoulder_pan: 200, shoulder_lift: 0, elbow_flex: 0, wrist_flex: 0, wrist_roll: 0, gripper: 0}",
            r"robot.park_pose.shoulder_pan: 200; expected from -110.* to 110.* deg",
        ),
    ],
)
def test_a_park_pose_is_whole_and_within_the_calibration(calibrated: list[str], pose: str, says: str) -> None:
    """A park pose of some joints, or one that a joint cannot reach, is refused with what is allowed."""
    with pytest.raises(ConfigError, match=says):
        robot_and_cameras(load_run([*calibrated, f"--robot.park_pose={pose}"]).config)


def test_a_park_pose_travels_with_the_arm(calibrated: list[str]) -> None:
    """A whole park pose is where the arm rests."""
    pose = "{shoulder_pan: 1, shoulder_lift: -70, elbow_flex: 60, wrist_flex: 60, wrist_roll: 2, gripper: 9}"
    part, _ = robot_and_cameras(load_run([*calibrated, f"--robot.park_pose={pose}"]).config)
    rest = part.make().rest_pose
    assert rest is not None
    assert list(rest) == [1, -70, 60, 60, 2, 9]
