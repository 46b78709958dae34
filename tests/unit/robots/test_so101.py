"""The arm gets torque only when all agrees, is driven only while all is well, and is never dropped."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from segue.core.specs import CameraSpec, Kind
from segue.errors import ConfigError, LocalProtocolError, RobotFault, SafetyLatch
from segue.robots import so101_model, sts3215
from segue.robots.calibration import JOINT_IDS
from segue.robots.so101 import SO101, SO101Config
from segue.robots.so101_units import ArmUnits
from segue.robots.sts3215 import GOAL_POSITION, LOCK, TORQUE_ENABLE, Status
from segue.testing.conformance import check_robot
from segue.testing.servo_arm import default_calibration
from tests.unit.robots.emulated_arm import FILE, TICK_NS, Bench, bench, resting

MS = 1_000_000


def connected(made: Bench | None = None) -> Bench:
    """Returns an arm that was connected and read once."""
    made = made or bench()
    made.arm.connect()
    made.tick()
    return made


def test_the_spec_speaks_as_the_simulated_arm_does() -> None:
    """Names, units, kinds and order are those of the simulation, so that one policy drives both."""
    cameras = (CameraSpec("top", 480, 640),)
    config = SO101Config("/dev/ttyACM0", ArmUnits(default_calibration()), cameras=cameras)
    spec = SO101(config).spec
    simulated = so101_model.dimensions()
    assert [(d.name, d.unit, d.kind) for d in spec.action.dimensions] == [
        (d.name, d.unit, Kind.POSITION) for d in simulated
    ]
    assert spec.observation.state == spec.action.dimensions
    assert spec.observation.cameras == cameras
    assert spec.robot_type == "so101_follower"
    assert spec.action.array("max_speed") == pytest.approx([d.max_speed for d in simulated])


def test_it_is_a_robot_like_any_other() -> None:
    """The arm keeps what every robot promises, in each unit."""
    for use_degrees in (True, False):
        # Each tick costs two milliseconds of bus, which is all the time that passes here.
        check_robot(bench(use_degrees=use_degrees).arm, settle_ticks=200)


def test_connecting_holds_the_arm_where_it_is() -> None:
    """Torque and lock are on, every goal is where its joint was, and nothing moved."""
    made = bench()
    before = made.positions()
    made.arm.connect()
    made.wait(1)
    assert made.torque == [1] * 6
    assert made.every(LOCK) == [1] * 6
    assert made.goals() == before == made.positions()


def test_goals_come_before_torque() -> None:
    """No servo is told to hold before its goal has been written and read back."""
    made = bench()
    for servo in made.line.servos:
        servo.set(GOAL_POSITION, 17)
    made.arm.connect()
    orders = [
        each.register for each in made.line.writes if each.register in ("Goal_Position", "Torque_Enable")
    ]
    assert orders[:6] == ["Goal_Position"] * 6
    assert min(made.written(GOAL_POSITION)) > 17


def test_a_second_connect_changes_nothing() -> None:
    """An arm that is connected is not connected again."""
    made = connected()
    count = len(made.line.writes)
    made.arm.connect()
    assert len(made.line.writes) == count


def test_an_arm_of_lerobot_costs_no_eeprom() -> None:
    """Where all settings are LeRobot's already nothing is written into the memory that wears out."""
    made = connected()
    made.arm.disconnect()
    made.line.writes.clear()
    again = bench(of=made)
    again.arm.connect()
    kept = {r.name for r in sts3215.REGISTERS.values() if r.eeprom} | {"Maximum_Acceleration"}
    assert not kept & {write.register for write in made.line.writes}


