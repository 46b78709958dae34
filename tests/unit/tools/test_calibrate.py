"""A calibration by hand: what it finds, what it refuses, and what it leaves behind when it is broken off."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator

import pytest

from segue.errors import RobotFault
from segue.robots import sts3215
from segue.robots.calibration import JOINT_IDS, MotorCalibration
from segue.robots.calibration_registers import read_registers
from segue.robots.so101_torque import LOWERING_NS
from segue.tools.calibrate import MIDDLE, calibrated, write_calibration
from tests.unit.tools.arm_by_hand import WAYS, Arm, Script, from_stop_to_stop, interrupting

EEPROM = range(5, 40)


def hands(arm: Arm) -> Iterator[bool]:
    return from_stop_to_stop(arm.push, WAYS)


def test_the_middle_is_where_the_person_put_it_and_the_limits_are_the_stops() -> None:
    """Offsets make the middle 2047, limits are the ends that were reached, and the servos hold all of it."""
    arm = Arm()
    shafts = {name: arm.line.servo(name).shaft.position for name in JOINT_IDS}
    with calibrated(arm.bus, Script(arm, hands(arm))) as found:
        pass
    for name, (down, up) in WAYS.items():
        # The shaft does not wrap; the servo's counter does.
        offset = round(shafts[name]) % 4096 - MIDDLE
        assert found[name] == MotorCalibration(JOINT_IDS[name], 0, offset, MIDDLE - down, MIDDLE + up), name
    assert (found["wrist_roll"].range_min, found["wrist_roll"].range_max) == (0, 4095)
    assert read_registers(arm.bus, JOINT_IDS) == found


def test_it_survives_power() -> None:
    """What was found is still held after the arm was unplugged, and the locks are as they were."""
    arm = Arm()
    with calibrated(arm.bus, Script(arm, hands(arm))) as found:
        pass
    assert [each.get(sts3215.LOCK) for each in arm.line.servos] == [1] * 6
    for servo in arm.line.servos:
        servo.power_cycle()
    assert read_registers(arm.bus, JOINT_IDS) == found


def test_the_last_count_of_the_counter_has_an_offset() -> None:
    """A joint whose middle is 4095 would need 2048, which the register cannot say; it gets 2047."""
    arm = Arm()
    arm.push("elbow_flex", 4095 - arm.line.servo("elbow_flex").shaft.position % 4096)
    with calibrated(arm.bus, Script(arm, hands(arm))) as found:
        pass
    down, up = WAYS["elbow_flex"]
    assert found["elbow_flex"] == MotorCalibration(3, 0, 2047, 2048 - down, 2048 + up)


def test_a_joint_that_was_not_moved_is_named_and_waited_for() -> None:
    """ENTER too early names the joints that are left, and the calibration goes on."""
    arm = Arm()
    some = {name: WAYS[name] for name in ("shoulder_pan", "elbow_flex", "gripper")}
    rest = {name: way for name, way in WAYS.items() if name not in some}
    touched = {"wrist_flex": (60, 60)}
    parts = (from_stop_to_stop(arm.push, each) for each in (some, touched, rest))
    person = Script(arm, itertools.chain.from_iterable(parts))
    with calibrated(arm.bus, person) as found:
        pass
    refusals = [text for text in person.said if text.startswith("Not moved")]
    assert len(refusals) == 2
    assert all("shoulder_lift, wrist_flex." in each for each in refusals)
    assert all(found[name].range_max - found[name].range_min == sum(way) for name, way in WAYS.items())


def test_the_table_shows_where_every_joint_has_been() -> None:
    """It has the joints that are to be moved, with least, present and most, and which are done."""
    arm = Arm()
    person = Script(arm, hands(arm))
    with calibrated(arm.bus, person):
        pass
    down, up = WAYS["gripper"]
    (gripper,) = (way for way in person.ways if way.joint == "gripper")
    assert (gripper.least, gripper.present, gripper.most) == (MIDDLE - down, MIDDLE, MIDDLE + up)
    assert [way.joint for way in person.ways] == list(WAYS)
    assert all(way.is_moved for way in person.ways)


def test_an_arm_that_holds_itself_is_let_go_only_when_somebody_supports_it() -> None:
    """Torque is cut after the person was asked to hold the arm, and is never switched on."""
    arm = Arm()
    arm.bus.write(2, sts3215.TORQUE_ENABLE, 1)
    person = Script(arm, hands(arm), {"Support it": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt), calibrated(arm.bus, person):
        pass
    assert arm.line.servo(2).torque
    assert not any("broken off" in text for text in person.said)  # nothing had been begun
    arm.line.writes.clear()
    with calibrated(arm.bus, Script(arm, hands(arm)), arm.clock):
        pass
    torque = [(each.servo, each.value) for each in arm.line.writes if each.register == "Torque_Enable"]
    assert torque == [(2, 0)]
    assert not any(write.register == "Goal_Position" for write in arm.line.writes)


def test_an_arm_that_holds_itself_sinks_and_does_not_fall() -> None:
    """Its torque goes down in steps, of all servos at once, and is whole again when it is off."""
    arm = Arm()
    for servo in (2, 3):
        arm.bus.write(servo, sts3215.TORQUE_ENABLE, 1)
    began_ns = arm.clock.now_ns()
    person = Script(arm, hands(arm), {"1 of 2": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt), calibrated(arm.bus, person, arm.clock):
        pass
    assert arm.clock.now_ns() - began_ns >= LOWERING_NS
    limits = [each.value for each in arm.line.writes if (each.servo, each.register) == (3, "Torque_Limit")]
    assert len(set(limits)) > 10
    assert [each.get(sts3215.TORQUE_LIMIT) for each in arm.line.servos] == [1000] * 5 + [500]
    assert [each.torque for each in arm.line.servos] == [False] * 6


def test_a_signal_in_the_middle_of_sinking_breaks_off_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left with an arm that holds itself with next to no strength."""
    arm = Arm()
    arm.bus.write(2, sts3215.TORQUE_ENABLE, 1)
    interrupting(arm.bus, signal.SIGINT, monkeypatch)
    person = Script(arm, hands(arm))
    with pytest.raises(KeyboardInterrupt), calibrated(arm.bus, person, arm.clock):
        pass
    assert not arm.line.servo(2).torque
    assert arm.line.servo(2).get(sts3215.TORQUE_LIMIT) == 1000
    assert not any("Step 1" in text for text in person.said)


