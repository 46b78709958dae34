"""`segue check robot`: one line for each thing that a run needs of the arm and its cameras.

It takes the flags and the file of `segue run`, so the command line of a run
becomes that of its check by one word. Each line says ok, warn or FAIL, and what
to do; the exit code is that of the first failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from segue.cli.help import ASKING, Page
from segue.config.cameras import SimCameraConfig
from segue.config.robot import So101FollowerConfig
from segue.config.run import RunConfig
from segue.errors import ConfigError, UsageError
from segue.tools.checks import Check, Verdict, exit_code

if TYPE_CHECKING:
    from segue.cameras.base import Camera
    from segue.tools.check_robot import ArmPlace

PAGE = Page(
    verb="check",
    summary="looks at an arm and its cameras before a run; moves nothing",
    examples=(
        "segue check robot --robot.type=so101_follower --robot.port=/dev/ttyACM0 --robot.id=blue",
        "segue check robot --config_path=run.yaml",
    ),
    config=RunConfig,
)

SUBJECTS = ("robot",)


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code.

    Args:
        argv: the words after ``check``, the subject first.

    Raises:
        ConfigError: a flag or the file is wrong.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    subject, *flags = argv or ("",)
    if subject not in SUBJECTS:
        expected = f"expected what to look at first: {', '.join(SUBJECTS)}"
        raise UsageError(
            f"check: {subject!a}: {expected}; such as `segue check robot --config_path=run.yaml`"
        )
    from segue.config.load import load_run

    return report(look(load_run(flags).config, os.environ))


def look(config: RunConfig, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yields what there is to say about a run's robot and its cameras, as it is found."""
    from segue.cli.camera_parts import camera_of

    arm = arm_place(config)
    if arm is not None:
        from segue.tools.check_robot import check_arm

        yield from check_arm(arm, environ)
    cameras: list[Camera] = []
    for name, each in config.robot.cameras.items():
        # A simulated camera shows nothing without the simulation.
        if isinstance(each, SimCameraConfig):
            continue
        try:
            cameras.append(camera_of(name, each))
        except ConfigError as error:
            yield Check(f"camera {name}", Verdict.FAIL, str(error), error.exit_code)
    if cameras:
        from segue.tools.check_cameras import check_cameras

        yield from check_cameras(cameras)


def arm_place(config: RunConfig) -> ArmPlace | None:
    """Returns where the arm is to be found; None for a robot that has no port."""
    from segue.tools.check_robot import ArmPlace

    robot = config.robot
    if not isinstance(robot, So101FollowerConfig):
        return None
    return ArmPlace(
        robot_type=robot.type,
        robot_id=robot.id,
        port=robot.port,
        calibration_dir=robot.calibration_dir,
        writes_calibration=robot.write_calibration,
        control_hz=config.execution.commands_hz,
    )


def report(checks: Iterable[Check]) -> int:
    """Prints each finding as it comes, then how many failed, and returns the exit code."""
    seen: list[Check] = []
    for check in checks:
        print(f"{check.verdict:<5} {check.name}: {check.says}", flush=True)
        seen.append(check)
    print(f"segue check: {summary(seen)}")
    return exit_code(seen)


def summary(checks: Sequence[Check]) -> str:
    """Returns how the checks came out, in one sentence."""
    failed = [check.name for check in checks if check.verdict is Verdict.FAIL]
    doubts = [check.name for check in checks if check.verdict is Verdict.WARN]
    if not checks:
        return "this robot has no port and no cameras of this host, so there is nothing to look at"
    rest = f"; look at {', '.join(doubts)}" if doubts else ""
    if not failed:
        return f"all is well in {len(checks) - len(doubts)} of {len(checks)} checks{rest}"
    return f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}{rest}"