def test_positions_are_read_in_the_units_asked_for() -> None:
    """The rest pose of the simulation comes out in degrees, and in percent of the range where asked."""
    degrees = connected().arm.read(0).state
    assert degrees == pytest.approx(so101_model.REST_POSE, abs=0.2)
    normalized = connected(bench(use_degrees=False)).arm.read(0).state
    dimensions = so101_model.dimensions()
    expected = [100 * value / d.high for value, d in zip(so101_model.REST_POSE[:5], dimensions, strict=False)]
    assert normalized[:4] == pytest.approx(expected[:4], abs=0.3)
    assert normalized[5] == pytest.approx(20, abs=0.2)


def test_a_target_reaches_the_servos_within_its_limits() -> None:
    """The arm goes where it is told, and what lies beyond a limit is cut to it and said so."""
    made = connected()
    target = so101_model.REST_POSE + np.array([10, 5, -5, 5, 20, 30])
    assert made.go(target) == pytest.approx(target)
    made.wait(1)
    assert made.arm.read(0).state == pytest.approx(target, abs=0.2)
    for far, end in ((np.full(6, 1e6), "high"), (np.full(6, -1e6), "low")):
        assert made.go(far) == pytest.approx(made.arm.spec.action.array(end))
        limit = "range_max" if end == "high" else "range_min"
        assert made.goals() == [getattr(joint, limit) for joint in default_calibration().values()]


@pytest.mark.parametrize("wrong", [np.zeros(5), np.zeros(7), np.array([0, 0, np.nan, 0, 0, 0.0])])
def test_a_target_that_is_none_never_reaches_the_servos(wrong: np.ndarray) -> None:
    """A wrong width or a NaN is a bug of the caller's, and no goal changes."""
    made = connected()
    goals = made.goals()
    with pytest.raises(LocalProtocolError):
        made.arm.write(wrong, 0)
    assert made.goals() == goals


def test_unconnected_it_says_so() -> None:
    """Reading and writing before `connect` and after `disconnect` are faults, disconnecting is none."""
    made = bench()
    for _ in range(2):
        with pytest.raises(RobotFault, match="not connected"):
            made.arm.read(0)
        with pytest.raises(RobotFault, match="not connected"):
            made.arm.write(np.zeros(6), 0)
        made.arm.connect()
        made.arm.disconnect()
        made.arm.disconnect()


def test_a_tick_takes_three_milliseconds_at_most() -> None:
    """Reading and writing cost what their bytes cost on the wire, and no more."""
    made = connected()
    began_ns = made.clock.now_ns()
    made.tick(0)
    made.arm.write(made.arm.read(0).state, 0)
    assert made.clock.now_ns() - began_ns <= 2 * MS


def test_a_lost_answer_is_asked_for_within_the_tick() -> None:
    """Lost and garbled answers are mended by a retry, and the state is of this tick."""
    made = connected()
    for fault in ("lose_replies", "garble_replies"):
        setattr(made.line.faults, fault, 2)
        began_ns = made.clock.now_ns()
        state = made.arm.read(0)
        assert state.captured_ns == began_ns
        assert made.clock.now_ns() - began_ns <= 7 * MS
    summary = made.arm.summary()
    assert summary["bus_retries"] >= 2
    assert summary["bus_missed_ticks"] == 0


def test_a_missed_tick_goes_on_with_the_last_state() -> None:
    """While a servo is mute the last state is returned, with the time at which it was taken."""
    made = connected()
    good = made.arm.read(0)
    made.wait(0.01)
    made.line.faults.mute = frozenset({3})
    began_ns = made.clock.now_ns()
    last = made.arm.read(0)
    assert made.clock.now_ns() - began_ns <= 0.65 * TICK_NS
    assert (last.state == good.state).all()
    assert last.captured_ns == good.captured_ns
    assert made.arm.summary()["bus_missed_ticks"] == 1
    made.arm.write(good.state, 0)
    made.line.faults.mute = frozenset()
    made.wait(0.01)
    again = made.arm.read(0)
    assert again.captured_ns is not None
    assert again.captured_ns > (good.captured_ns or 0)


