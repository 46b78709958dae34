"""`segue calibrate`: finds an arm's middle and limits by hand, and keeps them where LeRobot and Segue look.

What is asked and in which order is `tools.calibrate`'s. Here are the file, the
copy of the one before, and the signals: whoever breaks off in the middle gets
the registers of before, and a second Ctrl-C does not break off the giving back.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from segue.cli.help import ASKING, Page
from segue.config.calibrate import CalibrateConfig
from segue.errors import ConfigError

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

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNALLED = 128


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
    with loaded.blaming_flags(), _signals_break_off():
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
    try:
        with calibrated(bus, person) as found:
            # Servos and file change together: from here on a signal has to wait.
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            _save(path, found)
        person.tell(f"the servos hold the new calibration, and it is kept in {path}")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
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


@contextmanager
def _signals_break_off() -> Iterator[None]:
    """Lets the first signal raise `SystemExit`, and no second one disturb what follows from it."""

    def leave(number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(_SIGNALLED + number)

    before = {each: signal.signal(each, leave) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
