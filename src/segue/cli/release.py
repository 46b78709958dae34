"""`segue release`: frees an arm that was left with torque.

A run that cannot know that its arm lies safely leaves it holding. Here a person
supports it, and it sinks within half a second. Servos that are mute, or share an
id, are named; the others are freed all the same, whatever their supply. A signal
that comes while the arm sinks waits until it is free: an arm with torque and next
to no strength would be the worst.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from typing import TYPE_CHECKING

from segue.cli.help import ASKING, Page
from segue.config.release import ReleaseConfig
from segue.errors import ConfigError, RobotFault
from segue.signals import SIGNALLED, signals_to

if TYPE_CHECKING:
    from segue.clock import Clock
    from segue.robots.feetech import ServoBus

PAGE = Page(
    verb="release",
    summary="frees an arm that was left holding itself",
    examples=(
        "segue release --robot.port=/dev/ttyACM0",
        "segue release --robot.port=/dev/ttyACM0 --yes",
    ),
    config=ReleaseConfig,
)

_AGREED = ("yes", "y")


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code.

    Args:
        argv: the words after ``release``.

    Raises:
        ConfigError: a flag is wrong, or the person did not agree.
        RobotFault: the port or a servo does not answer.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    from segue.cli.terminal import Terminal
    from segue.clock import SystemClock
    from segue.config.load import load
    from segue.robots.feetech import ServoBus
    from segue.robots.so101 import open_port

    loaded = load(ReleaseConfig, argv, of_an_arm=True)
    with loaded.blaming_flags():
        config, clock = loaded.config, SystemClock()
        person = Terminal(PAGE.verb)
        ask = None if config.yes else person.ask
        with closing(ServoBus(open_port(config.robot.port), clock)) as bus:
            came = release(bus, clock, config.robot.id or "the arm", person.tell, ask)
    return SIGNALLED + came if came else 0


def release(
    bus: ServoBus,
    clock: Clock,
    name: str,
    tell: Callable[[str], None],
    ask: Callable[[str], str] | None,
) -> int:
    """Frees the servos that have torque, once the person agrees, and tells what became of each.

    Args:
        bus: of the arm.
        clock: to wait by.
        name: of the arm, for the question.
        tell: shows a sentence.
        ask: shows a question and returns the answer; None frees without asking.

    Returns:
        the number of the signal that came while the arm sank; 0 for none.

    Raises:
        ConfigError: the person did not agree; nothing was changed.
        RobotFault: no servo answers, one is mute or shares its id, or one does not obey.
    """
    from segue.robots import so101_torque, sts3215
    from segue.robots.calibration import JOINT_IDS

    doubles = bus.doubles(JOINT_IDS.values())
    asked = {joint: servo for joint, servo in JOINT_IDS.items() if servo not in doubles}
    there = {joint: servo for joint, servo in asked.items() if bus.ping(servo) is not None}
    if not there and not doubles:
        raise RobotFault("no servo answers; is the arm's power supply plugged in and switched on?")
    torque = bus.read_all(list(there.values()), sts3215.TORQUE_ENABLE) if there else {}
    holding = {joint: servo for joint, servo in there.items() if torque[servo]}
    if holding and ask is not None:
        question = (
            f"{name} will go slack within half a second. Support it with a hand, type yes, press ENTER."
        )
        if ask(question).lower() not in _AGREED:
            raise ConfigError("nothing was changed: the answer was not yes")
    came: list[int] = []
    with signals_to(came.append):
        if holding:
            so101_torque.lower(bus, clock, list(holding.values()))
        # Who hangs up takes the terminal along; the arm is free all the same.
        with suppress(OSError) if came else nullcontext():
            if came:
                tell(f"{signal.Signals(came[0]).name} came while the arm sank, which was finished first")
            _tell_supply(bus, there, tell)
            _report(tell, there, holding, doubles)
    return came[0] if came else 0


def _tell_supply(bus: ServoBus, there: Mapping[str, int], tell: Callable[[str], None]) -> None:
    """Tells of a supply that no arm is driven with; it keeps no arm from being freed."""
    from segue.robots.so101_ready import check_supply

    try:
        check_supply(bus, there)
    except RobotFault as fault:
        tell(str(fault))


def _report(
    tell: Callable[[str], None],
    there: Mapping[str, int],
    holding: Mapping[str, int],
    doubles: Mapping[int, bool],
) -> None:
    from segue.robots.calibration import JOINT_IDS
    from segue.robots.so101_ready import doubles_words

    for joint, servo in JOINT_IDS.items():
        if servo in doubles:
            tell(f"{joint} (servo {servo}): answers twice, or garbled")
        elif joint not in there:
            tell(f"{joint} (servo {servo}): does not answer")
        else:
            tell(f"{joint} (servo {servo}): {'freed' if joint in holding else 'had no torque'}")
    unknown = [joint for joint in JOINT_IDS if joint not in there]
    if doubles:
        raise RobotFault(
            f"the torque state of {', '.join(unknown)} is unknown, the others are free: support the arm and "
            f"switch its power off to free it; {doubles_words(doubles, JOINT_IDS)}"
        )
    if unknown:
        raise RobotFault(
            f"the torque state of {', '.join(unknown)} is unknown: no answer; the others are free"
        )
