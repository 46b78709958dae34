"""What an arm is told by a bad line, a blocked joint or a servo without power is not believed, or latches."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from segue.errors import RobotFault, SafetyLatch
from segue.robots import so101_model
from tests.unit.robots.emulated_arm import TICK_NS, Bench, bench

MS = 1_000_000


def connected() -> Bench:
    """Returns an arm that holds itself where it is."""
    made = bench()
    made.arm.connect()
    return made


def test_an_answer_that_comes_a_tick_late_does_not_pass_for_this_ticks() -> None:
    """On a line that is a tick late no pose is believed: the arm is held after 200 ms, and it is said why."""
    here = bench()
    here.arm.connect()
    here.tick(3)
    seen_ns = here.arm.read(here.clock.now_ns()).captured_ns
    here.line.faults.delay_ns = TICK_NS
    ages = []
    with pytest.raises(RobotFault, match=r"answers take (9|1\d) ms, .* give --control_hz=\d\d or less"):
        here.tick(40, lambda: ages.append(here.arm.read(here.clock.now_ns()).captured_ns))
    assert set(ages) <= {seen_ns}


def test_a_blocked_joint_latches_and_does_not_snap_when_it_comes_free() -> None:
    """A joint that cannot move is sent no goal far beyond it, and after half a second a person must look."""
    made = connected()
    made.line.servo("shoulder_pan").shaft.blocked = True
    start, told = made.positions()[0], []

    def push() -> None:
        told.append(
            made.arm.write(so101_model.REST_POSE + np.array([min(100.0, len(told) * 1.8), 0, 0, 0, 0, 0]), 0)
        )

    with pytest.raises(SafetyLatch, match=r"shoulder_pan \(servo 1\) does not follow"):
        made.tick(200, push)
    assert max(abs(goal - start) for goal in made.goals()[:1]) <= 46 * 4096 / 360
    assert told[-1][0] == pytest.approx(45, abs=1)


def test_a_servo_that_was_mute_is_told_nothing_before_it_was_looked_at() -> None:
    """A servo that was without power for a while stays limp and is found out, never driven back."""
    made = connected()
    servo = made.line.servo("shoulder_lift")
    made.tick(3, partial(made.arm.write, so101_model.REST_POSE, 0))
    made.line.faults.mute = frozenset({2})
    made.tick(3, partial(made.arm.write, so101_model.REST_POSE, 0))
    servo.power_cycle()
    made.line.writes.clear()
    made.tick(2, partial(made.arm.write, so101_model.REST_POSE, 0))
    made.line.faults.mute = frozenset()
    with pytest.raises(RobotFault, match="shoulder_lift"):
        made.tick(3, partial(made.arm.write, so101_model.REST_POSE, 0))
    assert [write for write in made.line.writes if write.servo == 2] == []


def test_a_servo_that_was_mute_and_is_well_goes_on_in_the_same_tick() -> None:
    """A bad moment of the line costs nothing beyond itself."""
    made = connected()
    made.line.faults.mute = frozenset({2})
    made.tick(5, partial(made.arm.write, so101_model.REST_POSE, 0))
    made.line.faults.mute = frozenset()
    made.line.writes.clear()
    made.tick(1, partial(made.arm.write, so101_model.REST_POSE, 0))
    assert {write.servo for write in made.line.writes} == set(range(1, 7))


@pytest.mark.parametrize("delay_ms", [8, 16, 30, 60, 90, 120, 180, 300])
def test_no_pose_is_older_than_it_is_said_to_be(delay_ms: int) -> None:
    """However late all answers are, a pose is never given for younger than it is, and the end is a fault."""
    made = connected()
    moved, faulted = made.line.servo("gripper"), False
    made.tick(3)
    made.line.faults.delay_ns = delay_ms * MS
    seen: list[tuple[int, int]] = []
    for _ in range(60):
        moved.shaft.position += 1  # its count tells when it was measured
        seen.append((made.clock.now_ns(), moved.present()))
        try:
            state = made.arm.read(made.clock.now_ns())
        except RobotFault:
            faulted = True
            break
        count = made.arm.config.units.to_counts(state.state)[6]
        measured_ns = max((at for at, value in seen if abs(value - count) <= 1), default=0)
        assert (state.captured_ns or 0) - measured_ns <= TICK_NS + MS
        made.clock.sleep_until(seen[-1][0] + TICK_NS)
    assert faulted


def test_a_pause_of_this_process_is_no_silence_of_the_servos() -> None:
    """After a stall of ours one lost tick is passed over like any other."""
    made = connected()
    made.tick(2)
    made.wait(0.5)
    made.line.faults.mute = frozenset({3})
    made.tick(1)
    made.line.faults.mute = frozenset()
    made.tick(2)


def test_a_position_that_no_motor_could_reach_is_not_believed() -> None:
    """Noise that passes the checksum moves no joint by a turn: the last pose is kept, with its age."""
    made = connected()
    made.tick(2)
    before = made.arm.read(made.clock.now_ns())
    servo = made.line.servo("wrist_roll")
    here = servo.shaft.position
    made.wait(0.01)
    servo.shaft.position = here + 3000
    wild = made.arm.read(made.clock.now_ns())
    assert (wild.state == before.state).all()
    assert wild.captured_ns == before.captured_ns
    servo.shaft.position = here
    made.wait(0.01)
    assert made.arm.read(made.clock.now_ns()).captured_ns != before.captured_ns


def test_an_adapter_that_leaves_no_time_to_look_back_is_a_fault() -> None:
    """Where answers are so slow that torque could be lost unseen, the run ends and says what to change."""
    made = connected()
    made.line.faults.delay_ns = 5 * MS
    with pytest.raises(RobotFault, match="latency_timer"):
        made.tick(100)
