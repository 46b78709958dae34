"""A calibration by hand: what it finds, what it refuses, and what it leaves behind when it is broken off."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.errors import RobotFault
from segue.robots import sts3215
from segue.robots.calibration import JOINT_IDS, MotorCalibration, checked_calibration
from segue.robots.calibration_registers import read_registers
from segue.robots.so101_torque import LOWERING_NS
from segue.testing.servo import Servo
from segue.testing.servo_overlap import Overlap
from segue.testing.servo_shaft import FreeShaft
from segue.tools import calibrate
from segue.tools.calibrate import MIDDLE, calibrated, middle_offset, write_calibration
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


def counting_beyond_a_turn(raw: int, *names: str, keeps_count: bool = False) -> Arm:
    """Returns an arm of which some servos, or all, count beyond a turn and are at `raw` by their count."""
    arm = Arm()
    for servo in arm.line.servos:
        if servo.name in (names or JOINT_IDS):
            servo.keeps_count = keeps_count
            servo.set(sts3215.PHASE, servo.get(sts3215.PHASE) | sts3215.MULTI_TURN)
            servo.set(sts3215.HOMING_OFFSET, 0)
            arm.push(servo.name, raw - servo.present())
    return arm


@pytest.mark.parametrize("raw", [6000, 9000, -3000, -1, 4096, 32767, -32767])
def test_a_servo_that_counts_beyond_a_turn_gets_its_true_middle(raw: int) -> None:
    """The bit is cleared before anything is read, for good; middle and limits are as of any servo."""
    arm = counting_beyond_a_turn(raw)
    with calibrated(arm.bus, Script(arm, hands(arm))) as found:
        pass
    for name, (down, up) in WAYS.items():
        offset = min(raw % 4096 - MIDDLE, 2047)
        middle = raw % 4096 - offset
        expected = MotorCalibration(JOINT_IDS[name], 0, offset, middle - down, middle + up)
        assert found[name] == expected
    for servo in arm.line.servos:
        servo.power_cycle()
        assert servo.get(sts3215.PHASE) == 12
    assert read_registers(arm.bus, JOINT_IDS) == found


def test_of_phase_one_bit_is_changed_and_only_where_it_is_set() -> None:
    """The other bits say how a servo is built; one without the bit is not written to."""
    arm = counting_beyond_a_turn(6000, "elbow_flex")
    arm.line.servo("elbow_flex").set(sts3215.PHASE, 0xFF)
    arm.line.writes.clear()
    with calibrated(arm.bus, Script(arm, hands(arm))):
        pass
    written = [(each.servo, each.value) for each in arm.line.writes if each.register == "Phase"]
    assert written == [(3, 0xEF)]
    assert [each.get(sts3215.PHASE) for each in arm.line.servos] == [12, 12, 0xEF, 12, 12, 12]


def test_the_bit_is_cleared_before_the_first_position_is_read() -> None:
    """Nobody is asked to move an arm whose numbers would be worth nothing."""
    arm = counting_beyond_a_turn(6000)
    person = Script(arm, hands(arm), {"1 of 2": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt), calibrated(arm.bus, person):
        pass
    assert [each.get(sts3215.PHASE) for each in arm.line.servos] == [12] * 6


@pytest.mark.parametrize("moment", ["1 of 2", "block"])
def test_broken_off_a_servo_counts_within_a_turn_all_the_same(moment: str) -> None:
    """All else is as it was; who counted beyond a turn is named, because that is not given back."""
    arm = counting_beyond_a_turn(6000, "elbow_flex")
    before = [bytes(each.memory[k] for k in EEPROM if k != 18) for each in arm.line.servos]
    person = Script(arm, hands(arm), {"1 of 2": KeyboardInterrupt()} if moment == "1 of 2" else None)
    with pytest.raises(KeyboardInterrupt), calibrated(arm.bus, person):
        raise KeyboardInterrupt
    for servo in arm.line.servos:
        servo.power_cycle()
    assert [bytes(each.memory[k] for k in EEPROM if k != 18) for each in arm.line.servos] == before
    assert [each.get(sts3215.PHASE) for each in arm.line.servos] == [12] * 6
    assert person.said[-1] == (
        "broken off; the servos hold the calibration that they held before, and torque is off; "
        "elbow_flex counted beyond one turn before and does no more"
    )


def test_a_servo_that_still_counts_its_turns_has_to_be_switched_off() -> None:
    """Before anybody moves the arm it is said, with the remedy, after which the calibration succeeds."""
    arm = counting_beyond_a_turn(6000, "elbow_flex", keeps_count=True)
    person = Script(arm, hands(arm))
    with (
        pytest.raises(RobotFault, match=r"elbow_flex \(servo 3\) is at 6000, beyond one turn: .* off and on"),
        calibrated(arm.bus, person),
    ):
        pass
    assert not any("Step 1" in text for text in person.said)
    for servo in arm.line.servos:
        servo.power_cycle()
    with calibrated(arm.bus, Script(arm, hands(arm))) as found:
        pass
    assert found["elbow_flex"].homing_offset == 6000 % 4096 - MIDDLE


def test_a_known_calibration_is_written_to_servos_that_then_count_within_a_turn() -> None:
    """`--write_calibration` leaves no servo behind that a run would refuse."""
    arm = counting_beyond_a_turn(6000)
    known = {name: MotorCalibration(servo, 0, servo, 900, 3000) for name, servo in JOINT_IDS.items()}
    write_calibration(arm.bus, Script(arm, iter(())), known)
    assert [each.get(sts3215.PHASE) for each in arm.line.servos] == [12] * 6
    assert read_registers(arm.bus, JOINT_IDS) == known
    arm = counting_beyond_a_turn(9000, "gripper", keeps_count=True)
    before = read_registers(arm.bus, JOINT_IDS)
    with pytest.raises(RobotFault, match=r"gripper \(servo 6\) is at \d+, beyond one turn"):
        write_calibration(arm.bus, Script(arm, iter(())), known)
    assert read_registers(arm.bus, JOINT_IDS) == before


def test_every_position_of_a_turn_has_an_offset_that_makes_it_the_middle() -> None:
    """To the count, but for the last position, which is one more than the register can say."""
    middles = {at - middle_offset(at) for at in range(4096)}
    assert middles == {MIDDLE, MIDDLE + 1}
    assert [at for at in range(4096) if at - middle_offset(at) != MIDDLE] == [4095]
    assert all(sts3215.HOMING_OFFSET.encode(middle_offset(at)) for at in range(4096))


@st.composite
def any_servo(draw: st.DrawFn) -> dict[sts3215.Register, int]:
    """Draws what a servo may hold after whoever had it before."""
    return {
        sts3215.PHASE: draw(st.integers(0, 255)),
        sts3215.OPERATING_MODE: draw(st.integers(0, 3)),
        sts3215.HOMING_OFFSET: draw(st.integers(-2047, 2047)),
        sts3215.MIN_POSITION: draw(st.integers(0, 0xFFFF)),
        sts3215.MAX_POSITION: draw(st.integers(0, 0xFFFF)),
        sts3215.LOCK: draw(st.integers(0, 1)),
    }


@settings(max_examples=60, deadline=None)
@given(
    held=st.lists(any_servo(), min_size=6, max_size=6),
    raws=st.lists(st.integers(-32767, 32767), min_size=6, max_size=6),
    ways=st.lists(st.tuples(st.integers(0, 2100), st.integers(200, 2100)), min_size=5, max_size=5),
    keeps_count=st.booleans(),
)
def test_whatever_the_servos_hold_the_result_is_right_or_nothing_is_kept(
    held: list[dict[sts3215.Register, int]],
    raws: list[int],
    ways: list[tuple[int, int]],
    keeps_count: bool,
) -> None:
    """From any registers, any position and any way: a true middle and limits that are read again, or 74."""
    arm = Arm()
    for servo, registers, raw in zip(arm.line.servos, held, raws, strict=True):
        servo.keeps_count = keeps_count
        for register, value in registers.items():
            servo.set(register, value)
        servo.shaft.push(raw - servo.shaft.position)
    before = [bytes(each.memory[k] for k in (*EEPROM, 55) if k != 18) for each in arm.line.servos]
    sweeps = dict(zip(WAYS, ways, strict=True))
    person = Script(arm, from_stop_to_stop(arm.push, sweeps, step=400))
    with suppress(RobotFault), calibrated(arm.bus, person) as found:
        pass
    if "broken off" in person.said[-1]:
        assert [bytes(each.memory[k] for k in (*EEPROM, 55) if k != 18) for each in arm.line.servos] == before
        assert keeps_count or max(map(max, ways)) > MIDDLE
        return
    assert checked_calibration("found", {name: asdict(each) for name, each in found.items()}) == found
    for servo, raw in zip(arm.line.servos, raws, strict=True):
        each = found[servo.name]
        middle = (raw - each.homing_offset) % 4096
        assert middle == MIDDLE + (raw % 4096 == 4095)
        if servo.name in sweeps:
            down, up = sweeps[servo.name]
            assert (each.range_min, each.range_max) == (middle - down, middle + up)


def test_what_the_reader_of_files_would_refuse_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the hand did, numbers that a run would not take reach neither servos nor file."""
    monkeypatch.setattr(calibrate, "LEAST_RANGE", 100)  # of the hand less is asked than of a file
    arm = Arm()
    before = arm.memories()
    person = Script(arm, from_stop_to_stop(arm.push, {**WAYS, "gripper": (60, 60)}))
    with (
        pytest.raises(
            RobotFault, match=r"gripper: range_min=1987 and range_max=2107; .* nothing of it is kept"
        ),
        calibrated(arm.bus, person),
    ):
        pytest.fail("it was kept")
    assert arm.memories() == before
    assert all(each.value != 1987 for each in arm.line.writes)


