"""Ends that come from outside (row 26): service managers, nohup, terminals and tmux sessions that close."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from segue.client.commands import read_commands
from segue.testing import assert_clean
from tests.faults.report import Row
from tests.faults.test_robot_side import at_rest
from tests.processes import ENVIRONMENT, WAIT_S, Arm, Server, command_line, wait_until
from tests.terminal import AtTerminal

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(240)]

S = 1_000_000_000
ONE_WISH = "one wish: parked, exit 143, 129, 130"
ORDERS = {"link first": (0, 1), "control first": (1, 0)}


def parked(folder: Path) -> int:
    """Fails unless the run in `folder` ended parked, with a clean log; returns its number of commands."""
    assert json.loads((folder / "summary.json").read_text())["parked"] is True
    header, rows = read_commands(folder / "commands.csv")
    assert_clean(rows, header)
    assert rows[-1].level.name == "PARK"
    assert at_rest(rows[-1].command)
    return len(rows)


@pytest.mark.fault(26, "a signal to every process of a run", ONE_WISH)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_both_processes_is_one_wish(
    number: signal.Signals, order: str, row: Row, serve: Callable[..., Server], arm: Callable[..., Arm]
) -> None:
    """Whichever process is told first, and the other half a second later, the arm is parked."""
    server = serve()
    made = arm(server.address).moving()
    both = (made.pid, made.control_pid())
    for pause_s, which in zip((0.5, 0.0), ORDERS[order], strict=True):
        os.kill(both[which], number)
        time.sleep(pause_s)
    assert made.wait() == 128 + number, made.words()
    row.note(f"{number.name}, {order}: {parked(made.folder / 'run')} commands, parked")


@pytest.mark.fault("26b", "TERM to all, then HUP to all", ONE_WISH)
def test_what_a_service_manager_sends_is_one_wish(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm]
) -> None:
    """TERM to both processes at once, HUP to both half a second later: parked, and the code is TERM's."""
    server = serve()
    made = arm(server.address).moving()
    both = (made.pid, made.control_pid())
    for number in (signal.SIGTERM, signal.SIGHUP):
        for pid in both:
            os.kill(pid, number)
        time.sleep(0.5)
    assert made.wait() == 143, made.words()
    row.note(f"exit 143, {parked(made.folder / 'run')} commands, parked")


@pytest.mark.fault("26c", "TERM to all, then INT to all", "the INT holds at once, and exits")
def test_a_later_interrupt_ends_at_once(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm]
) -> None:
    """INT to both after a TERM to both ends the run where the arm is, with INT's code."""
    server = serve()
    made = arm(server.address, safety={"park_ns": 60 * S}).moving()
    both = (made.pid, made.control_pid())
    for pid in both:
        os.kill(pid, signal.SIGTERM)
    made.first("level", 0, state_to="PARK")
    asked_s = time.monotonic()
    for pid in both:
        os.kill(pid, signal.SIGINT)
    assert made.wait() == 130, made.words()
    row.within("ended after", (time.monotonic() - asked_s) * 1000, 1_000)
    assert made.summary()["parked"] is False


def words(address: str) -> tuple[str, ...]:
    return ("run", f"--server_address={address}", "--robot.type=fake", "--task=wave")


@pytest.mark.fault("26d", "the terminal is closed", "parked, exit 129; ignored under nohup")
@pytest.mark.parametrize("nohup", [False, True])
def test_a_terminal_that_goes_away(
    nohup: bool, row: Row, serve: Callable[..., Server], tmp_path: Path
) -> None:
    """A run whose pty is closed parks and ends with 129; under nohup it goes on until it is told to end."""
    server = serve()
    run = AtTerminal(words(server.address), tmp_path / "run", before=("nohup",) if nohup else ())
    try:
        run.waits_for("chunk", 3)
        run.hang_up()
        if nohup:
            run.waits_for("chunk", len(run.events("chunk")) + 5)
            run.process.send_signal(signal.SIGTERM)
        assert run.wait() == (143 if nohup else 129)
    finally:
        run.end()
    row.note(f"{'nohup: went on, ' if nohup else ''}{parked(tmp_path / 'run')} commands, parked")