def test_a_line_with_gaps_is_told_of_in_the_end() -> None:
    """A person learns how many ticks went without an answer, so that a loose cable is looked for."""
    made = connected()
    made.line.faults.mute = frozenset({3})
    made.tick(3)
    made.line.faults.mute = frozenset()
    made.arm.disconnect()
    gaps, _ = made.arm.notes()
    assert re.match(r"servos were mute in 3 ticks \(\d questions repeated\); look at the cables", gaps)


def test_two_hundred_milliseconds_of_silence_are_a_fault() -> None:
    """A servo that stays mute is named after 200 ms and at most two ticks, and no goal is sent any more."""
    made = connected()
    made.line.faults.mute = frozenset({3})
    began_ns = made.clock.now_ns()
    with pytest.raises(RobotFault, match=r"elbow_flex \(servo 3\) for 2\d\d ms"):
        made.tick(100)
    assert 190 * MS <= made.clock.now_ns() - began_ns <= 200 * MS + 2 * TICK_NS
    made.line.faults.mute = frozenset()
    goals = made.goals()
    with pytest.raises(RobotFault, match="elbow_flex"):
        made.arm.write(np.zeros(6), 0)
    assert made.goals() == goals
    assert made.torque == [1] * 6


@pytest.mark.parametrize(
    ("bit", "words"),
    [
        (Status.OVERLOADED, "overloaded"),
        (Status.OVERHEATED, "too hot"),
        (Status.OVERCURRENT, "current too high"),
        (Status.ANGLE_SENSOR, "angle sensor failed"),
    ],
)
def test_a_servo_in_danger_latches_at_the_next_tick(bit: Status, words: str) -> None:
    """A danger bit ends the run with 80 and the joint's name, seen once or not."""
    made = connected()
    made.line.servo("wrist_flex").injected = bit
    with pytest.raises(SafetyLatch, match=rf"wrist_flex \(servo 4\) is {words}") as latched:
        made.tick()
    assert latched.value.exit_code == 80


def test_a_sleep_of_the_computer_is_no_silence_of_the_servos() -> None:
    """A servo that missed one answer just before the sleep has its 200 ms anew after it."""
    made = connected()
    made.line.faults.mute = frozenset({3})
    made.tick(5)
    made.clock.suspend(15_000 * MS)
    made.arm.slept()
    made.tick(2)
    made.line.faults.mute = frozenset()
    made.tick(3)
    made.line.faults.mute = frozenset({3})
    with pytest.raises(RobotFault, match="elbow_flex"):
        made.tick(25)


def test_an_arm_that_is_not_connected_need_not_know_of_a_sleep() -> None:
    """Before `connect` there is nothing to forget."""
    bench().arm.slept()


def test_danger_is_seen_even_where_another_servo_is_mute() -> None:
    """A missed tick does not hide what the others say."""
    made = connected()
    made.line.faults.mute = frozenset({1})
    made.line.servo("gripper").injected = Status.OVERLOADED
    with pytest.raises(SafetyLatch, match="gripper"):
        made.tick()


def test_a_low_voltage_is_told_once_and_the_arm_goes_on() -> None:
    """A dip of the supply is a note, told again only after it was well in between."""
    made = connected()
    servo = made.line.servo("elbow_flex")
    for _ in range(2):
        for _ in range(20):  # it flickers
            servo.sense(sts3215.PRESENT_VOLTAGE, 38)
            made.tick(2)
            servo.heal()
            made.tick(2)
        assert made.arm.notes() == ["elbow_flex (servo 3): voltage out of range, 3.8 V"]
        made.tick(510)
    assert made.arm.notes() == []
    assert made.arm.summary()["lowest_voltage_mv"] == 3800


def test_a_servo_that_lost_its_torque_is_noticed_within_six_ticks() -> None:
    """Whatever took a servo's torque away, the run ends with the joint's name before a seventh tick."""
    for name in JOINT_IDS:
        made = connected()
        made.line.servo(name).memory[TORQUE_ENABLE.address] = 0
        with pytest.raises(RobotFault, match=f"{name} .* has lost its torque"):
            made.tick(6)


