"""One servo in each tick is asked whether it still does what it was told."""

from __future__ import annotations

import pytest

from segue.errors import RobotFault
from segue.robots.calibration import JOINT_IDS
from segue.robots.feetech import ServoBus
from segue.robots.so101_health import Health
from segue.robots.so101_lookback import LookBack, Witness
from segue.robots.sts3215 import ACCELERATION, GOAL_POSITION, TORQUE_ENABLE
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo_arm import so101_servos
from segue.testing.servo_line import ServoLine

SERVOS = tuple(JOINT_IDS.values())


class Turn:
    """Servos that do what they were told, and who looks back at them."""

    def __init__(self) -> None:
        self.line = ServoLine(so101_servos())
        self.clock = VirtualClock(1)
        self.bus = ServoBus(DirectPort(self.line, self.clock), self.clock)
        for servo in self.line.servos:
            for register, value in ((TORQUE_ENABLE, 1), (ACCELERATION, 254), (GOAL_POSITION, 2000)):
                servo.set(register, value)
        self.lookback = LookBack(Health(JOINT_IDS), SERVOS, dict.fromkeys(SERVOS, 2000))

    def look(self, count: int = 1) -> None:
        """Looks at the next `count` servos."""
        for _ in range(count):
            self.look_once()

    def look_once(self, witness: Witness = lambda asked: []) -> dict[int, int]:
        """Looks at the next servo, and returns what it was found to have."""
        return self.lookback.look(self.bus, self.clock.now_ns() + 5_000_000, witness)


@pytest.fixture
def turn() -> Turn:
    """Six servos that are well."""
    return Turn()


def test_obedient_servos_are_left_in_peace(turn: Turn) -> None:
    """Where all is as it was told, nothing is counted, and each look costs one question."""
    turn.look(60)
    assert (turn.lookback.lost_goals, turn.bus.counts.questions) == (0, 60)


@pytest.mark.parametrize("servo", SERVOS)
def test_each_has_its_turn_within_six(turn: Turn, servo: int) -> None:
    """Whoever lost its torque is found in at most six looks."""
    turn.look(3)
    turn.line.servo(servo).set(TORQUE_ENABLE, 0)
    with pytest.raises(RobotFault, match=rf"\(servo {servo}\) has lost its torque"):
        turn.look(6)


def test_settings_of_the_factory_tell_of_lost_power(turn: Turn) -> None:
    """Torque alone says nothing: a servo may have come back with it."""
    turn.line.servo(2).set(ACCELERATION, 0)
    with pytest.raises(RobotFault, match=r"shoulder_lift .* has lost its power for a moment"):
        turn.look(6)


def test_one_stray_goal_is_counted_and_two_in_a_row_are_a_fault(turn: Turn) -> None:
    """A goal that was mended in between is forgiven."""
    servo = turn.line.servo(4)
    servo.set(GOAL_POSITION, 1)
    turn.look(6)
    servo.set(GOAL_POSITION, 2000)
    turn.look(6)
    servo.set(GOAL_POSITION, 1)
    turn.look(6)
    assert turn.lookback.lost_goals == 2
    with pytest.raises(RobotFault, match=r"wrist_flex \(servo 4\) does not take its goals"):
        turn.look(6)


def test_a_servo_that_is_goals_behind_is_late_and_no_stranger(turn: Turn) -> None:
    """On a line that loses many goals a servo has an old one at every look, and the run goes on."""
    for goal in range(2001, 2061):
        turn.line.servo(4).set(GOAL_POSITION, goal - 10)
        for servo in (1, 2, 3, 5, 6):
            turn.line.servo(servo).set(GOAL_POSITION, goal)
        turn.lookback.note_sent(dict.fromkeys(SERVOS, goal))
        turn.look()
    assert turn.lookback.lost_goals == 10


def test_a_mute_servo_is_passed_over(turn: Turn) -> None:
    """Who does not answer is asked when its turn comes again; silence is another's business."""
    turn.line.faults.mute = frozenset({1})
    turn.look(12)
    turn.line.faults.mute = frozenset()
    turn.line.servo(1).set(TORQUE_ENABLE, 0)
    with pytest.raises(RobotFault, match=r"\(servo 1\)"):
        turn.look()


def test_what_is_found_is_told(turn: Turn) -> None:
    """The goals of those who were looked at are returned, an older one as it is, a stranger's not."""
    assert turn.look_once() == {1: 2000}
    turn.lookback.note_sent(dict.fromkeys(SERVOS, 2010))
    assert turn.look_once() == {2: 2000}
    turn.line.servo(3).set(GOAL_POSITION, 77)
    assert turn.look_once() == {}


def test_a_witness_is_asked_besides(turn: Turn) -> None:
    """Whom the caller wants to hear answers the same question."""
    assert turn.look_once(lambda asked: [5] if asked == [1] else []) == {1: 2000, 5: 2000}
    assert turn.bus.counts.questions == 1


def test_a_suspect_with_a_strangers_goal_stays_one(turn: Turn) -> None:
    """Who was mute and has a goal that nobody sent is told nothing before that is clear."""
    turn.lookback.suspect([4])
    turn.line.servo(4).set(GOAL_POSITION, 77)
    assert turn.look_once() == {}
    assert 4 not in turn.lookback.trusted(dict.fromkeys(SERVOS, 2000))
    with pytest.raises(RobotFault, match=r"wrist_flex \(servo 4\) does not take its goals"):
        turn.look_once()


def test_ten_looks_without_time_are_enough(turn: Turn) -> None:
    """Where no time is left to look, the caller learns that another way has to be found."""
    for _ in range(10):
        assert not turn.lookback.starved
        turn.lookback.look(turn.bus, turn.clock.now_ns())
    assert turn.lookback.starved
    turn.look()
    assert not turn.lookback.starved
