"""Servos that are not all there, once and rightly supplied are named with the remedy, and left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.errors import ConfigError, RobotFault
from segue.robots import sts3215
from segue.robots.calibration import JOINT_IDS
from segue.robots.feetech import ServoBus
from segue.robots.so101_ready import check_counting, check_ready, check_servos, check_supply, doubles_words
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo import Servo
from segue.testing.servo_arm import default_calibration, so101_servos
from segue.testing.servo_line import ServoLine
from segue.testing.servo_overlap import Overlap
from segue.testing.servo_shaft import FreeShaft


@pytest.fixture
def line() -> ServoLine:
    """An arm on its line."""
    return ServoLine(so101_servos())


@pytest.fixture
def bus(line: ServoLine) -> ServoBus:
    """A bus to it."""
    clock = VirtualClock(1)
    return ServoBus(DirectPort(line, clock), clock)


def supply(line: ServoLine, tenths: int, *names: str) -> None:
    """Supplies some servos, or all of them, with a voltage."""
    for name in names or JOINT_IDS:
        line.servo(name).sense(sts3215.PRESENT_VOLTAGE, tenths)


def test_a_good_arm_tells_what_volts_it_may_have(bus: ServoBus, line: ServoLine) -> None:
    """The limits are each servo's own, and nothing is written."""
    line.servo("gripper").set(sts3215.MAX_VOLTAGE, 140)
    limits = check_ready(bus, JOINT_IDS)
    assert limits == {**dict.fromkeys(range(1, 6), (40, 80)), 6: (40, 140)}
    assert list(line.writes) == []


@pytest.mark.parametrize("tenths", [81, 84, 120, 126, 255])
def test_more_volts_than_a_servo_may_have_are_refused(bus: ServoBus, line: ServoLine, tenths: int) -> None:
    """Joint and id, what it gets, what it may have and the remedy are said, with the code of a fault."""
    supply(line, tenths, "elbow_flex")
    with pytest.raises(RobotFault) as caught:
        check_ready(bus, JOINT_IDS)
    assert str(caught.value) == (
        f"elbow_flex (servo 3) gets {tenths / 10:.1f} V and may have 8.0 V at most: this is the wrong power "
        "supply; support the arm, switch the supply off, and use one that these servos are built for"
    )
    assert caught.value.exit_code == 74
    assert list(line.writes) == []


def test_all_that_get_the_same_are_named_together(bus: ServoBus, line: ServoLine) -> None:
    """Six servos on one wrong supply are one sentence; another limit is said apart."""
    supply(line, 120)
    line.servo("gripper").set(sts3215.MAX_VOLTAGE, 100)
    with pytest.raises(RobotFault) as caught:
        check_supply(bus, JOINT_IDS)
    assert "shoulder_pan (servo 1), shoulder_lift (servo 2), " in str(caught.value)
    assert (
        "wrist_roll (servo 5) get 12.0 V and may have 8.0 V at most; gripper (servo 6) gets 12.0 V and may "
        in str(caught.value)
    )
    assert str(caught.value).count("wrong power supply") == 1


@pytest.mark.parametrize("tenths", [0, 39, 40, 50, 74, 80])
def test_a_limit_itself_and_what_is_below_are_taken(bus: ServoBus, line: ServoLine, tenths: int) -> None:
    """A supply that is too weak moves an arm weakly and burns nothing, so it is told elsewhere."""
    supply(line, tenths)
    assert check_supply(bus, JOINT_IDS)[1] == (40, 80)


