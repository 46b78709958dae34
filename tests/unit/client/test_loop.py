from __future__ import annotations

import json
import signal
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from segue.client.driver import pose
from segue.client.messages import (
    Answer,
    CameraFailed,
    CameraWorks,
    Closed,
    Failed,
    Say,
    Status,
    Stop,
)
from segue.clock import NS_PER_MS, NS_PER_S
from segue.core.facts import ExitReason
from segue.core.schedule import RequestRule, RuleWishes
from segue.core.specs import ActionSpec, Dimension, Kind, ObservationSpec, RobotSpec
from segue.core.types import Strategy
from segue.core.watchdog import SafetyConfig, SafetyLevel
from segue.errors import ConfigError, RobotFault, SafetyLatch
from segue.robots import so101_model
from segue.robots.base import RobotState
from segue.testing.robots import FakeRobot
from tests.unit.client.world import HORIZON, World, control_plan


def levels(world: World) -> list[str]:
    lines = [json.loads(line) for line in world.lines()]
    return [line["state_to"] for line in lines if line["event"] == "level"]


def test_a_run_executes_chunks_until_its_time_is_up_and_parks() -> None:
    """The loop asks, merges, moves the arm, ends after its duration at the rest pose, and says so."""
    world = World(control_plan(3.0))
    ending = world.run()
    assert ending.reason is ExitReason.DONE
    assert ending.exit_code == 0
    assert ending.summary["chunks"] >= 1
    assert ending.summary["starved_ticks"] == 0
    moved = np.array(world.robot.commands)
    assert moved[:, 0].max() == pytest.approx(2.8, abs=0.2)  # a tenth of a degree a step, 28 steps
    assert np.allclose(moved[-1], so101_model.REST_POSE)


def test_consecutive_ticks_are_whole_periods_apart_however_late_they_wake() -> None:
    """A loop that woke 35 ms late drops three ticks, counts them, and stays on its grid."""
    world = World(control_plan(1.0))
    world.clock.oversleeps = [(NS_PER_S + 500 * NS_PER_MS, 35 * NS_PER_MS)]
    ending = world.run()
    assert ending.summary["dropped_ticks"] == 3
    assert ending.summary["tick_lateness_ms"]["max"] == 35.0  # type: ignore[index]
    late = [json.loads(line) for line in world.lines() if b'"late"' in line]
    assert [line["dropped"] for line in late] == [3]


def test_a_request_is_one_snapshot_and_has_a_seed_of_its_own() -> None:
    """Each request carries the step of its own tick, and the run's seed plus its number."""
    world = World(control_plan(6.0))
    world.run()
    assert len(world.link.asked) >= 2
    for request in world.link.asked:
        assert request.start_step == request.observation.step
    assert world.link.seeds == [7 + request.number for request in world.link.asked]


def test_what_a_chunk_cost_stands_in_its_line_and_in_the_summary() -> None:
    """Inference, network and overhead of an exchange are derived from the server's durations alone."""
    world = World(control_plan(6.0))
    ending = world.run()
    lines = [json.loads(line) for line in world.lines() if b'"chunk"' in line]
    assert {line["inference_ms"] for line in lines} == {60.0}
    assert {line["network_ms"] for line in lines} == {20.0}
    assert {line["overhead_ms"] for line in lines} == {50.0}  # 110 ms from tick to inbox, less 60
    assert ending.summary["observation_bytes"] == {"p50": 100_000.0}
    assert [line["seq"] for line in lines] == sorted({line["seq"] for line in lines})


def test_without_the_link_the_arm_plays_out_holds_parks_and_ends() -> None:
    """When the link dies the loop goes on alone: at most a second of plan, hold, park, exit 69."""
    safety = SafetyConfig(hold_grace_ns=NS_PER_S)
    world = World(control_plan(None, safety=safety))
    world.at(1.0, world.link.mailbox.close)
    ending = world.run()
    assert ending.exit_code == 69
    assert levels(world) == ["DEGRADED", "HOLD", "PARK"]
    assert np.allclose(world.robot.commands[-1], so101_model.REST_POSE)


