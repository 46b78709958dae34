"""What happens beside the arm (rows 12, 14, 15, 19, 24 and the guardian), on real processes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segue.clock import now_ns
from segue.robots import so101_model
from segue.tools.bench import sleeper_lateness
from tests.faults.clocks import compiled
from tests.faults.measures import BACK_MS, MS, TICK_MS, held_ms
from tests.faults.report import Row
from tests.processes import Arm, Server, command_line, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(240)]

S = 1_000_000_000
LOGGED = "segue.testing.robots:make_fake_robot"


def logged(folder: Path) -> dict[str, object]:
    """Returns the wish for a fake robot that writes down what it is told, whatever becomes of the link."""
    return {"factory": LOGGED, "settings": {"log": str(folder / "commands")}}


def told(folder: Path) -> np.ndarray:
    """Returns what that robot was told so far: time in ns and commands."""
    return np.loadtxt((folder / "commands").read_text().splitlines(keepends=True)[:-1])


def at_rest(command: np.ndarray) -> bool:
    return bool(np.allclose(command, so101_model.REST_POSE, atol=0.01))


def too_fast(commands: np.ndarray) -> float:
    """Returns the largest move of a tick as a multiple of what is allowed."""
    speed = np.array([d.max_speed for d in so101_model.dimensions()])
    return float((np.abs(np.diff(commands[:, 1:], axis=0)) / (speed / 100.0)).max())


@pytest.mark.fault(12, "starvation", "held within 1 tick, HOLD at the age limit, counted")
def test_an_arm_that_runs_dry(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """When the next chunk is late the last command is held from the very next tick on; that is counted."""
    server = serve(latency_s=0.1)
    made = arm(server.address, safety={"min_deadline_ns": 20 * S}).moving()
    late_ns = now_ns()
    server.tell("sleep 2.0")
    starved = made.first("level", late_ns, state_to="STARVED")["mono_ns"]
    made.first("level", late_ns, state_to="HOLD")
    _, rows = made.commands()
    last = next(r.t_ns for r in reversed(rows) if r.step is not None and r.t_ns <= starved)
    row.within("starved after the last action's end by", (starved - last) / MS - 40, 2 * TICK_MS)
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault(14, "wall clock jumps by a day", "nothing changes")
def test_a_wall_clock_that_jumps(
    row: Row,
    serve: Callable[..., Server],
    arm: Callable[..., Arm],
    judged: Callable[[Arm], int],
    tmp_path: Path,
) -> None:
    """With a wall clock that jumps by a day to and fro nothing is missed and nothing starves."""
    jumping = compiled("jumping_clock", tmp_path)
    shown = [sys.executable, "-c", "import time; print(abs(time.time() - float(input())))"]
    seen = subprocess.run(
        shown,
        env={**os.environ, **jumping},
        input=str(time.time()),
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(seen.stdout) > 80_000
    server = serve(environment=jumping)
    made = arm(server.address, seconds=5.0, environment=jumping)
    assert made.wait() == 0, made.words()
    summary = made.summary()
    assert (summary["missed_requests"], summary["starved_ticks"]) == (0, 0)
    row.note(f"{summary['chunks']} chunks, 0 missed, {judged(made)} commands clean")


@pytest.mark.fault(15, "camera fails, blocks, freezes", "noticed ≤ 1 s, acted on ≤ 300 ms, back when it is")
@pytest.mark.parametrize("what", ["fail", "block", "freeze"])
def test_a_camera_that_fails(
    what: str, row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """A camera that raises, blocks or repeats itself ends the requests; the plan plays out, the arm holds."""
    server = serve()
    made = arm(server.address, cameras={"front": [48, 64], "wrist": [48, 64]}).moving()
    failed_ns = now_ns()
    made.tell(f"camera wrist {what}")
    noticed = made.first("cameras", failed_ns, works=False)
    acted = made.first("level", failed_ns, cause="camera")
    assert "wrist" in noticed["detail"]
    limit_ms = 100.0 if what == "fail" else 1_100.0
    row.within(f"{what}: noticed after", (noticed["mono_ns"] - failed_ns) / MS, limit_ms)
    row.within("acted on after", (acted["mono_ns"] - noticed["mono_ns"]) / MS, 300)
    held_ms(made, failed_ns)
    asked = made.since("chunk", noticed["mono_ns"] + S // 2)
    assert asked == []
    healed_ns = now_ns()
    made.tell("camera wrist heal")
    back = made.first("chunk", healed_ns)
    row.within("back after", (back["mono_ns"] - healed_ns) / MS, 1_000 + BACK_MS)
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault("15b", "camera away for longer than the limit", "held, parked, exit 74 (30 s; 2 s here)")
def test_a_camera_that_stays_away(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """A camera that does not come back within its limit ends the run with 74, its name said."""
    server = serve()
    made = arm(server.address, safety={"camera_limit_ns": 2 * S}).moving()
    made.tell("camera front fail")
    assert made.wait() == 74, made.words()
    assert "front" in made.words()
    row.note(f"exit 74, {judged(made)} commands clean")


@pytest.mark.fault(19, "HUP, INT, TERM (simulated SO-101)", "ramp, PARK ≤ 5 s, exit 129, 130, 143")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_parks_the_simulated_arm(
    number: signal.Signals,
    row: Row,
    serve: Callable[..., Server],
    arm: Callable[..., Arm],
    judged: Callable[[Arm], int],
) -> None:
    """The first signal stops the asking, ramps, and parks the simulated arm within five seconds."""
    server = serve()
    made = arm(server.address, factory="tests.sim_arm:make", settings={}, cameras={}).moving(2)
    asked_ns = now_ns()
    made.signal(number)
    assert made.wait() == 128 + number, made.words()
    parked = made.commands()[1][-1].t_ns
    row.within(f"{number.name}: parked after", (parked - asked_ns) / MS, 5_000)
    assert made.levels()[-2:] == ["HOLD", "PARK"]
    assert at_rest(made.positions()[-1])
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault("19b", "a second signal while parking", "holds where it is, and exits")
def test_a_second_signal(row: Row, serve: Callable[..., Server], arm: Callable[..., Arm]) -> None:
    """The second signal ends the run where the arm is."""
    server = serve()
    made = arm(server.address, safety={"park_ns": 60 * S}).moving()
    made.signal(signal.SIGINT)
    made.first("level", 0, state_to="PARK")
    asked_ns = now_ns()
    made.signal(signal.SIGINT)
    assert made.wait() == 130, made.words()
    row.within("ended after", (now_ns() - asked_ns) / MS, 1_000)


@pytest.mark.fault("G1", "link process killed", "control process plays out, holds, parks, ends alone")
@pytest.mark.parametrize("on_link_loss", ["play_out", "stop_now"])
def test_the_guardian_goes_on_alone(
    on_link_loss: str, row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], tmp_path: Path
) -> None:
    """Without its link process the arm plays out or stops, as configured, holds, and parks in the end."""
    server = serve()
    safety = {"hold_grace_ns": S, "on_link_loss": on_link_loss}
    made = arm(server.address, safety=safety, **logged(tmp_path)).moving()
    control = made.control_pid()
    killed_ns = now_ns()
    os.kill(made.pid, signal.SIGKILL)
    made.wait()
    wait_until(lambda: b"segue.client.control" not in command_line(control), "the control process ends")
    commands = told(tmp_path)
    after = commands[commands[:, 0] >= killed_ns]
    moves = np.abs(np.diff(after[:, 1:], axis=0)).max(axis=1)
    still = moves < 1e-9
    # The longest stretch without a move is the hold.
    edges = np.flatnonzero(np.diff(np.concatenate(([0], still.astype(int), [0]))))
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    limit_ms = 1_000.0 + 200.0 if on_link_loss == "play_out" else 200.0
    row.within(f"{on_link_loss}: at rest after", starts[longest] * TICK_MS, limit_ms + 5 * TICK_MS)
    row.note(f"held for {(ends - starts)[longest] / 100:.1f} s, then parked")
    assert (ends - starts)[longest] >= 70  # the grace of 1 s, less the ramp into the hold
    assert at_rest(commands[-1, 1:])
    assert too_fast(commands) <= 1.001


@pytest.mark.fault("G2", "link process stopped (SIGSTOP)", "held by deadlines, and goes on when it continues")
def test_a_stopped_link_process(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], tmp_path: Path
) -> None:
    """While the link process is stopped the control process plays out and holds; later the run goes on."""
    server = serve()
    made = arm(server.address, **logged(tmp_path)).moving()
    made.signal(signal.SIGSTOP)
    stopped_ns = now_ns()
    time.sleep(4.5)  # beyond two deadlines and the second of playing out
    commands = told(tmp_path)
    late = commands[commands[:, 0] >= stopped_ns + 4 * S]
    assert len(late) > 10
    assert np.ptp(late[:, 1:], axis=0).max() < 1e-9
    row.note("held still 4 s after the stop")
    made.signal(signal.SIGCONT)
    continued_ns = now_ns()
    back = made.first("chunk", continued_ns)
    row.within("back after", (back["mono_ns"] - continued_ns) / MS, 2 * BACK_MS)
    assert too_fast(told(tmp_path)) <= 1.001


@pytest.mark.fault("G3", "control loop silent for 200 ms", "the link process says so at once")
def test_a_silent_control_loop(row: Row, serve: Callable[..., Server], arm: Callable[..., Arm]) -> None:
    """A control process that is stopped is told of within 200 ms and a look, and so is its return."""
    server = serve()
    made = arm(server.address).moving()
    control = made.control_pid()
    stopped_ns = now_ns()
    os.kill(control, signal.SIGSTOP)
    said = made.first("control_silent", stopped_ns)
    row.within("said after", (said["mono_ns"] - stopped_ns) / MS, 200 + 20 + TICK_MS)
    os.kill(control, signal.SIGCONT)
    again = made.first("control_ticks_again", stopped_ns)
    row.note(f"again after {again['silent_ms']:.0f} ms")
    assert "has not ticked for" in made.words()
    assert "ticks again" in made.words()


@pytest.mark.fault(24, "disk full, log pipe blocked", "logging never blocks a tick")
@pytest.mark.parametrize("kind", ["full", "stalled"])
def test_records_that_cannot_be_written(
    kind: str, row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], tmp_path: Path
) -> None:
    """On a full disk, and into a pipe that nobody reads, the arm moves as ever and the run ends as asked."""
    server = serve()
    run = tmp_path / "arm" / "run"
    run.mkdir(parents=True)
    if kind == "full":
        (run / "run.jsonl").symlink_to("/dev/full")
    else:
        os.mkfifo(run / "run.jsonl")
        # Opened by a reader that reads nothing, and small: the writer soon blocks.
        reader = os.open(run / "run.jsonl", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    made = arm(server.address, seconds=10.0, **logged(tmp_path))
    assert made.wait() == 0, made.words()
    assert ("cannot be written" if kind == "full" else "held up") in made.words()
    commands = told(tmp_path)
    gaps = np.diff(commands[:, 0]) / MS
    assert np.ptp(commands[:, 1]) > 10  # degrees of the shoulder: it moved
    row.within(f"{kind}: longest gap between commands", float(gaps.max()), 5 * TICK_MS)


@pytest.mark.fault("RT", "ticks beside three cameras and their encoding", "p99 as a bare real-time sleeper's")
def test_ticks_beside_cameras(row: Row, serve: Callable[..., Server], arm: Callable[..., Arm]) -> None:
    """With real-time scheduling ticks are about as punctual as a process that does nothing but sleep."""
    server = serve()
    cameras = {name: [480, 640] for name in ("front", "top", "wrist")}
    late: dict[str, float] = {}
    for kind in ("real-time", "ordinary"):
        made = arm(server.address, kind, seconds=6.0, cameras=cameras, realtime=kind == "real-time")
        assert made.wait() == 0, made.words()
        late[kind] = made.summary()["tick_lateness_ms"]["p99"]
        row.note(f"{kind} p99 {late[kind]:.2f} ms")
        granted = made.events("scheduling")[0]["realtime"]
        if kind == "real-time" and not granted:
            pytest.skip("real-time scheduling is refused here: needs root or CAP_SYS_NICE")
    sleeper = sleeper_lateness(100.0, 6.0, realtime=True)
    row.note(f"bare sleeper p99 {sleeper.p99:.2f} ms")
    row.within("real-time p99", late["real-time"], max(1.0, 1.5 * sleeper.p99))
