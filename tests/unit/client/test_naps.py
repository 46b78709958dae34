"""A control loop whose computer sleeps, under a virtual clock: what is held, said, and gone on from."""

from __future__ import annotations

import json
import logging
import signal
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from segue.client.commands import read_commands
from segue.client.episodes import EpisodePlan, Wish
from segue.client.messages import Closed, Commands, Failed, Mark, Opened, Say, Status
from segue.clock import NS_PER_MS, NS_PER_S
from segue.core.facts import ExitReason
from segue.core.watchdog import Resume, SafetyConfig
from segue.robots.base import RobotState
from segue.testing import assert_clean
from segue.testing.robots import FakeRobot
from tests.unit.client.world import HASH, World, control_plan

NIGHT = 15 * NS_PER_S
AUTO = SafetyConfig(resume=Resume.AUTO)


def sleepy(seconds: float | None = 4.0, at_s: float = 1.0, **execution: Any) -> World:
    """Returns a world whose computer sleeps for fifteen seconds that long after the start."""
    world = World(control_plan(seconds, **execution))
    world.at(at_s, lambda: world.clock.suspend(NIGHT))
    return world


def go(world: World) -> None:
    world.link.mailbox.put(Mark(Wish.GO))


def events(world: World, name: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, world.lines()) if line["event"] == name]


def said(world: World) -> list[str]:
    return [message.text for message in world.said if isinstance(message, Say)]


def after_s(world: World, seconds: float) -> np.ndarray:
    """Returns the first joint's commands from that tick on, counted in seconds of ticks."""
    return np.array([c[0] for c in world.robot.commands[round(seconds * 100) :]])


def test_the_arm_holds_until_the_key_and_goes_on_from_a_fresh_chunk() -> None:
    """Fifteen seconds of sleep hold the arm at once; nothing is asked until g is pressed, then it goes on."""
    world = sleepy()
    world.at(15 + 6.0, lambda: go(world))
    asked: list[int] = []
    world.at(15 + 1.5, lambda: asked.append(len(world.link.asked)))
    world.at(15 + 5.9, lambda: asked.append(len(world.link.asked)))
    ending = world.run()
    assert ending.reason is ExitReason.DONE
    assert [(e["state_to"], e["cause"]) for e in events(world, "level")][:2] == [
        ("HOLD", "slept"),
        ("RUN", "resumed"),
    ]
    assert asked[0] == asked[1] < len(world.link.asked)
    held = after_s(world, 1.3)[:450]
    assert np.ptp(held) == 0
    assert np.ptp(after_s(world, 6.5)[:100]) > 0
    (slept,) = events(world, "slept")
    assert (slept["slept_s"], slept["waits_for"]) == (15.0, "go")
    assert len(events(world, "go")) == 1
    told = [text for text in said(world) if "slept" in text]
    assert told == [slept["detail"]]
    assert all(word in told[0] for word in ("15.0 s", "key g", "--safety.resume=auto", "Ctrl-C"))


def test_with_auto_the_arm_goes_on_by_itself() -> None:
    """Told so before, the arm holds, asks at once, and goes on with what it saw after the sleep."""
    world = sleepy(safety=AUTO)
    world.run()
    causes = [(e["state_to"], e["cause"]) for e in events(world, "level")]
    assert causes[:2] == [("HOLD", "slept"), ("RUN", "resumed")]
    (slept,) = events(world, "slept")
    assert slept["waits_for"] == ""
    woke_ns = slept["mono_ns"]
    fresh = [asked for asked in world.link.asked if asked.epoch > world.link.asked[0].epoch]
    assert fresh[0].observation.captured_ns >= woke_ns
    resumed = next(e for e in events(world, "level") if e["cause"] == "resumed")
    assert resumed["mono_ns"] - woke_ns < NS_PER_S


def test_a_request_that_was_under_way_is_void() -> None:
    """The answer to what was asked before the sleep comes after it, and is not executed."""
    world = World(control_plan(4.0, safety=AUTO))
    world.link.delay_ns = 300 * NS_PER_MS
    world.at(0.2, lambda: world.clock.suspend(NIGHT))
    world.run()
    asked = {request.number: request for request in world.link.asked}
    (slept,) = events(world, "slept")
    taken = [asked[line["number"]] for line in events(world, "chunk")]
    assert taken
    assert min(request.observation.captured_ns for request in taken) >= slept["mono_ns"]