def test_the_first_stop_parks_and_the_second_ends_at_once() -> None:
    """A second stop ends the run on the next tick, where the arm is, with 128 + its signal."""
    world = World(control_plan(None, safety=SafetyConfig(park_ns=60 * NS_PER_S)))
    world.at(1.0, lambda: world.stop.ask(signal.SIGTERM, world.clock.now_ns()))
    world.at(1.5, lambda: world.stop.ask(signal.SIGTERM, world.clock.now_ns()))
    ending = world.run()
    assert ending.exit_code == 143
    assert len(world.robot.commands) == pytest.approx(150, abs=2)
    assert not ending.summary["parked"]  # it was on its way there


def test_a_service_manager_is_obeyed_once() -> None:
    """TERM and HUP within a second, the first of them twice, park the arm; Ctrl-C after it ends it there."""
    for ends_at_once in (False, True):
        world = World(control_plan(None))
        for seconds, number in ((1.0, signal.SIGTERM), (1.05, signal.SIGTERM), (1.9, signal.SIGHUP)):
            world.at(seconds, lambda w=world, n=number: w.stop.ask(n, w.clock.now_ns()))  # type: ignore[misc]
        if ends_at_once:
            world.at(2.0, lambda w=world: w.stop.ask(signal.SIGINT, w.clock.now_ns()))  # type: ignore[misc]
        ending = world.run()
        assert ending.exit_code == (130 if ends_at_once else 143)
        assert ending.summary["parked"] is not ends_at_once


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_one_stop_ends_parked(number: signal.Signals) -> None:
    """One stop ends with HOLD, PARK and 128 + its signal."""
    world = World(control_plan(None))
    world.at(1.0, lambda: world.stop.ask(number))
    assert world.run().exit_code == 128 + number
    assert levels(world) == ["HOLD", "PARK"]


def test_a_lost_link_is_forgiven_once_a_fresh_chunk_comes() -> None:
    """Closed, then a failed dial, hold the arm; a session opened anew lets it go on."""
    world = World(control_plan(8.0))
    world.at(1.0, lambda: setattr(world.link, "silent", True))
    world.at(1.0, lambda: world.link.mailbox.put(Closed("reset")))
    world.at(1.1, lambda: world.link.mailbox.put(Failed(0, "refused")))
    world.at(4.0, lambda: setattr(world.link, "silent", False))
    world.at(4.0, lambda: setattr(world.link, "opened", False))
    ending = world.run()
    assert ending.reason is ExitReason.DONE
    assert levels(world)[:3] == ["DEGRADED", "HOLD", "RUN"]


def test_a_failed_camera_stops_the_asking_until_it_works() -> None:
    """No request leaves while a camera is out, and asking goes on when it works again."""
    rule = RequestRule(strategy=Strategy.ASYNC, horizon=HORIZON, threshold=1.0, min_execution_steps=1)
    world = World(control_plan(6.0, rule=rule))
    asked: list[int] = []
    world.at(1.0, lambda: world.link.mailbox.put(CameraFailed("camera front: unplugged")))
    world.at(1.5, lambda: asked.append(len(world.link.asked)))
    world.at(3.0, lambda: asked.append(len(world.link.asked)))
    world.at(3.0, lambda: world.link.mailbox.put(CameraWorks()))
    world.run()
    assert asked[0] == asked[1] < len(world.link.asked)


def test_a_plan_that_begins_to_run_dry_is_told_of_once() -> None:
    """When answers become slower in mid-run a sentence has share and remedies, and a line the facts."""
    world = World(control_plan(40.0, rule=RuleWishes(horizon=10)))
    world.at(10.0, lambda: setattr(world.link, "delay_ns", 790 * NS_PER_MS))
    world.run()
    (line,) = [each for each in map(json.loads, world.lines()) if each["event"] == "outlook"]
    assert (line["outlook_to"], line["delay_steps"]) == ("RUNS_DRY", 8)
    (said,) = [m.text for m in world.said if isinstance(m, Say) and "starve" in m.text]
    assert said == (
        "an answer takes 8 steps at 10 Hz (0.80 s), and a chunk has 10: 37.5 % of the ticks will starve; "
        "chunks of 16 actions (--actions_per_chunk), 6.25 steps a second (--fps) or a round trip of 500 ms "
        "would mend it"
    )


