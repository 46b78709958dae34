"""What a user types, as real processes on loopback: serve, run, demo."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.cli.children import Child
from segue.cli.serve import READY

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
SMALL_CAMERA = "--robot.cameras={front: {type: sim, width: 160, height: 120, fps: 10}}"


@pytest.fixture
def belt_server(tmp_path: Path) -> Iterator[str]:
    """A server with the built-in policy and 300 ms of latency; yields its address."""
    words = ("serve", "--port=0", "--policy.path=builtin:belt", "--inference_latency=0.3")
    server = Child("server", words, tmp_path / "server.log", ONE_THREAD)
    address = server.wait_for(READY, 120.0)
    assert address, server.said()
    yield address
    assert server.end(signal.SIGTERM, 10.0) == 128 + signal.SIGTERM, server.said()


def _finished(run: Child, timeout_s: float) -> int:
    deadline = time.monotonic() + timeout_s
    while run.code is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return run.end(signal.SIGINT, 10.0)


def _summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def _events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]


def test_two_robots_on_one_server_both_lift_their_cubes(belt_server: str, tmp_path: Path) -> None:
    """Two simulated arms with belts of their own use one server at once, and neither notices the other."""
    runs = []
    for seed in (1, 2):
        words = [f"--server_address={belt_server}", "--robot.type=sim_so101", f"--robot.id=arm{seed}"]
        words += [f"--seed={seed}", "--episodes=6", "--chunk_size_threshold=1.0", SMALL_CAMERA]
        folder = tmp_path / f"run{seed}"
        runs.append(
            (
                Child(
                    f"arm{seed}",
                    ["run", *words, f"--output_dir={folder}"],
                    tmp_path / f"{seed}.log",
                    ONE_THREAD,
                ),
                folder,
            )
        )
    for run, folder in runs:
        assert _finished(run, 60.0) == 0, run.said()
        summary = _summary(folder)
        assert summary["cubes_offered"] == 6
        assert summary["successes"] >= 4, summary


def _starved_without_lateness(folder: Path) -> list[dict[str, Any]]:
    """Returns the entries into STARVED that no late tick and no late chunk of the second before explains."""
    events = _events(folder)
    starved = [e for e in events if e["event"] == "level" and e["state_to"] == "STARVED"]

    def explained(at_ns: int) -> bool:
        near = [e for e in events if abs(e["mono_ns"] - at_ns) < 1_000_000_000]
        late_chunk = any(
            e["event"] == "chunk" and (e["delay_steps"] or 0) > e["forecast_steps"] for e in near
        )
        return late_chunk or any(e["event"] in ("late", "request_missed") for e in near)

    return [e for e in starved if not explained(e["mono_ns"])]


def test_the_demonstration_shows_all_strategies(tmp_path: Path) -> None:
    """`segue demo` ends with 0, a table, a picture and a video; RTC lifts most cubes and waits least."""
    out = tmp_path / "demo"
    demo = Child("demo", ["demo", "--duration=20", f"--output_dir={out}"], tmp_path / "demo.log", ONE_THREAD)
    assert _finished(demo, 300.0) == 0, demo.said()
    names = ("sync", "async_latest_only", "async_weighted_average", "rtc")
    summaries = {name: _summary(out / name) for name in names}
    assert all(name.replace("_", " ", 1) in demo.said() for name in names), demo.said()
    rtc, sync = summaries["rtc"], summaries["sync"]
    assert rtc["successes"] > sync["successes"], demo.said()
    assert rtc["waiting_ticks"] < sync["waiting_ticks"]
    assert rtc["seam_jerk"] < summaries["async_latest_only"]["seam_jerk"]
    assert _starved_without_lateness(out / "rtc") == []
    assert (out / "queue.png").stat().st_size > 20_000
    assert any(
        (out / name).exists() and (out / name).stat().st_size > 50_000 for name in ("arm.mp4", "arm.gif")
    )
