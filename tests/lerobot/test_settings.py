"""An arm that one side has set up is found as it wants it by the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from lerobot.robots.so_follower import SO101FollowerConfig

from segue.errors import ConfigError
from segue.robots import sts3215
from segue.robots.sts3215 import Register
from segue.testing import FeetechBus
from segue.testing.servo_line import Write
from tests.lerobot.arms import CALIBRATIONS, connected, emulated_arm, lerobot_arm, segue_arm

pytestmark = pytest.mark.lerobot

CALIBRATION = CALIBRATIONS["usual"]
# Volatile, and every driver's to write.
RUNNING = {
    each.name for each in (sts3215.TORQUE_ENABLE, sts3215.LOCK, sts3215.GOAL_POSITION, sts3215.TORQUE_LIMIT)
}
Held = dict[tuple[int, str], int]


@pytest.fixture
def odd_bus() -> Iterator[FeetechBus]:
    """An arm whose settings are all others than LeRobot's, with its calibration."""
    with emulated_arm() as bus:
        for servo in bus.line.servos:
            servo.set(sts3215.RETURN_DELAY, 25)
            servo.set(sts3215.P_GAIN, 32)
            servo.set(sts3215.I_GAIN, 3)
            servo.set(sts3215.D_GAIN, 30)
            servo.set(sts3215.MAX_ACCELERATION, 100)
            servo.set(sts3215.OPERATING_MODE, 0)
        yield bus


def count_beyond_a_turn(bus: FeetechBus) -> None:
    """Sets the bit of Phase that lets positions leave a turn, which neither driver expects."""
    for servo in bus.line.servos:
        servo.set(sts3215.PHASE, servo.get(sts3215.PHASE) | sts3215.MULTI_TURN)


def test_segue_refuses_what_lerobot_clears(odd_bus: FeetechBus, folder: Path) -> None:
    """Servos that count beyond a turn are not driven before somebody cleared the bit, as LeRobot does."""
    count_beyond_a_turn(odd_bus)
    with pytest.raises(ConfigError, match=r"counts? beyond one turn"):
        segue_arm(odd_bus, CALIBRATION).connect()
    with connected(lerobot_arm(odd_bus, folder)):
        pass
    with connected(segue_arm(odd_bus, CALIBRATION)):
        assert all(servo.torque for servo in odd_bus.line.servos)


def test_segue_spares_what_lerobot_configured(odd_bus: FeetechBus, folder: Path) -> None:
    """On an arm that LeRobot configured Segue writes torque and goals, and no setting."""
    count_beyond_a_turn(odd_bus)
    with connected(lerobot_arm(odd_bus, folder)):
        pass
    before = len(odd_bus.writes)
    with connected(segue_arm(odd_bus, CALIBRATION)):
        assert all(servo.torque for servo in odd_bus.line.servos)
    assert {write.register for write in odd_bus.writes[before:]} <= RUNNING


def test_lerobot_changes_nothing_that_segue_configured(odd_bus: FeetechBus, folder: Path) -> None:
    """What LeRobot writes to an arm that Segue configured was there already, register for register."""
    with connected(segue_arm(odd_bus, CALIBRATION)):
        pass
    held = _held(odd_bus, sts3215.REGISTERS.values())
    before = len(odd_bus.writes)
    with connected(lerobot_arm(odd_bus, folder)) as arm:
        assert arm.is_calibrated
    written = [write for write in odd_bus.writes[before:] if write.register not in RUNNING]
    assert {sts3215.P_GAIN.name, sts3215.OVERLOAD_TORQUE.name} <= {write.register for write in written}
    assert [write for write in written if _changes(write, held)] == []


def test_what_segue_configured_survives_power(odd_bus: FeetechBus, folder: Path) -> None:
    """After the power was gone LeRobot still finds the settings that Segue wrote."""
    with connected(segue_arm(odd_bus, CALIBRATION)):
        pass
    for servo in odd_bus.line.servos:
        servo.power_cycle()
    held = _held(odd_bus, [each for each in sts3215.REGISTERS.values() if each.eeprom])
    before = len(odd_bus.writes)
    with connected(lerobot_arm(odd_bus, folder)):
        pass
    assert [write for write in odd_bus.writes[before:] if _changes(write, held)] == []


def test_segue_takes_over_an_arm_that_lerobot_holds(bus: FeetechBus, folder: Path) -> None:
    """An arm that LeRobot left holding is taken over without a servo losing its torque for a moment."""
    theirs = lerobot_arm(bus, folder)
    assert isinstance(theirs.config, SO101FollowerConfig)
    theirs.config.disable_torque_on_disconnect = False
    with connected(theirs):
        pass
    before = len(bus.writes)
    with connected(segue_arm(bus, CALIBRATION)):
        since = bus.writes[before:]
        assert all(servo.torque for servo in bus.line.servos)
    switched = [write for write in since if write.register == sts3215.TORQUE_ENABLE.name]
    assert [write for write in switched if write.value != 1] == []


def _held(bus: FeetechBus, registers: Iterable[Register]) -> Held:
    return {(servo.id, each.name): servo.get(each) for each in registers for servo in bus.line.servos}


def _changes(write: Write, held: Held) -> bool:
    return held.get((write.servo, write.register), write.value) != write.value
