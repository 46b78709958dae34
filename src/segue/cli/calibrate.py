"""`segue calibrate`: finds an arm's middle and limits by hand, and keeps them where LeRobot and Segue look.

What is asked and in which order is `tools.calibrate`'s. Here are the file, the
copy of the one before, and the signals: whoever breaks off in the middle gets
the registers of before, and a second Ctrl-C does not break off the giving back.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from segue.cli.breakoff import breaking_off
from segue.cli.help import ASKING, Page
from segue.config.calibrate import CalibrateConfig
from segue.errors import ConfigError
from segue.signals import signals_to

if TYPE_CHECKING:
    from segue.robots.calibration import Calibration
    from segue.robots.feetech import ServoBus
    from segue.tools.calibrate import Person

PAGE = Page(
    verb="calibrate",
    summary="finds the middle and the limits of an arm's joints",
    examples=(
        "segue calibrate --robot.type=so101_follower --robot.port=/dev/ttyACM0 --robot.id=blue",
        "segue calibrate … --write_calibration=blue.json",
    ),
    config=CalibrateConfig,
)


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code.

    Args:
        argv: the words after ``calibrate``.

    Raises:
        ConfigError: a flag is wrong, or the file is to be kept.
        RobotFault: the arm does not answer.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    from segue.cli.terminal import Terminal
    from segue.config.load import load

    loaded = load(CalibrateConfig, argv, of_an_arm=True)
    with loaded.blaming_flags(), breaking_off():
        run(loaded.config, Terminal(PAGE.verb), os.environ)
    return 0


def run(config: CalibrateConfig, person: Person, environ: Mapping[str, str]) -> None:
    """Calibrates the arm with `person`, or writes a file's calibration into its servos.

    Raises:
        ConfigError: a calibration file is wrong, or is to be kept.
        RobotFault: the arm does not answer.
    """
    from segue.robots.calibration import calibration_places, load_calibration
    from segue.tools.calibrate import write_calibration

    robot = config.robot
    places = calibration_places(robot.type, robot.id, robot.calibration_dir, environ)
    if config.write_calibration is not None:
        # Before the port is opened: a wrong file must not cost a torque.
        found = load_calibration(config.write_calibration)
        with closing(_open(robot.port)) as bus:
            write_calibration(bus, person, found)
        person.tell(f"the servos now hold {config.write_calibration}")
        return
    _ask_to_replace(places[0], person)
    with closing(_open(robot.port)) as bus:
        _calibrate(bus, person, places)


def _calibrate(bus: ServoBus, person: Person, places: Sequence[Path]) -> None:
    from segue.robots.calibration import differing_copy
    from segue.tools.calibrate import calibrated

    path = places[0]
    came: list[int] = []
    with ExitStack() as later:
        with calibrated(bus, person) as found:
            # Servos and file change together: from here on a signal has to wait. Not by a mask: the
            # kernel would hand it to another thread, and Python obey it on this one.
            later.callback(lambda: signal.raise_signal(came[0]) if came else None)
            later.enter_context(signals_to(came.append))
            _save(path, found)
        person.tell(f"the servos hold the new calibration, and it is kept in {path}")
    other = differing_copy(path, tuple(places))
    if other is not None:
        person.tell(f"{other}: it is from before LeRobot renamed the folder")


def _save(path: Path, found: Calibration) -> None:
    from segue.robots.calibration import save_calibration

    try:
        if path.exists():
            shutil.copy2(path, _kept(path))
    except OSError as error:
        raise ConfigError(f"{_kept(path)}: the old calibration cannot be kept: {error.strerror}") from error
    save_calibration(path, found)


def _ask_to_replace(path: Path, person: Person) -> None:
    if not path.exists():
        return
    answer = person.ask(
        f"{path} is there already. Type yes and press ENTER to replace it; "
        f"the old one stays as {_kept(path).name}."
    )
    if answer.lower() not in ("yes", "y"):
        raise ConfigError(f"{path} is kept; nothing was changed")


def _kept(path: Path) -> Path:
    return path.with_name(f"{path.name}.bak")


def _open(port: str) -> ServoBus:
    from segue.clock import SystemClock
    from segue.robots.feetech import ServoBus
    from segue.robots.so101 import open_port

    return ServoBus(open_port(port), SystemClock())