def test_a_sleep_while_the_robot_is_read_moves_nothing() -> None:
    """Asleep in mid-tick, not even that tick's command is sent: what was seen is thrown away."""
    robot = FakeRobot()
    world = World(control_plan(4.0), robot)
    read, slept = robot.read, []

    def sleeps(now_ns: int) -> RobotState:
        if len(robot.commands) == 150 and not slept:
            slept.append(now_ns)
            world.clock.suspend(NIGHT)
        return read(now_ns)

    robot.read = sleeps  # type: ignore[method-assign]
    world.at(15 + 3.0, lambda: world.stop.ask(signal.SIGINT))
    world.run()
    np.testing.assert_array_equal(robot.commands[150], robot.commands[149])
    (told,) = events(world, "slept")
    assert told["slept_s"] == 15.0


@pytest.mark.parametrize("gone", [False, True])
def test_a_server_that_is_gone_ends_nothing_while_a_person_is_waited_for(gone: bool) -> None:
    """For minutes without a go, and without a server, the run goes on holding; a stop parks it."""
    world = sleepy(None)
    if gone:
        world.at(15 + 2.0, lambda: setattr(world.link, "silent", True))
        world.at(15 + 2.0, lambda: world.link.mailbox.put(Closed("reset")))
        world.at(15 + 2.1, lambda: world.link.mailbox.put(Failed(0, "refused")))
    world.at(15 + 200.0, lambda: world.stop.ask(signal.SIGTERM))
    ending = world.run()
    assert ending.exit_code == 143
    assert ending.summary["parked"]
    assert np.ptp(after_s(world, 1.3)[: 195 * 100]) == 0
    assert [e["state_to"] for e in events(world, "level")][-2:] == ["HOLD", "PARK"][-2:] or gone


def test_the_session_that_was_opened_meanwhile_is_asked_after_go() -> None:
    """A link that was lost and came back while a person was waited for serves the first request after go."""
    world = sleepy(6.0)
    world.at(15 + 2.0, lambda: world.link.mailbox.put(Closed("reset")))
    world.at(15 + 4.0, lambda: world.link.mailbox.put(Opened(NS_PER_MS, NS_PER_MS, HASH)))
    world.at(15 + 100.0, lambda: go(world))
    ending = world.run()
    assert ending.reason is ExitReason.DONE
    assert ("HOLD", "RUN") in [(e["state_from"], e["state_to"]) for e in events(world, "level")]


def test_time_asleep_and_waiting_counts_neither_for_the_run_nor_for_an_episode() -> None:
    """A run of four seconds has its four seconds of motion, and an episode of two its two."""
    world = sleepy(4.0)
    world.at(15 + 100.0, lambda: go(world))
    world.run()
    statuses = [message for message in world.said if isinstance(message, Status)]
    done = next(status for status in statuses if status.why == "done")
    assert done.t_s == pytest.approx(15 + 100 - 1 + 4.0, abs=0.1)
    world = sleepy(None, episodes=EpisodePlan(total=1, time_ns=2 * NS_PER_S))
    world.at(15 + 100.0, lambda: go(world))
    world.run()
    (episode,) = events(world, "episode")
    assert episode["seconds"] == pytest.approx(2.0, abs=0.05)


def test_the_time_to_reset_does_not_pass_while_the_computer_sleeps() -> None:
    """An arm at rest between two episodes stays there until go, and for what is left of the time."""
    plan = EpisodePlan(total=2, time_ns=1 * NS_PER_S, reset_ns=8 * NS_PER_S)
    world = sleepy(None, at_s=4.0, episodes=plan)
    world.at(15 + 60.0, lambda: go(world))
    world.run()
    (begins,) = events(world, "episode_begins")
    (first, _) = events(world, "episode")
    passed_s = (begins["mono_ns"] - first["mono_ns"]) / NS_PER_S
    assert passed_s == pytest.approx(15 + 60 - 4 + 8, abs=1.6)  # and the way to rest once more


