"""Finds an arm's calibration with a person who moves it by hand, as LeRobot's users know it.

First the arm is put into the middle of its ways, which becomes the middle of
each counter (2047), so that no way crosses the counter's end; then every joint
is moved from stop to stop. Torque is off all the while. Until the end the
servos hold what is being tried; whatever ends it before, they are given back
what they held, or it is said which of them may not be. The person is a
protocol: a terminal, or a script.
Source: LeRobot's `SOFollower.calibrate` and its half-turn homing.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from segue.clock import Clock, SystemClock
from segue.errors import ConfigError, RobotFault, SegueError
from segue.robots import so101_torque, sts3215
from segue.robots.calibration import (
    JOINT_IDS,
    LEAST_RANGE,
    MAX_COUNT,
    MAX_OFFSET,
    Calibration,
    MotorCalibration,
    checked_calibration,
)
from segue.robots.calibration_registers import (
    count_within_a_turn,
    read_registers,
    refuse_torque,
    write_kept,
    write_registers,
)
from segue.robots.feetech import ServoBus
from segue.robots.so101_ranges import FULL_TURN, wide_ranges
from segue.robots.so101_ready import check_ready
from segue.robots.so101_setup import beyond_a_turn
from segue.robots.sts3215 import COUNTS_PER_TURN
from segue.signals import signals_to

MIDDLE = MAX_COUNT // 2
_POSITION_MODE = 0


@dataclass(frozen=True, slots=True)
class Way:
    """How far a joint has been moved so far, counts."""

    joint: str
    least: int
    present: int
    most: int

    @property
    def is_moved(self) -> bool:
        """Whether it was moved far enough to believe it."""
        return self.most - self.least >= LEAST_RANGE


class Person(Protocol):
    """Who moves the arm."""

    def tell(self, text: str) -> None:
        """Shows a sentence."""
        ...

    def ask(self, text: str) -> str:
        """Shows a sentence, waits for ENTER, and returns what was typed before it."""
        ...

    def show(self, ways: Sequence[Way]) -> None:
        """Shows how far each joint has been moved, in place of what was shown before."""
        ...

    def pressed(self) -> bool:
        """Waits for a moment, and returns whether ENTER was pressed in it."""
        ...


@contextmanager
def calibrated(bus: ServoBus, person: Person, clock: Clock | None = None) -> Iterator[Calibration]:
    """Finds a new calibration, which the servos hold while it is kept somewhere, and from then on.

    What fails or is broken off before the end of the block leaves the servos as they were, but for
    torque, which is off.

    Args:
        bus: of the arm.
        person: who moves it.
        clock: by which an arm that holds itself is lowered; the host's by default.

    Raises:
        RobotFault: a servo is not ready (`check_ready`) or does not answer, or a joint went past the end
            of its counter.
        SafetyLatch: a servo says that it is in danger.
    """
    check_ready(bus, JOINT_IDS)
    _let_go(bus, person, clock or SystemClock())
    with _given_back(bus, person):
        for servo in JOINT_IDS.values():
            write_kept(bus, servo, sts3215.LOCK, 0)
            write_kept(bus, servo, sts3215.OPERATING_MODE, _POSITION_MODE)
        offsets = _find_middle(bus, person)
        ways = _find_ways(bus, person)
        found = {
            name: MotorCalibration(servo, 0, offsets[name], ways[name].least, ways[name].most)
            for name, servo in JOINT_IDS.items()
        }
        _refuse_wrong(found)
        write_registers(bus, found)
        for doubt in wide_ranges(found):
            person.tell(doubt)
        yield found


def write_calibration(bus: ServoBus, person: Person, calibration: Calibration) -> None:
    """Writes a known calibration into the servos, all of it or none.

    Raises:
        RobotFault: a servo is not ready (`check_ready`), has torque or does not answer.
        SafetyLatch: a servo says that it is in danger.
    """
    check_ready(bus, JOINT_IDS)
    refuse_torque(bus, JOINT_IDS)
    with _given_back(bus, person):
        write_registers(bus, calibration)
        _refuse_beyond_a_turn(_positions(bus, tuple(JOINT_IDS)))
    for doubt in wide_ranges(calibration):
        person.tell(doubt)


@contextmanager
def _given_back(bus: ServoBus, person: Person) -> Iterator[None]:
    """Gives the servos back what they held, when what is done meanwhile fails or is broken off.

    From the beginning of the block on they count within one turn, and go on doing so: to give that back
    would be to give a fault back, and within a turn what they held means the same place.

    Raises:
        RobotFault: a servo does not answer.
    """
    ids = JOINT_IDS.values()
    before = read_registers(bus, JOINT_IDS)
    modes = {servo: bus.read(servo, sts3215.OPERATING_MODE).value for servo in ids}
    locks = {servo: bus.read(servo, sts3215.LOCK).value for servo in ids}
    mended: list[str] = []
    try:
        for name, servo in JOINT_IDS.items():
            mended += count_within_a_turn(bus, {name: servo})
        yield
    except BaseException:
        person.tell(_give_back(bus, before, modes, locks) + _mended_words(mended))
        raise
    for servo, lock in locks.items():
        write_kept(bus, servo, sts3215.LOCK, lock)


def _give_back(bus: ServoBus, before: Calibration, modes: Mapping[int, int], locks: Mapping[int, int]) -> str:
    """Writes back what there was, servo by servo, and returns what came of it."""
    lost = []
    for name, joint in before.items():
        try:
            write_kept(bus, joint.id, sts3215.LOCK, 0)
            write_kept(bus, joint.id, sts3215.OPERATING_MODE, modes[joint.id])
            write_registers(bus, {name: joint})
            write_kept(bus, joint.id, sts3215.LOCK, locks[joint.id])
        except SegueError:
            values = f"{joint.homing_offset}, {joint.range_min}, {joint.range_max}"
            lost.append(f"{name} (before: {values})")
    if not lost:
        return "broken off; the servos hold the calibration that they held before, and torque is off"
    return (
        "broken off, and not all could be given back: homing offset and limits may be new in "
        f"{', '.join(lost)}; the file is as it was: `segue calibrate --write_calibration=FILE` writes it back"
    )


def _mended_words(mended: Sequence[str]) -> str:
    """Returns what is not given back."""
    if not mended:
        return ""
    listed = ", ".join(mended)
    return f"; {listed} counted beyond one turn before and {'does' if len(mended) == 1 else 'do'} no more"


def _refuse_wrong(found: Calibration) -> None:
    """Makes sure that the reader of calibration files will take what was found.

    Raises:
        RobotFault: it will not.
    """
    try:
        checked_calibration("what was found", {name: asdict(each) for name, each in found.items()})
    except ConfigError as error:
        raise RobotFault(f"{error}; nothing of it is kept: begin again") from error


def _let_go(bus: ServoBus, person: Person, clock: Clock) -> None:
    """Lets the arm sink if it has torque, once the person holds it."""
    torque = bus.read_all(list(JOINT_IDS.values()), sts3215.TORQUE_ENABLE)
    holding = [servo for servo, on in torque.items() if on]
    if not holding:
        return
    person.ask("The arm holds itself and will now go slack. Support it with a hand and press ENTER.")
    came: list[int] = []
    # A signal in between would leave an arm that holds itself with next to no torque.
    with signals_to(came.append):
        so101_torque.lower(bus, clock, holding)
    if came:
        signal.raise_signal(came[0])


def _find_middle(bus: ServoBus, person: Person) -> dict[str, int]:
    """Lets the person put the arm into its middle, and returns the offsets that make it 2047."""
    bare = {name: MotorCalibration(servo, 0, 0, 0, MAX_COUNT) for name, servo in JOINT_IDS.items()}
    write_registers(bus, bare)
    _refuse_beyond_a_turn(_positions(bus, tuple(JOINT_IDS)))
    person.ask(
        "Step 1 of 2: move the arm so that every joint is in the middle of its range, the gripper half open, "
        "and press ENTER."
    )
    refuse_torque(bus, JOINT_IDS)
    positions = _positions(bus, tuple(JOINT_IDS))
    _refuse_beyond_a_turn(positions)
    offsets = {name: middle_offset(at) for name, at in positions.items()}
    write_registers(bus, {name: replace(bare[name], homing_offset=offsets[name]) for name in JOINT_IDS})
    return offsets


def middle_offset(at: int) -> int:
    """Returns the offset that makes the position `at`, counts from 0 to 4095, the middle of its counter."""
    # Of 4096 positions one, 4095, is one count more from the middle than the register can say.
    return min(at - MIDDLE, MAX_OFFSET)


def _find_ways(bus: ServoBus, person: Person) -> dict[str, Way]:
    """Lets the person move each joint from stop to stop, until all but the full turn were moved.

    Raises:
        RobotFault: a joint went past the end of its counter.
    """
    joints = [name for name in JOINT_IDS if name != FULL_TURN]
    person.tell(
        f"Step 2 of 2: move every joint but {FULL_TURN} slowly from stop to stop, one after the other, "
        "and press ENTER when all are done."
    )
    began = _positions(bus, joints)
    _refuse_beyond_a_turn(began)
    ways = {name: Way(name, at, at, at) for name, at in began.items()}
    while True:
        ways = {name: _moved(ways[name], at) for name, at in _positions(bus, joints).items()}
        person.show(list(ways.values()))
        if not person.pressed():
            continue
        still = [way.joint for way in ways.values() if not way.is_moved]
        if not still:
            return ways | {FULL_TURN: Way(FULL_TURN, 0, MIDDLE, MAX_COUNT)}
        person.tell(f"Not moved from stop to stop: {', '.join(still)}. Move it, then press ENTER again.")


def _positions(bus: ServoBus, joints: Sequence[str]) -> dict[str, int]:
    found = bus.read_all([JOINT_IDS[name] for name in joints], sts3215.PRESENT_POSITION)
    return {name: found[JOINT_IDS[name]] for name in joints}


def _refuse_beyond_a_turn(positions: Mapping[str, int]) -> None:
    """Makes sure that each servo counts as it was told to.

    Raises:
        RobotFault: one is beyond one turn all the same; its power has to be switched.
    """
    for name, at in positions.items():
        if not 0 <= at <= MAX_COUNT:
            raise RobotFault(beyond_a_turn(name, JOINT_IDS[name], at))


def _moved(way: Way, at: int) -> Way:
    # Nobody turns a joint half around between two looks; a counter that ran over jumps by its whole.
    if abs(at - way.present) > COUNTS_PER_TURN // 2 or not 0 <= at <= MAX_COUNT:
        raise RobotFault(
            f"{way.joint} went past the end of its counter, so its middle was not in the middle; begin again"
        )
    return Way(way.joint, min(way.least, at), at, max(way.most, at))