def test_a_calibrated_arm_is_in_position_mode() -> None:
    """A servo that was left in wheel mode is put into the mode in which arms are driven."""
    arm = Arm()
    arm.line.servo("wrist_roll").set(sts3215.OPERATING_MODE, 1)
    with calibrated(arm.bus, Script(arm, hands(arm))):
        pass
    assert arm.line.servo("wrist_roll").get(sts3215.OPERATING_MODE) == 0


@pytest.mark.parametrize("moment", ["1 of 2", "moving", "block"])
def test_breaking_off_leaves_the_servos_as_they_were(moment: str) -> None:
    """Whenever the person breaks off, each lasting byte of each servo is that of before, and it is said."""
    arm = Arm()
    arm.line.servo("gripper").set(sts3215.OPERATING_MODE, 1)
    before = [bytes(each.memory[k] for k in EEPROM) for each in arm.line.servos]

    def tired() -> Iterator[bool]:
        for k, pressed in enumerate(hands(arm)):
            if moment == "moving" and k == 50:
                raise KeyboardInterrupt
            yield pressed

    person = Script(arm, tired(), {"1 of 2": KeyboardInterrupt()} if moment == "1 of 2" else None)
    with pytest.raises(KeyboardInterrupt), calibrated(arm.bus, person):
        raise KeyboardInterrupt
    for servo in arm.line.servos:
        servo.power_cycle()
    assert [bytes(each.memory[k] for k in EEPROM) for each in arm.line.servos] == before
    assert person.said[-1] == (
        "broken off; the servos hold the calibration that they held before, and torque is off"
    )
    assert [each.get(sts3215.LOCK) for each in arm.line.servos] == [1] * 6


def test_what_could_not_be_given_back_is_named() -> None:
    """A servo that fell off in the middle is named with what it held, and the others are as they were."""
    arm = Arm()
    before = read_registers(arm.bus, JOINT_IDS)

    def cable_falls_out() -> Iterator[bool]:
        arm.line.faults.mute |= {3}
        yield False

    person = Script(arm, cable_falls_out())
    with pytest.raises(RobotFault, match="servo 3 does not answer"), calibrated(arm.bus, person):
        pass
    arm.line.faults.mute = frozenset()
    after = read_registers(arm.bus, JOINT_IDS)
    assert {name for name in JOINT_IDS if after[name] != before[name]} == {"elbow_flex"}
    held = before["elbow_flex"]
    assert (
        f"new in elbow_flex (before: {held.homing_offset}, {held.range_min}, {held.range_max});"
        in person.said[-1]
    )


def test_a_joint_that_runs_over_its_counter_ends_it() -> None:
    """Whoever began far from the middle is told to begin again, instead of getting a joint without limits."""
    arm = Arm()
    person = Script(arm, from_stop_to_stop(arm.push, {"elbow_flex": (2100, 0)}))
    with (
        pytest.raises(RobotFault, match="elbow_flex went past the end of its counter"),
        calibrated(arm.bus, person),
    ):
        pass
    assert "broken off" in person.said[-1]


@pytest.mark.parametrize(
    ("mute", "says"),
    [
        ({3}, r"no answer from elbow_flex \(servo 3\); .*look at the cable"),
        ({1, 2, 3, 4, 5, 6}, "no servo answers; is the arm's power supply"),
    ],
)
def test_an_arm_that_is_not_all_there_is_not_begun_with(mute: set[int], says: str) -> None:
    """A missing servo is named before anything is asked or written."""
    arm = Arm()
    arm.line.faults.mute |= mute
    person = Script(arm, hands(arm))
    with pytest.raises(RobotFault, match=says), calibrated(arm.bus, person):
        pass
    assert not person.said
    assert not arm.line.writes


def test_a_known_calibration_is_written_whole_or_not_at_all() -> None:
    """All six servos take it, or, when one falls silent in the middle, all keep what they had."""
    known = {name: MotorCalibration(servo, 0, servo, 10 * servo, 4000) for name, servo in JOINT_IDS.items()}
    arm = Arm()
    before = read_registers(arm.bus, JOINT_IDS)
    write_calibration(arm.bus, Script(arm, iter(())), known)
    assert read_registers(arm.bus, JOINT_IDS) == known
    write_calibration(arm.bus, Script(arm, iter(())), before)
    assert read_registers(arm.bus, JOINT_IDS) == before


def test_a_calibration_is_never_written_under_torque() -> None:
    """An arm that holds itself would jump; it is refused with the remedy, and nothing is written."""
    arm = Arm()
    arm.bus.write(5, sts3215.TORQUE_ENABLE, 1)
    arm.line.writes.clear()
    known = read_registers(arm.bus, JOINT_IDS)
    with pytest.raises(RobotFault, match=r"wrist_roll \(servo 5\) has torque.*segue release"):
        write_calibration(arm.bus, Script(arm, iter(())), known)
    assert not arm.line.writes
