"""LeRobot's arm on an emulated bus, calibrations to try, and a hand that puts joints where a test wants."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar, cast

from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig

from segue.clock import NS_PER_MS, SystemClock
from segue.robots import so101_model, sts3215
from segue.robots.base import RobotState
from segue.robots.calibration import Calibration
from segue.robots.so101 import SO101, SO101Config
from segue.robots.so101_units import ArmUnits
from segue.robots.sts3215 import COUNTS_PER_TURN
from segue.testing import FeetechBus
from segue.testing.servo import Servo
from segue.testing.servo_arm import default_calibration, so101_servos
from segue.testing.servo_line import ServoLine
from segue.testing.servo_shaft import FreeShaft

JOINTS = so101_model.NAMES
ID = "arm"
FILE = f"{ID}.json"
TICK_NS = 10 * NS_PER_MS


def _narrow() -> Calibration:
    # Widths and middles that do not divide evenly, where rounding would show.
    limits = ((1001, 3002), (913, 2777), (7, 3001), (1500, 1607), (0, 4095), (2033, 3456))
    return {
        name: replace(each, range_min=low, range_max=high, homing_offset=17 * each.id - 60)
        for (name, each), (low, high) in zip(default_calibration().items(), limits, strict=True)
    }


CALIBRATIONS: Mapping[str, Calibration] = {
    "usual": default_calibration(),
    "narrow": _narrow(),
    "turned": {name: replace(each, drive_mode=1) for name, each in _narrow().items()},
}


def emulated(servos: list[Servo]) -> FeetechBus:
    """Returns a bus that answers in time also on a busy machine, where the kernel lets it."""
    return FeetechBus(ServoLine(servos), realtime=True)


def emulated_arm(name: str = "usual") -> FeetechBus:
    """Returns the bus of an arm at rest, whose registers hold one of `CALIBRATIONS`."""
    return emulated(so101_servos(CALIBRATIONS[name]))


def lerobot_arm(bus: FeetechBus, folder: Path, degrees: bool = True) -> SO101Follower:
    """Returns LeRobot's driver, not connected, with its calibrations in `folder`."""
    config = SO101FollowerConfig(port=bus.port, id=ID, calibration_dir=folder, use_degrees=degrees)
    return SO101Follower(config)


def segue_arm(
    bus: FeetechBus, calibration: Calibration, degrees: bool = True, dry_run: bool = False
) -> SO101:
    """Returns Segue's driver, not connected."""
    units = ArmUnits(calibration, use_degrees=degrees)
    return SO101(SO101Config(bus.port, units, dry_run=dry_run))


class _Connectable(Protocol):
    def connect(self) -> None: ...
    def disconnect(self) -> None: ...


_Arm = TypeVar("_Arm", bound=_Connectable)


@contextmanager
def connected(arm: _Arm) -> Iterator[_Arm]:
    """Connects a driver, LeRobot's as its own scripts do, and disconnects it."""
    arm.connect()
    try:
        yield arm
    finally:
        arm.disconnect()


def fresh(arm: SO101) -> RobotState:
    """Returns what Segue's driver reads now, at the pace of a control loop.

    Where the emulator is late, a question is asked twice and an answer left over; at once after
    that another question could be answered by it, so such a reading is taken again.
    """
    clock = SystemClock()
    while True:
        asked = arm.summary()
        for _ in range(2):
            clock.sleep_until(clock.now_ns() + TICK_NS)
            state = arm.read(clock.now_ns())
        told = arm.summary()
        if all(told[each] == asked[each] for each in ("bus_retries", "bus_missed_ticks")):
            return state


def place(bus: FeetechBus, counts: Mapping[str, int]) -> None:
    """Puts joints where their servos report `counts`, and holds them there against any torque."""
    for name, count in counts.items():
        servo = bus.servo(name)
        shaft = cast("FreeShaft", servo.shaft)
        shaft.blocked = True
        shaft.position = float(count + servo.get(sts3215.HOMING_OFFSET))


def poses(calibration: Calibration, seed: int = 0) -> list[dict[str, int]]:
    """Returns poses in counts: each joint's ends, what lies beside and far beyond them, and 40 drawn ones."""
    dice = random.Random(seed)
    ways = {}
    for name, each in calibration.items():
        low, high = each.range_min, each.range_max
        edges = [low, high, low - 1, high + 1, low + 1, high - 1, (low + high) // 2, 0, COUNTS_PER_TURN - 1]
        drawn = [dice.randrange(COUNTS_PER_TURN) for _ in range(40)]
        ways[name] = [count % COUNTS_PER_TURN for count in edges + drawn]
    return [dict(zip(ways, pose, strict=True)) for pose in zip(*ways.values(), strict=True)]
