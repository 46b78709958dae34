"""An arm on a wrong supply, with servos of one id or that count beyond a turn gets no torque, or loses it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from segue.errors import ConfigError, RobotFault, SafetyLatch
from segue.robots import sts3215
from segue.testing.servo import Servo
from segue.testing.servo_arm import default_calibration
from segue.testing.servo_overlap import Overlap
from segue.testing.servo_shaft import FreeShaft
from tests.unit.robots.emulated_arm import FILE, bench, resting
from tests.unit.robots.test_so101 import connected, refuse


def test_too_many_volts_in_mid_run_latch_within_two_ticks() -> None:
    """Whoever plugs in the supply of another arm ends the run with 80 and the volts, and the arm holds."""
    made = connected()
    made.line.servo("wrist_flex").sense(sts3215.PRESENT_VOLTAGE, 121)
    with pytest.raises(
        SafetyLatch, match=r"wrist_flex \(servo 4\) gets 12.1 V and may have 8.0 V"
    ) as latched:
        made.tick(2)
    assert latched.value.exit_code == 80
    assert made.torque == [1] * 6


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_supply_that_is_too_high_gives_no_torque(dry_run: bool) -> None:
    """12 V at servos that may have 8 are refused before anything is written, in a rehearsal, too."""
    made = bench(replace(resting(), dry_run=dry_run))
    for servo in made.line.servos:
        servo.sense(sts3215.PRESENT_VOLTAGE, 120)
    refuse(made, RobotFault, r"gripper \(servo 6\) get 12.0 V and may have 8.0 V at most: this is the wrong")
    assert list(made.line.writes) == []


@pytest.mark.parametrize("settings", [{}, {"dry_run": True}, {"write_calibration": True}])
def test_a_servo_that_counts_beyond_a_turn_gets_no_torque(settings: dict[str, bool]) -> None:
    """Its positions may mean another place than the file's, so it is refused whatever is asked for."""
    made = bench(replace(resting(), **settings))
    servo = made.line.servo("elbow_flex")
    servo.set(sts3215.PHASE, servo.get(sts3215.PHASE) | sts3215.MULTI_TURN)
    refuse(
        made, ConfigError, re.escape(FILE) + r": elbow_flex \(servo 3\) counts beyond one turn .*calibrate"
    )
    assert list(made.line.writes) == []


def test_a_servo_that_still_counts_its_turns_is_to_be_switched_off_and_on() -> None:
    """Where the bit is cleared and the position is beyond a turn all the same, the remedy is the power."""
    made = bench()
    servo = made.line.servo("elbow_flex")
    servo.keeps_count = True
    servo.set(sts3215.PHASE, servo.get(sts3215.PHASE) | sts3215.MULTI_TURN)
    servo.set(sts3215.PHASE, servo.get(sts3215.PHASE) & ~sts3215.MULTI_TURN)
    servo.shaft.push(2 * 4096)
    refuse(
        made,
        ConfigError,
        r"elbow_flex \(servo 3\) is at \d+, beyond one turn: .* switch its power off and on",
    )


@pytest.mark.parametrize("how", Overlap)
def test_a_servo_that_is_there_twice_gets_no_torque(how: Overlap) -> None:
    """Nobody knows which of the two would move; the id and the remedy are named."""
    made = bench()
    made.line.servos.append(Servo("another", 3, FreeShaft(1234.0)))
    made.line.faults.overlap = how
    with pytest.raises(RobotFault, match=r"two servos answer to id 3 \(elbow_flex\): disconnect one of them"):
        made.arm.connect()
    assert list(made.line.writes) == []


def test_a_range_that_no_joint_has_is_told_at_the_start() -> None:
    """A joint that is calibrated to the whole counter is driven, with a word of doubt that names the file."""
    known = default_calibration()
    wide = {**known, "elbow_flex": replace(known["elbow_flex"], range_min=0, range_max=4095)}
    made = bench(calibration=wide)
    for field, value in (("MIN", 0), ("MAX", 4095)):
        made.line.servo("elbow_flex").set(getattr(sts3215, f"{field}_POSITION"), value)
    made.arm.connect()
    (note,) = made.arm.notes()
    assert note.startswith(f"{FILE}: elbow_flex: range_min=0 and range_max=4095 are 360° apart")
    assert made.arm.notes() == []