def test_lateness_is_no_sleep_and_a_sleep_no_lateness() -> None:
    """Not one tick counts as dropped for a sleep, and none as later than it was."""
    world = sleepy(safety=AUTO)
    ending = world.run()
    assert ending.summary["dropped_ticks"] == 0
    assert ending.summary["tick_lateness_ms"]["max"] == 0  # type: ignore[index]
    assert events(world, "late") == []


def test_the_log_of_commands_of_such_a_run_is_clean(tmp_path: Any) -> None:
    """The judge finds nothing wrong with a hold after a jump of time, on the way to rest included."""
    for at_s in (1.0, 4.6):
        world = World(replace(control_plan(4.0), log_commands=True))
        world.at(at_s, lambda world=world: world.clock.suspend(NIGHT))
        world.at(15 + 9.0, lambda world=world: go(world))
        world.run()
        path = tmp_path / "commands.csv"
        path.write_bytes(b"".join(m.body for m in world.said if isinstance(m, Commands)))
        header, rows = read_commands(path)
        assert_clean(rows, header)


def test_without_its_neighbour_the_arm_holds_and_says_who_can_end_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Alone and woken up, nothing is played out or parked until somebody asks for the end, by a signal."""
    world = World(control_plan(None))
    world.at(1.0, world.link.mailbox.close)
    world.at(1.5, lambda: world.clock.suspend(NIGHT))
    world.at(15 + 120.0, lambda: world.stop.ask(signal.SIGTERM))
    with caplog.at_level(logging.WARNING):
        ending = world.run()
    assert "`kill" in caplog.text
    assert np.ptp(after_s(world, 1.8)[: 115 * 100]) == 0
    assert (ending.exit_code, ending.summary["parked"]) == (143, True)


def test_without_its_neighbour_and_with_auto_the_arm_parks_by_itself() -> None:
    """The plan of before the sleep is not played out: held for the grace, anew, then parked, exit 69."""
    world = World(control_plan(None, safety=AUTO))
    world.at(1.0, world.link.mailbox.close)
    world.at(1.5, lambda: world.clock.suspend(NIGHT))
    ending = world.run()
    assert ending.exit_code == 69
    changes = [(e["state_to"], e["cause"], e["mono_ns"]) for e in events(world, "level")]
    assert [change[:2] for change in changes[-2:]] == [("HOLD", "slept"), ("PARK", "hold_grace_over")]
    assert (changes[-1][2] - changes[-2][2]) / NS_PER_S == pytest.approx(10.0, abs=0.05)


def test_a_driver_is_told_of_a_sleep_before_it_is_asked_again() -> None:
    """What a driver counts by time begins anew: its `slept` comes before the first read after it."""

    class Counting(FakeRobot):
        heard: list[str]

        def slept(self) -> None:
            self.heard.append("slept")

        def read(self, now_ns: int) -> RobotState:
            self.heard.append("read")
            return super().read(now_ns)

    robot = Counting()
    robot.heard = []
    world = World(control_plan(3.0, safety=AUTO), robot)
    length: list[int] = []
    world.at(1.0, lambda: (length.append(len(robot.heard)), world.clock.suspend(NIGHT)))
    world.run()
    assert robot.heard[length[0]] == "slept"
    assert robot.heard.count("slept") == 1


def test_the_line_says_why_and_what_to_press() -> None:
    """While a person is waited for, the status has the reason and the key."""
    world = sleepy()
    world.at(15 + 3.0, lambda: go(world))
    world.run()
    held = [m for m in world.said if isinstance(m, Status) and m.why == "slept"]
    assert (held[0].level, held[0].detail) == ("HOLD", "g goes on")


def test_go_without_a_sleep_is_not_heard() -> None:
    """A key that is pressed too much changes nothing."""
    world = World(control_plan(3.0))
    world.at(1.0, lambda: go(world))
    world.run()
    assert events(world, "go") == []
    assert [e["state_to"] for e in events(world, "level")] == ["HOLD", "PARK"]