def test_a_servo_that_was_without_power_is_noticed_within_six_ticks() -> None:
    """A servo that came back with torque is not driven on: its settings tell that it was away."""
    made = connected()
    made.line.servo("shoulder_lift").power_cycle()
    made.line.servo("shoulder_lift").memory[TORQUE_ENABLE.address] = 1
    with pytest.raises(RobotFault, match=r"shoulder_lift .* has lost its power for a moment"):
        made.tick(6)


def test_lost_goals_are_mended_and_counted() -> None:
    """A goal that nobody heard is followed by the next one, and the run goes on."""
    made = connected()
    target = so101_model.REST_POSE.copy()
    for step in range(60):
        made.line.faults.lose_requests = int(step == 20)
        target[0] += 0.5
        made.arm.write(target, 0)
        made.tick()
    assert made.arm.summary()["bus_lost_goals"] <= 1
    assert made.arm.read(0).state[0] == pytest.approx(target[0], abs=1)


def test_a_servo_that_takes_no_goals_is_a_fault() -> None:
    """A servo whose goal is another than the one that was sent, twice in a row, is named."""
    made = connected()
    servo = made.line.servo("wrist_roll")
    with pytest.raises(RobotFault, match=r"wrist_roll \(servo 5\) does not take its goals: it has 99"):
        made.tick(20, lambda: servo.set(GOAL_POSITION, 99))


def test_a_pulled_plug_is_a_fault_at_once_and_never_raises_in_the_end() -> None:
    """The next tick says that the torque state is unknown; disconnecting says it again and is done."""
    made = connected()
    made.line.faults.unplugged = True
    with pytest.raises(RobotFault, match="torque state is unknown"):
        made.tick()
    with pytest.raises(RobotFault, match="torque state is unknown"):
        made.arm.write(np.zeros(6), 0)
    made.arm.disconnect()
    (note,) = made.arm.notes()
    assert "torque state is unknown" in note
    assert "segue release --robot.port=/dev/ttyACM0" in note
    assert made.torque == [1] * 6


def test_an_arm_at_rest_is_let_go_gently() -> None:
    """Back where it lay, the arm loses its torque over half a second, and has all of it for the next run."""
    made = connected()
    made.go(so101_model.REST_POSE + 5.0)
    rest = made.arm.rest_pose
    assert rest is not None
    made.go(rest)
    began_ns = made.clock.now_ns()
    made.arm.disconnect()
    assert 0.4e9 < made.clock.now_ns() - began_ns < 1e9
    assert made.torque == [0] * 6
    limits = made.written(sts3215.TORQUE_LIMIT)
    assert len(set(limits)) > 10
    assert made.every(sts3215.TORQUE_LIMIT) == made.every(sts3215.MAX_TORQUE)
    assert made.arm.notes() == ["torque is off, the arm is at rest"]


def test_an_arm_that_is_not_at_rest_is_left_holding() -> None:
    """Cut off in mid-air the arm keeps its torque, and the words say how to free it."""
    made = connected()
    made.go(so101_model.REST_POSE + np.array([0, 20, 0, 0, 0, 0]))
    made.arm.disconnect()
    assert made.torque == [1] * 6
    (note,) = made.arm.notes()
    assert "shoulder_lift is not at the rest pose" in note
    assert "segue release --robot.port=/dev/ttyACM0" in note


def test_an_open_gripper_keeps_nobody_from_letting_go() -> None:
    """The gripper cannot fall, so the arm is let go whatever it holds."""
    made = connected()
    made.go(so101_model.REST_POSE + np.array([0, 0, 0, 0, 0, 60]))
    made.arm.disconnect()
    assert made.torque == [0] * 6


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (resting(disable_torque_on_disconnect=False), "disable_torque_on_disconnect=false"),
        (resting(return_to_initial_position=False), "nobody said where the arm lies safely"),
    ],
)
def test_torque_stays_where_that_is_asked_for_or_nothing_is_known(config: SO101Config, says: str) -> None:
    """Torque stays on at the rest pose, too, when told so or when no rest pose is known to be safe."""
    made = connected(bench(config))
    made.arm.disconnect()
    assert made.torque == [1] * 6
    (note,) = made.arm.notes()
    assert says in note


