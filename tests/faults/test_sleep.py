"""The computer sleeps (row 25), on real processes whose CLOCK_MONOTONIC has stood still meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segue.client.commands import read_commands
from segue.clock import now_ns
from segue.testing import assert_clean
from tests.faults.clocks import Suspend
from tests.faults.measures import BACK_MS, MS
from tests.faults.report import Row
from tests.faults.test_robot_side import at_rest, logged, told, too_fast
from tests.processes import Arm, Server, Spawned, command_line, wait_until
from tests.terminal import AtTerminal

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(240)]

NIGHT_S = 15.0
HELD = "ages count the sleep; HOLD; motion waits for a person's go"


@pytest.fixture
def suspend(tmp_path: Path) -> Suspend:
    return Suspend(tmp_path)


@pytest.mark.fault(25, "the computer sleeps, a person at the terminal", HELD)
def test_the_arm_waits_for_the_key(
    row: Row, serve: Callable[..., Server], suspend: Suspend, tmp_path: Path
) -> None:
    """Awake again the arm holds, says why, moves nothing until g is pressed, and then goes on afresh."""
    server = serve()
    words = ("run", f"--server_address={server.address}", "--robot.type=fake", "--task=wave")
    run = AtTerminal(words, tmp_path / "run", environment=suspend.environment)
    try:
        run.waits_for("chunk", 3)
        suspend.sleep(NIGHT_S)
        run.waits_for("level", state_to="HOLD", cause="slept")
        time.sleep(2.0)
        run.shows("key g")
        run.shows("the computer slept: g goes on")
        (slept,) = run.events("slept")
        asked = [e for e in run.events("chunk") if e["mono_ns"] > slept["mono_ns"]]
        assert asked == []
        run.press("g")
        run.waits_for("go")
        run.waits_for("level", state_to="RUN", cause="resumed")
        run.waits_for("chunk", len(run.events("chunk")) + 2)
        run.press("\x03")
        assert run.wait() == 130, run.screen()
    finally:
        run.end()
    (went,) = run.events("go")
    header, rows = read_commands(tmp_path / "run" / "commands.csv")
    assert_clean(rows, header)
    held = [r for r in rows if slept["mono_ns"] + 0.3e9 < r.t_ns < went["mono_ns"]]
    assert np.ptp([r.command for r in held], axis=0).max() == 0
    first = next(r for r in rows if r.step is not None and r.t_ns > slept["mono_ns"])
    assert (first.captured_ns or 0) >= went["mono_ns"]
    after_ms = (first.t_ns - went["mono_ns"]) / MS
    row.note(f"held still for {len(held) / 100:.1f} s, went on {after_ms:.0f} ms after g")


@pytest.mark.fault("25b", "the same with --safety.resume=auto", "goes on by itself from a fresh chunk")
def test_an_arm_that_was_told_so_goes_on_by_itself(
    row: Row,
    serve: Callable[..., Server],
    arm: Callable[..., Arm],
    judged: Callable[[Arm], int],
    suspend: Suspend,
) -> None:
    """Held at once, on with what was seen after the sleep, and no camera or loop is taken for dead."""
    server = serve()
    cameras = {"front": [48, 64], "wrist": [48, 64]}
    made = arm(
        server.address, safety={"resume": "auto"}, cameras=cameras, environment=suspend.environment
    ).moving()
    suspend.sleep(NIGHT_S)
    slept = made.first("slept", 0)
    back = made.first("level", slept["mono_ns"], state_to="RUN", cause="resumed")
    row.within("back after", (back["mono_ns"] - slept["mono_ns"]) / MS, BACK_MS)
    made.moving(len(made.events("chunk")) + 2)
    assert made.since("cameras", slept["mono_ns"]) == []
    assert made.events("control_silent") == []
    made.signal(signal.SIGTERM)
    assert made.wait() == 143, made.words()
    rows = made.commands()[1]
    first = next(r for r in rows if r.step is not None and r.t_ns > slept["mono_ns"])
    assert (first.captured_ns or 0) >= slept["mono_ns"]
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault("25c", "the guardian's computer sleeps", "held where it is; parked when it is told to end")
def test_a_guardian_that_slept_moves_nothing(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], suspend: Suspend, tmp_path: Path
) -> None:
    """Without its link process nothing is played out or parked after a sleep; a signal parks the arm."""
    server = serve()
    made = arm(server.address, environment=suspend.environment, **logged(tmp_path)).moving()
    control = made.control_pid()
    os.kill(made.pid, signal.SIGKILL)
    made.wait()
    slept_ns = suspend.sleep(NIGHT_S)
    time.sleep(1.0)
    woke_ns = now_ns() + slept_ns
    time.sleep(1.5)
    os.kill(control, signal.SIGTERM)
    wait_until(lambda: b"segue.client.control" not in command_line(control), "the control process ends")
    commands = told(tmp_path)
    held = commands[(commands[:, 0] > woke_ns) & (commands[:, 0] < woke_ns + 1.4e9)]
    assert len(held) > 50
    assert np.ptp(held[:, 1:], axis=0).max() < 1e-9
    assert at_rest(commands[-1, 1:])
    assert too_fast(commands) <= 1.001
    assert f"`kill {control}` parks the arm" in made.words()
    row.note(f"held for {len(held) / 100:.1f} s, then parked by SIGTERM")


@pytest.mark.fault("25d", "the server's computer sleeps", "it goes on serving; nobody opens a session anew")
def test_a_server_that_slept_goes_on_serving(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], suspend: Suspend, spawned: list[Spawned]
) -> None:
    """Neither its watchdog nor its limits count the sleep, and the arm beside it notices nothing."""
    server = serve(environment=suspend.environment, latency_s=0.05)
    made = arm(server.address).moving()
    suspend.sleep(3600.0)
    made.moving(made.chunks() + 5)
    assert made.events("request_missed") == []
    assert len([e for e in made.events("link") if e["state"] == "ready"]) == 1
    assert server.process.poll() is None
    row.note(f"{made.chunks()} chunks, 0 missed")