def test_one_spike_is_no_supply(bus: ServoBus, line: ServoLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is gone at the second look was a spike."""
    supply(line, 90)
    read_all = bus.read_all
    looks: list[object] = []

    def heals(servos: list[int], register: sts3215.Register) -> dict[int, int]:
        found = read_all(servos, register)
        if register == sts3215.PRESENT_VOLTAGE:
            looks.append(found)
            supply(line, 74)
        return found

    monkeypatch.setattr(bus, "read_all", heals)
    check_supply(bus, JOINT_IDS)
    assert len(looks) == 2


@pytest.mark.parametrize("limit", [0, 1, 59])
def test_a_limit_that_no_factory_sets_is_what_is_wrong(bus: ServoBus, line: ServoLine, limit: int) -> None:
    """The register is named with what belongs into it, instead of a supply that is right."""
    line.servo("wrist_roll").set(sts3215.MAX_VOLTAGE, limit)
    with pytest.raises(
        RobotFault, match=r"wrist_roll .* set its register Max_Voltage_Limit to 80, or to 140"
    ):
        check_supply(bus, JOINT_IDS)


@pytest.mark.parametrize("how", Overlap)
def test_a_servo_that_is_there_twice_is_named_with_the_remedy(
    bus: ServoBus, line: ServoLine, how: Overlap
) -> None:
    """The id, its joint and what to do are said first, however the answers meet."""
    line.servos.append(Servo("another", 3, FreeShaft(1234.0)))
    line.faults.overlap = how
    with pytest.raises(
        RobotFault, match=r"^two servos answer to id 3 \(elbow_flex\): disconnect one .*setup-motors"
    ):
        check_ready(bus, JOINT_IDS)


@pytest.mark.parametrize("how", Overlap)
def test_a_servo_with_anothers_id_is_looked_for_where_one_is_missing(
    bus: ServoBus, line: ServoLine, how: Overlap
) -> None:
    """The joint that is missing is the one to look at."""
    line.servo("wrist_flex").set(sts3215.ID, 3)
    line.faults.overlap = how
    with pytest.raises(RobotFault) as caught:
        check_servos(bus, JOINT_IDS)
    assert str(caught.value).startswith("two servos answer to id 3 (elbow_flex): ")
    assert "wrist_flex (servo 4) does not answer, so look there first" in str(caught.value)


@pytest.mark.parametrize("how", Overlap)
def test_two_strangers_of_one_id_are_found_where_joints_are_missing(
    bus: ServoBus, line: ServoLine, how: Overlap
) -> None:
    """Two servos that were both given id 9 are named, instead of a cable that is good."""
    for name in ("elbow_flex", "wrist_flex"):
        line.servo(name).set(sts3215.ID, 9)
    line.faults.overlap = how
    with pytest.raises(RobotFault) as caught:
        check_servos(bus, JOINT_IDS)
    assert str(caught.value).startswith("at least two servos answer to id 9: ")
    assert "elbow_flex (servo 3), wrist_flex (servo 4) do not answer" in str(caught.value)


def test_a_line_that_garbles_everybody_is_a_bad_line(bus: ServoBus, line: ServoLine) -> None:
    """Six ids are not all there twice: the cables and the supply are named first."""
    line.faults.garble_replies = 10_000
    with pytest.raises(
        RobotFault, match=r"no answer from id 1 \(shoulder_pan\), .* arrives whole: look at the cables"
    ):
        check_servos(bus, JOINT_IDS)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (
            Overlap.IN_TURN,
            r"two servos answer to each of id 1 \(shoulder_pan\), .*: are two arms on this bus\?",
        ),
        (
            Overlap.COLLIDE,
            r"no answer from id 1 .* arrives whole: .*; two arms on one bus, or two servos of one",
        ),
    ],
)
def test_two_arms_on_one_bus_are_thought_of(bus: ServoBus, line: ServoLine, how: Overlap, says: str) -> None:
    """Where every id is there twice nobody is sent to look for a servo with a wrong one."""
    other = {name: replace(each, homing_offset=50) for name, each in default_calibration().items()}
    line.servos += so101_servos(other)
    line.faults.overlap = how
    with pytest.raises(RobotFault, match=says):
        check_ready(bus, JOINT_IDS)


def test_what_is_not_certain_is_said_so() -> None:
    """Garbled answers may come from a bad cable, too."""
    certain, garbled = doubles_words({3: True}, JOINT_IDS), doubles_words({3: False}, JOINT_IDS)
    assert garbled == f"{certain}; if there is only one, look at its cable: its answers arrive garbled"
    assert doubles_words({3: True, 9: True}, JOINT_IDS).startswith(
        "two servos answer to id 3 (elbow_flex) and two to id 9: "
    )


@pytest.mark.parametrize("phase", [16, 28, 92, 255])
def test_a_servo_that_counts_beyond_a_turn_is_refused(bus: ServoBus, line: ServoLine, phase: int) -> None:
    """The file, the joint, the bit and the remedy are said, with the code of a wrong configuration."""
    line.servo("elbow_flex").set(sts3215.PHASE, phase)
    with pytest.raises(ConfigError) as caught:
        check_counting(bus, JOINT_IDS, "blue.json")
    assert str(caught.value).startswith(
        "blue.json: elbow_flex (servo 3) counts beyond one turn (bit 4 of register Phase is set)"
    )
    assert "run `segue calibrate`, which clears the bit" in str(caught.value)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("phase", [0, 12, 44, 76, 255 - 16])
def test_the_other_bits_of_phase_are_the_factorys(bus: ServoBus, line: ServoLine, phase: int) -> None:
    """Whatever they are, the arm is taken and they are left alone."""
    line.servo("elbow_flex").set(sts3215.PHASE, phase)
    check_counting(bus, JOINT_IDS, "blue.json")
    assert line.servo("elbow_flex").get(sts3215.PHASE) == phase