def test_the_rest_pose_is_the_one_configured_else_where_the_arm_was() -> None:
    """A park pose wins; without one the arm goes back, or stays where it is."""
    pose = dict(zip(JOINT_IDS, (1.0, -70.0, 60.0, 60.0, 2.0, 10.0), strict=True))
    assert connected(bench(resting(park_pose=pose))).arm.rest_pose == pytest.approx(list(pose.values()))
    made = connected()
    began = made.arm.read(0).state
    made.go(began + 3)
    assert made.arm.rest_pose == pytest.approx(began)
    assert connected(bench(resting(return_to_initial_position=False))).arm.rest_pose is None


def test_an_arm_that_was_left_holding_is_taken_over_without_dropping() -> None:
    """Torque is never off in between, the arm does not move, and in the end it is left holding again."""
    made = connected()
    made.go(so101_model.REST_POSE + 10.0)
    made.line.writes.clear()
    before = made.positions()
    again = connected(bench(of=made))
    assert made.written(TORQUE_ENABLE) == []
    assert again.torque == [1] * 6
    assert again.positions() == before
    again.arm.disconnect()
    assert again.torque == [1] * 6


def refuse(made: Bench, kind: type[Exception], match: str) -> None:
    """Makes sure that connecting is refused, with no torque and no motion."""
    before, torque = made.positions(), made.torque
    with pytest.raises(kind, match=match):
        made.arm.connect()
    made.wait(1)
    assert made.torque == torque
    assert made.positions() == before
    with pytest.raises(RobotFault, match="not connected"):
        made.arm.read(0)


def test_a_missing_servo_is_named_with_what_answers_instead() -> None:
    """Joint and id of the missing servo are said, and the id that answers in its place."""
    made = bench()
    made.line.servo("elbow_flex").set(sts3215.ID, 9)
    refuse(made, RobotFault, r"no answer from elbow_flex \(servo 3\); instead there is servo 9")


def test_a_silent_bus_points_at_the_power_supply() -> None:
    """Where nobody answers the power supply is asked for."""
    made = bench()
    made.line.faults.mute = frozenset(JOINT_IDS.values())
    refuse(made, RobotFault, "no servo answers; is the arm's power supply")


def test_another_kind_of_servo_is_refused() -> None:
    """A servo of another model is named with its number."""
    made = bench()
    made.line.servo("gripper").set(sts3215.MODEL, 1284)
    refuse(made, RobotFault, r"gripper \(servo 6\) is of model 1284, expected 777")


def test_another_arms_calibration_is_refused() -> None:
    """Where the servos hold other numbers the file and each difference are named, and torque stays off."""
    made = bench()
    made.line.servo("elbow_flex").set(sts3215.HOMING_OFFSET, 5)
    refuse(made, ConfigError, re.escape(FILE) + r".*elbow_flex homing_offset 5, not 1104.*another arm")


def test_another_calibration_is_written_when_asked_for() -> None:
    """With write_calibration the servos take the file's numbers, and the arm connects."""
    made = bench(replace(resting(), write_calibration=True))
    made.line.servo("elbow_flex").set(sts3215.MIN_POSITION, 900)
    made.arm.connect()
    expected = default_calibration()["elbow_flex"].range_min
    assert made.line.servo("elbow_flex").get(sts3215.MIN_POSITION) == expected
    assert made.torque == [1] * 6


