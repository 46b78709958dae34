from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.client import launch
from segue.client.ending import StopSwitch
from segue.client.launch import Outcome, run_threaded
from segue.client.link import Link
from segue.client.linkside import LinkSide
from segue.client.messages import Ended
from segue.client.plan import ExecutionPlan, LinkPlan, OutputPlan, RobotPart, RunPlan, settle
from segue.client.recorder import Silent
from segue.clock import NS_PER_S
from segue.core.link.dial import LinkSession
from segue.core.link.machine import LinkMachine
from segue.core.specs import CameraSpec
from segue.core.types import Guidance, Strategy
from segue.core.watchdog import SafetyConfig
from segue.errors import AuthenticationError, ConfigError, LinkLost, SegueError, SpecMismatch
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy
from segue.robots import so101_model
from segue.server.lifecycle import PolicyServer
from segue.server.settings import ServerConfig
from segue.testing.cameras import FakeCamera
from segue.testing.robots import FakeRobot, make_other_robot
from segue.wire.records import RequestContext
from tests.unit.client.test_stats import KEYS
from tests.unit.client.toyserver import policy

WAIT_S = 30.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Runs a server of 30 Hz sine waves; the value is its address."""
    server = PolicyServer(ServerConfig(port=0), ScriptedPolicy(ScriptedConfig(action_hz=30.0)))
    yield server.start()
    server.stop(0.0)


def plan_for(address: str, directory: Path | None = None, **execution: object) -> RunPlan:
    guidance = Guidance(strategy=Strategy.RTC)
    context = RequestContext("arm", "", "", "wave", guidance, 50, 0)
    wishes = ExecutionPlan(duration_ns=2 * NS_PER_S)
    camera = "front" if directory else None
    return RunPlan(
        context,
        LinkPlan(address, connect_timeout_ns=2 * NS_PER_S),
        replace(wishes, **execution),  # type: ignore[arg-type]
        OutputPlan(directory, camera),
    )


def cameras() -> list[FakeCamera]:
    return [FakeCamera(CameraSpec(name, 48, 64)) for name in ("front", "wrist")]


def test_a_threaded_run_drives_the_robot_and_leaves_its_records(address: str, tmp_path: Path) -> None:
    """In one process, with the same mailboxes, the arm moves, parks, and every record is there."""
    robot = FakeRobot()
    outcome = run_threaded(plan_for(address, tmp_path), robot, cameras())
    assert (outcome.exit_code, outcome.reason) == (0, "done")
    assert outcome.summary["chunks"] >= 2  # type: ignore[operator]
    assert outcome.summary["starved_ticks"] == 0
    commands = np.array(robot.commands)
    assert np.ptp(commands[:, 0]) > 5
    assert np.allclose(commands[-1], so101_model.REST_POSE, atol=0.01)
    assert json.loads((tmp_path / "summary.json").read_text()) == outcome.summary
    assert set(outcome.summary) >= KEYS
    assert (tmp_path / "front.mjpeg").stat().st_size > 0
    chunks = [line for line in (tmp_path / "run.jsonl").read_text().splitlines() if '"chunk"' in line]
    assert len(chunks) == outcome.summary["chunks"]


def test_the_summary_says_who_was_asked_and_how(address: str) -> None:
    """Policy, strategy and the settled rates stand beside the numbers."""
    summary = run_threaded(plan_for(address, duration_ns=NS_PER_S // 10), FakeRobot(), []).summary
    assert summary["policy"] == "builtin:scripted"
    assert (summary["strategy"], summary["action_hz"], summary["control_hz"]) == ("rtc", 30.0, 100.0)


def test_a_stop_from_another_thread_parks_the_arm(address: str) -> None:
    """Whoever embeds a run ends it through its switch, as a signal would."""
    stop, robot = StopSwitch(), FakeRobot()
    outcomes: list[Outcome] = []
    plan = plan_for(address, duration_ns=None)
    thread = threading.Thread(
        target=lambda: outcomes.append(run_threaded(plan, robot, [], stop=stop)),
    )
    thread.start()
    deadline = time.monotonic() + WAIT_S
    while len(robot.commands) < 50 and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.ask()
    thread.join(WAIT_S)
    assert [outcome.exit_code for outcome in outcomes] == [130]
    assert np.allclose(robot.commands[-1], so101_model.REST_POSE, atol=0.01)


def test_a_robot_that_does_not_fit_is_refused_before_it_moves(address: str) -> None:
    """A robot with other joints is refused with both lists, and was never connected."""
    robot = make_other_robot()
    with pytest.raises(SpecMismatch) as refused:
        run_threaded(plan_for(address), robot, [])
    assert any("left_wheel" in line and "shoulder_pan" in line for line in refused.value.differences)
    assert robot.commands == []


def test_without_a_server_the_limit_ends_the_waiting() -> None:
    """Nobody at the address ends the run after the offline limit, and the robot was not touched."""
    robot = FakeRobot()
    safety = SafetyConfig(offline_limit_ns=NS_PER_S // 2)
    with pytest.raises(LinkLost, match=r"no server within 0\.5 s: 127\.0\.0\.1:1: .*`segue serve`.*firewall"):
        run_threaded(plan_for("127.0.0.1:1", safety=safety), robot, [])
    assert robot.commands == []


def test_a_stop_while_waiting_for_a_server_ends_the_waiting() -> None:
    """Somebody who gives up waiting gets the signal's exit code and no error."""
    stop = StopSwitch()
    threading.Timer(0.3, stop.ask).start()
    outcome = run_threaded(plan_for("127.0.0.1:1"), FakeRobot(), [], stop=stop)
    assert (outcome.exit_code, outcome.reason) == (130, "signalled")