def test_answers_that_nobody_can_wait_for_are_explained_at_the_end() -> None:
    """Where the age limit forbids an answer, the status and the last sentence say how long it takes."""
    limit = SafetyConfig(max_action_age_ns=1200 * NS_PER_MS, min_deadline_ns=2 * NS_PER_S)
    world = World(control_plan(None, rule=RuleWishes(horizon=5), safety=limit))
    world.link.delay_ns = 1490 * NS_PER_MS
    ending = world.run()
    assert ending.exit_code == 69
    says = "an answer takes 1.50 s, with which actions get 2.00 s old, and none may be older than 1.20 s"
    assert ending.detail.startswith(says)
    assert "--safety.max_action_age_s" in ending.detail
    details = {m.detail for m in world.said if isinstance(m, Status)}
    assert any(each.startswith(says) for each in details)


def test_a_refusal_in_mid_run_ends_with_76() -> None:
    """A server that will not have the robot any more ends the run in an orderly way."""
    world = World(control_plan(None))
    world.at(1.0, lambda: world.link.mailbox.put(Stop(ExitReason.REFUSED.value)))
    assert world.run().exit_code == 76
    assert levels(world) == ["HOLD", "PARK"]


def test_a_robot_that_fails_is_held_and_ends_the_run_with_74() -> None:
    """A fault of the robot latches, is named in the ending, and never lets the arm park."""
    world = World(control_plan(None))
    world.at(1.0, lambda: setattr(world.robot, "fails", "bus timeout"))
    ending = world.run()
    assert (ending.exit_code, ending.detail) == (74, "bus timeout")
    assert levels(world) == ["FAULT"]


def test_an_unreadable_reply_fails_its_request_and_nothing_else() -> None:
    """Bytes that are no reply count as a missed request; the run goes on."""
    world = World(control_plan(6.0))
    world.at(1.0, lambda: world.link.mailbox.put(Answer(0, 0, 0, b"\xff\xff")))
    ending = world.run()
    assert ending.reason is ExitReason.DONE
    assert ending.summary["missed_requests"] == 1


def test_the_queue_is_told_at_every_step_and_every_tick_without_an_action() -> None:
    """Each begun step and each waiting tick gives one status; waiting is called so."""
    world = World(control_plan(2.0))
    world.run()
    statuses = [message for message in world.said if isinstance(message, Status)]
    waiting = [status for status in statuses if status.level == "WAITING"]
    running = [status for status in statuses if status.level == SafetyLevel.RUN.name]
    assert len(waiting) == world.loop.stats.counts.waiting_ticks == pytest.approx(10, abs=2)
    assert len(running) == world.loop.executor.step
    assert all(a.t_s < b.t_s for a, b in pairwise(statuses))


def test_refused_scheduling_is_written_down_and_said() -> None:
    """When real-time scheduling was refused the record and the person are told why."""
    world = World(control_plan(0.1))
    world.loop.note_scheduling("not allowed")
    world.run()
    said = [message.text for message in world.said if isinstance(message, Say)]
    assert said == ["not allowed; ticks may come some milliseconds late"]
    assert json.loads(world.lines()[0])["realtime"] is False


def test_a_robot_that_counts_is_asked_for_its_score_and_ends_the_run() -> None:
    """A robot whose work is exhausted ends the run, and its own counts stand in the summary."""

    class Belt(FakeRobot):
        exhausted = False

        def summary(self) -> dict[str, int]:
            return {"cubes_offered": 3, "successes": 2}

    belt = Belt()
    world = World(control_plan(None), belt)
    world.at(1.0, lambda: setattr(belt, "exhausted", True))
    ending = world.run()
    assert ending.reason is ExitReason.DONE
    assert (ending.summary["cubes_offered"], ending.summary["successes"]) == (3, 2)


def test_the_first_command_continues_from_the_pose_by_name() -> None:
    """The pose takes each action's present state by name, whatever the order, and 0 for a velocity."""
    state = (Dimension("b", "deg"), Dimension("a", "deg"))
    action = ActionSpec((Dimension("a", "deg"), Dimension("b", "deg"), Dimension("v", "m/s", Kind.VELOCITY)))
    spec = RobotSpec("r", ObservationSpec(state), action)
    assert pose(spec, RobotState(np.array([2.0, 1.0]))).tolist() == [1.0, 2.0, 0.0]