@pytest.mark.fault("26e", "a tmux session is closed", "HUP twice: parked")
def test_a_tmux_session_that_is_closed(row: Row, serve: Callable[..., Server], tmp_path: Path) -> None:
    """A run in a window of tmux, under its shell, parks when the session is killed."""
    tmux = shutil.which("tmux")
    if tmux is None:
        pytest.skip("there is no tmux")
    server = serve()
    command = [sys.executable, "-m", "segue.cli.main", *words(server.address)]
    run = shlex.join([*command, f"--output_dir={tmp_path / 'run'}"])
    speak = [tmux, "-L", f"segue-{os.getpid()}", "-f", "/dev/null"]
    environment = {**os.environ, **ENVIRONMENT, "TERM": "xterm", "SHELL": "/bin/bash"}
    subprocess.run([*speak, "new-session", "-d", "-s", "arm", "bash --norc"], env=environment, check=True)
    try:
        subprocess.run(
            [*speak, "send-keys", "-t", "arm", f"{run}; echo $? >{tmp_path / 'code'}", "Enter"], check=True
        )
        lines = tmp_path / "run" / "run.jsonl"
        wait_until(lambda: lines.exists() and lines.read_text().count('"event": "chunk"') > 3, "chunks come")
    finally:
        subprocess.run([*speak, "kill-server"], check=False)
    wait_until((tmp_path / "run" / "summary.json").exists, "the run ends")
    row.note(f"{parked(tmp_path / 'run')} commands, parked")


def children_of(pid: int) -> list[int]:
    """Returns all processes below `pid`."""
    below = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [each for child in below for each in (child, *children_of(child))]


@pytest.mark.fault("26f", "`segue demo` with its children, told to end", "its arm is parked, nobody is left")
def test_a_demo_that_is_told_to_end_leaves_nobody(row: Row, tmp_path: Path) -> None:
    """TERM to every process of a demonstration at once parks its arm and ends them all, with 143."""
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "segue.cli.main", "demo", "--duration=60", f"--output_dir={out}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **ENVIRONMENT})
    everybody: list[int] = []
    try:
        run = out / "sync"
        wait_until(lambda: _chunks(run) > 2, "the first strategy moves")
        everybody = [process.pid, *children_of(process.pid)]
        assert len(everybody) == 4
        for pid in everybody:
            os.kill(pid, signal.SIGTERM)
        assert process.wait(WAIT_S) == 143
        wait_until(lambda: not any(b"segue" in command_line(pid) for pid in everybody[1:]), "all have ended")
        assert json.loads((run / "summary.json").read_text())["parked"] is True
    finally:
        process.kill()
        process.wait()
    row.note("exit 143, arm parked, 4 processes ended")


def _chunks(folder: Path) -> int:
    path = folder / "run.jsonl"
    return path.read_text().count('"event": "chunk"') if path.exists() else 0


@pytest.mark.fault("26g", "`segue serve` at a terminal that closes", "drains, exit 129; ignored under nohup")
@pytest.mark.parametrize("nohup", [False, True])
def test_a_server_whose_terminal_goes_away(nohup: bool, row: Row, tmp_path: Path) -> None:
    """A server drains when its terminal is closed; under nohup it goes on serving."""
    ours, theirs = pty.openpty()
    before = ["nohup"] if nohup else []
    command = [
        *before,
        sys.executable,
        "-m",
        "segue.cli.main",
        "serve",
        "--port=0",
        "--policy.path=builtin:scripted",
    ]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            ["sh", "-c", 'exec "$@" <"$0"', os.ttyname(theirs), *command],
            stdout=said, stderr=said, start_new_session=True, env={**os.environ, **ENVIRONMENT},
        )  # fmt: skip
    try:
        wait_until(lambda: "ready on" in (tmp_path / "said").read_text(), "the server is ready")
        os.close(theirs)
        os.close(ours)
        if nohup:
            time.sleep(1.0)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == (143 if nohup else 129)
    finally:
        process.kill()
        process.wait()
    row.note("nohup: goes on" if nohup else "exit 129")
