"""Torque on, and gently off: the two moments in which an arm can hurt somebody or itself.

On means: each goal is where its joint is, that was read back, and only then is
torque switched on. A servo may switch itself on with the goal already, which is
why the goal comes first; what makes a servo strong and quick comes only then, or
an arm that sags under a low limit would jump back. Off means: the limit of the torque goes down within
half a second, so that the arm sinks instead of falling, and is given back when
torque is off. A sync write is confirmed by nobody, so what counts is what is
read afterwards. Whether the arm may be let go at all is decided elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping

from segue.clock import NS_PER_MS, NS_PER_S, Clock
from segue.errors import RobotFault, SegueError
from segue.robots import sts3215
from segue.robots.feetech import ServoBus
from segue.robots.so101_units import DEG_PER_COUNT
from segue.robots.sts3215 import COUNTS_PER_TURN, Register

LOWERING_NS = NS_PER_S // 2
_STEPS = 25
_ATTEMPTS = 3
# An arm that rests on its stops may lie a little beyond what was found by hand.
LIMIT_TOLERANCE_COUNTS = round(3 / DEG_PER_COUNT)
# Within the few milliseconds between reading where it is and holding it there, a joint at rest does
# not move by 3 degrees; one that a person moves, or that falls, does.
_STILL_COUNTS = 3 * COUNTS_PER_TURN // 360
_SETTLE_NS = 20 * NS_PER_MS


def hold_here(
    bus: ServoBus, clock: Clock, ranges: Mapping[int, tuple[int, int]], checked: Mapping[int, int]
) -> dict[int, int]:
    """Switches torque on where the arm is, and returns the goals by servo; what fails switches it back.

    Args:
        bus: of the arm.
        clock: to wait by.
        ranges: first and last count that each servo may be sent to.
        checked: where each was when its pose was found to be good, counts.

    Raises:
        RobotFault: a servo does not answer or does not obey, or the arm is being moved, or was since
            it was checked; whatever is refused for its pose was sent nothing.
    """
    servos = list(ranges)
    slack = [servo for servo, on in bus.read_all(servos, sts3215.TORQUE_ENABLE).items() if not on]
    present = bus.read_all(servos, sts3215.PRESENT_POSITION)
    _refuse_moved(checked, present, "after its pose was checked")
    _refuse_outside(present, ranges)
    try:
        goals = {servo: min(high, max(low, present[servo])) for servo, (low, high) in ranges.items()}
        write_all(bus, sts3215.GOAL_POSITION, goals)
        clock.sleep_until(clock.now_ns() + _SETTLE_NS)
        still = bus.read_all(servos, sts3215.PRESENT_POSITION)
        _refuse_moved(present, still, "while its torque was switched on")
        _give_all_strength(bus, servos)
        write_all(bus, sts3215.TORQUE_ENABLE, dict.fromkeys(slack, 1))
        write_all(bus, sts3215.LOCK, dict.fromkeys(servos, 1))
    except BaseException:
        with contextlib.suppress(SegueError):
            write_all(bus, sts3215.TORQUE_ENABLE, dict.fromkeys(slack, 0))
        raise
    return goals


def lower(bus: ServoBus, clock: Clock, servos: Collection[int]) -> None:
    """Lets `servos` sink within half a second, then switches their torque off.

    Raises:
        RobotFault: a servo does not answer or does not obey.
    """
    full = bus.read_all(list(servos), sts3215.TORQUE_LIMIT)
    for step in range(1, _STEPS + 1):
        left = 1 - step / _STEPS
        limits = {servo: round(each * left) for servo, each in full.items()}
        bus.sync_write(sts3215.TORQUE_LIMIT, limits)
        # From now on, not from the start: after a sleep of the computer all strength would go at once.
        clock.sleep_until(clock.now_ns() + LOWERING_NS // _STEPS)
    write_all(bus, sts3215.TORQUE_ENABLE, dict.fromkeys(servos, 0))
    # Else the next who switches torque on would have none.
    write_all(bus, sts3215.TORQUE_LIMIT, bus.read_all(list(servos), sts3215.MAX_TORQUE))


def write_all(bus: ServoBus, register: Register, values: Mapping[int, int]) -> None:
    """Writes one register of several servos at once and makes sure that it was taken.

    Raises:
        RobotFault: it was not, or a servo does not answer.
    """
    left = dict(values)
    for _ in range(_ATTEMPTS):
        if not left:
            return
        bus.sync_write(register, left)
        kept = bus.read_all(list(left), register)
        left = {servo: value for servo, value in left.items() if kept[servo] != value}
    if left:
        wrong = ", ".join(f"servo {servo} keeps {kept[servo]}, not {value}" for servo, value in left.items())
        raise RobotFault(f"{register.name} cannot be written: {wrong}")


def _give_all_strength(bus: ServoBus, servos: list[int]) -> None:
    """Takes away what another tool, or a release that was cut off, left of bounds on torque and speed."""
    unbound = dict.fromkeys(servos, 0)
    wholly = {
        sts3215.GOAL_TIME: unbound,
        sts3215.GOAL_VELOCITY: unbound,
        sts3215.TORQUE_LIMIT: bus.read_all(servos, sts3215.MAX_TORQUE),
    }
    for register, wanted in wholly.items():
        found = bus.read_all(servos, register)
        write_all(bus, register, {s: value for s, value in wanted.items() if found[s] != value})


def _refuse_outside(present: Mapping[int, int], ranges: Mapping[int, tuple[int, int]]) -> None:
    for servo, (low, high) in ranges.items():
        at = present[servo]
        if not low - LIMIT_TOLERANCE_COUNTS <= at <= high + LIMIT_TOLERANCE_COUNTS:
            raise RobotFault(
                f"servo {servo} is at {at}, outside of its range from {low} to {high}: it was moved after "
                "its pose was checked; move it inside, let the arm rest, try again"
            )


def _refuse_moved(before: Mapping[int, int], after: Mapping[int, int], when: str) -> None:
    moved = [servo for servo in before if abs(after[servo] - before[servo]) > _STILL_COUNTS]
    if moved:
        listed = ", ".join(map(str, moved))
        raise RobotFault(f"servo {listed} moved {when}; let the arm rest, try again")