@pytest.mark.parametrize("state", [Dimension("a.pos", "deg"), Dimension("a", "rad")])
def test_a_position_that_is_not_observed_is_never_commanded(state: Dimension) -> None:
    """A joint whose state has another name or unit would begin with a jump: it is refused before it moves."""
    spec = RobotSpec("r", ObservationSpec((state,)), ActionSpec((Dimension("a", "deg"),)))
    with pytest.raises(ConfigError, match=r"action a \[deg, position\] is not observed"):
        pose(spec, RobotState(np.array([45.0])))


def test_whatever_a_driver_raises_the_arm_is_held_and_the_run_ends_as_a_robot_fault() -> None:
    """An error that no driver promised is a fault of the robot: held, latched, and ended for that reason."""
    world = World()

    def read(now_ns: int) -> object:
        raise OSError("the port is gone")

    world.at(1.0, lambda: setattr(world.robot, "read", read))
    ending = world.run()
    assert ending.reason is ExitReason.ROBOT
    assert "the port is gone" in ending.detail


def test_a_robot_in_danger_latches_and_ends_the_run_with_80() -> None:
    """What a robot says is not safe holds the arm, is named in the ending, and wants a person."""
    world = World(control_plan(None))

    def read(now_ns: int) -> RobotState:
        raise SafetyLatch("elbow_flex is overloaded")

    world.at(1.0, lambda: setattr(world.robot, "read", read))
    ending = world.run()
    assert (ending.exit_code, ending.reason, ending.detail) == (
        80,
        ExitReason.DANGER,
        "elbow_flex is overloaded",
    )
    assert levels(world) == ["FAULT"]


def test_an_observation_is_as_old_as_the_robot_says() -> None:
    """A bus that missed a tick answers with what it knew last, and a request says when that was."""
    world = World()
    stamps: set[int] = set()
    read = world.robot.read

    def late(now_ns: int) -> RobotState:
        # No whole number of ticks: the time of no tick passes for such a stamp.
        stamps.add(now_ns - 23 * NS_PER_MS)
        return replace(read(now_ns), captured_ns=now_ns - 23 * NS_PER_MS)

    world.robot.read = late  # type: ignore[method-assign]
    world.run()
    assert world.link.asked
    assert {asked.observation.captured_ns for asked in world.link.asked} <= stamps


def test_what_a_robot_has_to_say_is_said_within_a_second_and_at_the_end() -> None:
    """Notes of a driver reach the person at the terminal, each once."""
    world = World(control_plan(3.0))
    notes = ["gripper: 12 replies were asked for twice"]
    world.robot.notes = lambda: [notes.pop() for _ in range(len(notes))]  # type: ignore[attr-defined]
    world.run()
    said = [message.text for message in world.said if isinstance(message, Say)]
    assert said == ["gripper: 12 replies were asked for twice"]


def test_a_robot_that_reports_no_number_at_the_start_is_never_commanded() -> None:
    """NaN in the first read ends the run as a robot fault that names the joint, before any command."""
    robot = FakeRobot()
    state = robot.rest_pose.copy()
    state[1] = np.nan
    robot.read = lambda now_ns: RobotState(state)  # type: ignore[method-assign]
    with pytest.raises(RobotFault, match=r"no number for shoulder_lift\b") as fault:
        World(robot=robot)
    assert fault.value.exit_code == 74
    assert robot.commands == []


@pytest.mark.parametrize("what", ["notes", "exhausted"])
def test_a_driver_that_raises_beyond_its_protocol_is_held_too(what: str) -> None:
    """Whatever a driver is asked, an error of its own holds the arm and ends the run for it."""

    class Odd(FakeRobot):
        well = True

    def fail(robot: Odd) -> object:
        if robot.well:
            return False if what == "exhausted" else list
        raise OSError("the driver lost its mind")

    setattr(Odd, what, property(fail))
    world = World(control_plan(4.0), Odd())
    world.at(1.0, lambda: setattr(world.robot, "well", False))
    ending = world.run()
    assert ending.reason is ExitReason.ROBOT
    assert "lost its mind" in ending.detail
    assert levels(world) == ["FAULT"]