def test_a_way_that_no_joint_has_is_told() -> None:
    """A joint that turned without its stops is kept, with a word of doubt."""
    arm = Arm()
    person = Script(arm, from_stop_to_stop(arm.push, {**WAYS, "elbow_flex": (2000, 2000)}))
    with calibrated(arm.bus, person) as found:
        pass
    assert (found["elbow_flex"].range_min, found["elbow_flex"].range_max) == (47, 4047)
    (doubt,) = [text for text in person.said if "apart" in text]
    assert doubt.startswith("elbow_flex: range_min=47 and range_max=4047 are 352° apart")
    write_calibration(arm.bus, person, found)
    assert person.said[-1] == doubt


@pytest.mark.parametrize("how", Overlap)
def test_servos_of_one_id_are_not_calibrated(how: Overlap) -> None:
    """Nobody is asked for anything, and nothing is written to either of them."""
    arm = Arm()
    arm.line.servos.append(Servo("another", 3, FreeShaft(1234.0)))
    arm.line.faults.overlap = how
    person = Script(arm, hands(arm))
    known = {name: MotorCalibration(servo, 0, 0, 900, 3000) for name, servo in JOINT_IDS.items()}
    with (
        pytest.raises(RobotFault, match=r"two servos answer to id 3 \(elbow_flex\)"),
        calibrated(arm.bus, person),
    ):
        pass
    with pytest.raises(RobotFault, match=r"two servos answer to id 3 \(elbow_flex\)"):
        write_calibration(arm.bus, person, known)
    assert (person.said, list(arm.line.writes)) == ([], [])


def test_an_arm_on_a_wrong_supply_is_not_calibrated() -> None:
    """The same is asked of it as before a run."""
    arm = Arm()
    for servo in arm.line.servos:
        servo.sense(sts3215.PRESENT_VOLTAGE, 120)
    person = Script(arm, hands(arm))
    with (
        pytest.raises(RobotFault, match=r"get 12\.0 V and may have 8\.0 V at most"),
        calibrated(arm.bus, person),
    ):
        pass
    assert (person.said, list(arm.line.writes)) == ([], [])


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