def test_recording_a_camera_that_is_not_there_is_refused(address: str, tmp_path: Path) -> None:
    """The camera to be recorded must be one of the robot's; the message names those."""
    with pytest.raises(ConfigError, match="allowed is wrist"):
        run_threaded(plan_for(address, tmp_path), FakeRobot(), cameras()[1:])


def test_a_control_process_has_as_long_as_its_end_takes() -> None:
    """Without an end in sight, or waiting for a go, for ever; alone as parking takes; told twice, seconds."""
    settled = settle(plan_for("127.0.0.1:1"), policy())
    assert launch._patience_s(settled, 1, link_over=False) == math.inf
    alone = launch._patience_s(settled, 0, link_over=True)
    assert 15.2 + 3 <= alone <= 25  # played out 1 s, ramp 0.2 s, grace 10 s, parking 4 s
    assert launch._patience_s(settled, 0, link_over=True, waits=True) == math.inf
    assert 3 <= launch._patience_s(settled, 2, link_over=True, waits=True) <= 10
    assert 3 <= launch._patience_s(settled, 2, link_over=True) <= 10
    assert 3 <= launch._patience_s(None, 0, link_over=False) <= 10


@pytest.mark.e2e
def test_a_run_leaves_the_interpreter_as_it_was() -> None:
    """The length of a thread's turn is the caller's again after a run, also after one that failed."""
    before = sys.getswitchinterval()
    safety = SafetyConfig(offline_limit_ns=0)
    with pytest.raises(LinkLost):
        launch.run(
            plan_for("127.0.0.1:1", safety=safety), RobotPart("segue.testing.robots:make_fake_robot"), []
        )
    assert sys.getswitchinterval() == before


@pytest.mark.parametrize(
    ("code", "held_up", "exit_code", "reason"),
    [(143, True, 143, "unrecorded"), (143, False, 70, "crashed"), (None, True, 70, "crashed")],
)
def test_an_end_whose_words_were_held_up_keeps_its_code(
    code: int | None, held_up: bool, exit_code: int, reason: str
) -> None:
    """A stalled disk does not turn an orderly end into a crash; silence without a stall still is one."""
    ended = launch._unheard(code, held_up)
    assert (ended.exit_code, ended.reason) == (exit_code, reason)