def test_a_pose_outside_of_the_calibration_is_refused() -> None:
    """A joint beyond its range is named with the file, and nothing pulls it back."""
    made = bench()
    made.line.servo("shoulder_pan").shaft.push(1400)
    made.wait(0.1)
    refuse(made, ConfigError, re.escape(FILE) + r": shoulder_pan \(servo 1\) is at \d+, outside")


def test_a_servo_in_danger_gets_no_torque() -> None:
    """An arm with an overloaded servo is not powered."""
    made = bench()
    made.line.servo("gripper").injected = Status.OVERHEATED
    made.wait(0.1)
    refuse(made, SafetyLatch, r"gripper \(servo 6\) is too hot")


def test_settings_of_an_arm_that_holds_are_not_touched() -> None:
    """What would have to be written into EEPROM under torque is refused, with what to do."""
    made = connected()
    made.line.servo("elbow_flex").set(sts3215.P_GAIN, 32)
    refuse(bench(of=made), RobotFault, r"elbow_flex P_Coefficient.*`segue release`")


@pytest.mark.parametrize("what", ["lose_replies", "garble_replies", "lose_requests"])
def test_connecting_survives_a_bad_line(what: str) -> None:
    """Two lost packets anywhere in connecting are asked for again."""
    made = bench()
    setattr(made.line.faults, what, 2)
    made.arm.connect()
    assert made.torque == [1] * 6


def cut_after(made: Bench, questions: int, cut: Callable[[], None]) -> None:
    """Calls `cut` once the line has heard that many packets."""
    heard = made.line.feed

    def feed(data: bytes, now_ns: int) -> list[tuple[bytes, int]]:
        if made.line.requests >= questions:
            cut()
        return heard(data, now_ns)

    made.line.feed = feed  # type: ignore[method-assign]


def test_connecting_that_fails_anywhere_leaves_the_arm_as_it_was() -> None:
    """A servo that falls silent after any number of packets ends it without motion, torque off elsewhere."""
    made = bench()
    made.arm.connect()
    packets = made.line.requests
    for count in range(0, packets, 3):
        made = bench()
        before = made.positions()
        line = made.line
        cut_after(made, count, lambda line=line: setattr(line.faults, "mute", frozenset({4})))
        with pytest.raises(RobotFault):
            made.arm.connect()
        made.wait(1)
        assert made.positions() == before
        assert made.torque in ([0] * 6, [0, 0, 0, 1, 0, 0])


def test_an_arm_moved_by_hand_while_it_connects_is_not_held() -> None:
    """A joint that moves between being read and being held ends it, and torque goes off again."""
    made = bench()
    shaft = made.line.servo("elbow_flex").shaft
    turn = shaft.turn

    def pushed(now_ns: int) -> None:
        turn(now_ns)
        if made.written(GOAL_POSITION):
            shaft.position += 50

    shaft.turn = pushed  # type: ignore[method-assign]
    with pytest.raises(RobotFault, match="servo 3 moved while its torque was switched on"):
        made.arm.connect()
    assert made.torque == [0] * 6


def test_a_dry_run_leaves_torque_and_goals_alone() -> None:
    """With dry_run the arm is read, targets are answered within limits, and nothing is written at all."""
    made = connected(bench(replace(resting(), dry_run=True)))
    assert made.arm.write(np.full(6, 1e6), 0) == pytest.approx(made.arm.spec.action.array("high"))
    made.tick(10)
    made.arm.disconnect()
    assert list(made.line.writes) == []
    assert made.arm.notes() == []


@pytest.mark.parametrize("pose", [{}, dict(zip(so101_model.NAMES, so101_model.REST_POSE, strict=True))])
def test_an_arm_that_shall_stay_stays(pose: dict[str, float]) -> None:
    """With return_to_initial_position=false PARK goes nowhere, and the torque stays on."""
    made = bench(resting(return_to_initial_position=False, park_pose=pose))
    made.arm.connect()
    assert made.arm.rest_pose is None
    made.arm.disconnect()
    assert made.torque == [1] * 6