@pytest.mark.parametrize("sentence", [launch._STUCK, launch._unheard(-9, held_up=False).detail])
def test_a_control_process_that_is_gone_says_what_became_of_the_arm(sentence: str) -> None:
    """Whoever lost it is told that the arm may hold itself still, and what frees it."""
    assert "an arm with torque still holds itself" in sentence
    assert "`segue release`" in sentence


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_last_dial_ends_the_run_before_it_begins(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A stop while the session is being opened ends with its code, and the arm is never connected."""
    opened = Link.open

    def interrupted(link: Link, *how: Any) -> LinkSession | None:
        session = opened(link, *how)
        os.kill(os.getpid(), number)
        return session

    monkeypatch.setattr(Link, "open", interrupted)
    commands = tmp_path / "commands"  # made when the robot is connected
    robot = RobotPart("segue.testing.robots:make_fake_robot", {"log": str(commands)})
    outcome = launch.run(plan_for(address), robot, [])
    assert (outcome.exit_code, outcome.reason) == (128 + number, "signalled")
    assert not commands.exists()


@pytest.mark.parametrize(
    ("ended", "damage", "exit_code", "reason"),
    [
        (Ended(69, "link_lost", "", b"{}"), "", 69, "link_lost"),
        (Ended(69, "link_lost", "", b"{}"), "Stop: no reason", 70, "nonsense"),
        (Ended(69, "nonsense", "it wrote what is none", b"{}"), "", 70, "nonsense"),
        (Ended(143, "signalled", "", b"{}"), "Stop: no reason", 143, "signalled"),
        (Ended(256, "done", "", b"{}"), "", 70, "done"),
        (Ended(0, "done", "", b"[1]"), "", 0, "done"),
        (Ended(0, "done", "", b"{"), "", 0, "done"),
        (Ended(0, "done", "", b"\xff"), "", 0, "done"),
    ],
)
def test_last_words_of_two_processes_that_did_not_understand_each_other(
    ended: Ended, damage: str, exit_code: int, reason: str
) -> None:
    """Nonsense of either side is a bug and no lost server; a body or a code that is none is not passed on."""
    plan = plan_for("127.0.0.1:1")
    outcome = launch._outcome(plan, LinkSide(plan, [], Silent()), ended, damage)
    assert (outcome.exit_code, outcome.reason) == (exit_code, reason)
    assert damage in outcome.detail or reason == "signalled"


def test_a_control_process_that_was_not_listened_to_any_more_says_why() -> None:
    """Without last words the reason is what it wrote, whatever its code, and what became of the arm."""
    ended = launch._unheard(69, held_up=False, damage="Stop: no reason")
    assert (ended.exit_code, ended.reason) == (70, "nonsense")
    assert "Stop: no reason; it ended with 69" in ended.detail
    assert "`segue release`" in ended.detail


class TurnedAway(LinkSide):
    """A link's side whose server has turned the robot away."""

    @property
    def refusal(self) -> SegueError:
        return AuthenticationError("the token is not known")


@pytest.mark.parametrize(
    ("ended", "exit_code", "detail"),
    [
        (Ended(76, "refused", "", b"{}"), 77, "the token is not known"),
        (Ended(143, "signalled", "", b"{}"), 143, ""),
        (Ended(74, "robot", "bus timeout", b"{}"), 74, "bus timeout"),
    ],
)
def test_a_refusal_decides_only_over_a_run_that_ended_for_it(
    ended: Ended, exit_code: int, detail: str
) -> None:
    """A run that was turned away and then signalled, or whose robot failed, ends for that reason."""
    plan = plan_for("127.0.0.1:1")
    outcome = launch._outcome(plan, TurnedAway(plan, [], Silent()), ended)
    assert (outcome.exit_code, outcome.reason, outcome.detail) == (exit_code, ended.reason, detail)


def test_a_bug_in_the_link_brings_the_arm_to_rest_and_ends_with_70(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A link that fails by itself is no lost server: the arm parks, and the end says that it was a bug."""
    robot = FakeRobot()
    on = LinkMachine.on

    def fail(machine: LinkMachine, *event: Any) -> Any:
        if len(robot.commands) > 50:
            raise ZeroDivisionError("oh no")
        return on(machine, *event)

    monkeypatch.setattr(LinkMachine, "on", fail)
    safety = SafetyConfig(play_out_ns=0, hold_grace_ns=NS_PER_S // 10)
    outcome = run_threaded(plan_for(address, tmp_path, duration_ns=None, safety=safety), robot, cameras())
    assert (outcome.exit_code, outcome.reason) == (70, "bug")
    assert outcome.detail == "the link failed: ZeroDivisionError: oh no"
    assert np.allclose(robot.commands[-1], so101_model.REST_POSE, atol=0.01)
    assert json.loads((tmp_path / "summary.json").read_text())["exit_reason"] == "bug"
    assert "the link failed" in caplog.text
