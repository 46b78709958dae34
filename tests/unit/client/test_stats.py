from __future__ import annotations

import json

import numpy as np
import pytest

from segue.client.stats import Exchange, RunStats
from segue.core.facts import ChunkDropped, ChunkTaken, LevelChanged, RequestMissed, Tick
from segue.core.queue import Merged, PlannedAction
from segue.core.schedule import DropReason
from segue.core.types import ActionChunk
from segue.core.watchdog import Cause, LevelChange, SafetyLevel

MS = 1_000_000
# Every key that the summary of a run must have.
KEYS = {
    "cubes_offered",
    "successes",
    "ticks",
    "tick_hz",
    "starved_ticks",
    "waiting_ticks",
    "chunks",
    "skipped_steps",
    "dropped_chunks",
    "delay_steps",
    "round_trip_ms",
    "inference_ms",
    "network_ms",
    "observation_bytes",
    "tick_lateness_ms",
    "robot_ms",
    "max_command_speed",
    "seam_jerk",
    "exit_reason",
}


def tick(
    at: float = 0.0,
    level: SafetyLevel = SafetyLevel.RUN,
    waiting: bool = False,
    events: tuple[object, ...] = (),
    began: PlannedAction | None = None,
) -> Tick:
    action = np.array([at, 0.0])
    return Tick(action, None, began, level, waiting, events, None)  # type: ignore[arg-type]


def taken(start_step: int, skipped: int, delay_steps: int | None) -> ChunkTaken:
    chunk = ActionChunk(1, 1, start_step, 0, np.zeros((5, 2)), None, 0, "hash")
    return ChunkTaken(chunk, Merged(skipped, 5 - skipped, 0), 1, delay_steps, 120 * MS, 5 - skipped)


def run(ticks: list[Tick]) -> dict[str, object]:
    stats = RunStats(("pan", "lift"), 100.0)
    for k, each in enumerate(ticks):
        stats.add(each, k * 10 * MS)
    return stats.summary("done")


def test_a_summary_has_every_key_even_of_a_run_that_did_nothing() -> None:
    """All promised keys are there and the whole is JSON, with None for what was not measured."""
    summary = RunStats(("pan",), 100.0).summary("done")
    assert set(summary) >= KEYS
    assert json.loads(json.dumps(summary)) == summary
    assert summary["tick_hz"] is None
    assert summary["seam_jerk"] is None


def test_ticks_are_counted_by_what_the_arm_did() -> None:
    """Starved, waiting and held ticks are counted apart; a hold's emptiness is no waiting."""
    summary = run(
        [
            tick(waiting=True),
            tick(),
            tick(level=SafetyLevel.STARVED),
            tick(level=SafetyLevel.STARVED),
            tick(level=SafetyLevel.HOLD, waiting=True),
            tick(level=SafetyLevel.PARK, waiting=True),
        ]
    )
    assert summary["ticks"] == 6
    assert summary["waiting_ticks"] == 1
    assert summary["starved_ticks"] == 2
    assert summary["held_ticks"] == 2
    assert summary["tick_hz"] == 100.0


def test_events_are_counted() -> None:
    """Chunks, their skipped steps, drops, misses and level changes each have their count."""
    change = LevelChange(SafetyLevel.RUN, SafetyLevel.DEGRADED, Cause.REQUEST_FAILED)
    summary = run(
        [
            tick(events=(taken(0, 0, None),)),
            tick(events=(taken(3, 2, 2), ChunkDropped(1, 1, DropReason.TOO_OLD))),
            tick(events=(RequestMissed(3, "deadline"), LevelChanged(change, "", 0, None, 0))),
        ]
    )
    assert (summary["chunks"], summary["skipped_steps"], summary["dropped_chunks"]) == (2, 2, 1)
    assert (summary["missed_requests"], summary["level_changes"]) == (1, 1)


def test_cold_round_trips_are_left_out() -> None:
    """A chunk without a delay in steps was a cold one and says nothing about the next."""
    summary = run([tick(events=(taken(0, 0, None),)), tick(events=(taken(0, 0, 3),))])
    assert summary["delay_steps"] == {"p50": 3.0, "p95": 3.0, "p99": 3.0}
    assert summary["round_trip_ms"] == {"p50": 120.0, "p95": 120.0, "p99": 120.0}


def test_speed_is_the_largest_move_between_two_commands_per_second() -> None:
    """Half a degree between two ticks of 10 ms is 50 degrees a second."""
    summary = run([tick(1.0), tick(1.5), tick(1.2)])
    assert summary["max_command_speed"] == {"pan": 50.0, "lift": 0.0}


def test_lateness_has_its_median_tail_and_maximum() -> None:
    """Of a hundred punctual ticks and one late one the maximum tells, with what was dropped."""
    stats = RunStats(("pan",), 100.0)
    for _ in range(100):
        stats.add_lateness(0, 0)
    stats.add_lateness(35 * MS, 3)
    summary = stats.summary("done")
    assert summary["tick_lateness_ms"] == {"p50": 0.0, "p99": 0.0, "max": 35.0}
    assert summary["dropped_ticks"] == 3


def test_exchanges_give_percentiles_of_time_and_size() -> None:
    """What the server, the network and the sending took is summed up apart."""
    stats = RunStats(("pan",), 100.0)
    for inference_ms in (10, 20, 30):
        stats.add_exchange(Exchange(inference_ms * MS, 2 * MS, 9 * MS, 200_000))
    summary = stats.summary("done")
    assert summary["inference_ms"] == {"p50": 20.0, "p95": 29.0, "p99": 29.8}
    assert summary["network_ms"] == {"p50": 2.0, "p95": 2.0, "p99": 2.0}
    assert summary["overhead_ms"] == {"p50": 9.0, "p95": 9.0, "p99": 9.0}
    assert summary["observation_bytes"] == {"p50": 200_000.0}


def test_the_seam_is_where_the_first_kept_action_of_a_chunk_begins() -> None:
    """A chunk asked for at step 1 with two steps skipped rules from step 3 on, and there is its seam."""
    targets = [0.0, 0.0, 0.0, 6.0, 6.0, 6.0, 6.0]
    ticks = []
    for step, target in enumerate(targets):
        events = (taken(1, 2, 2),) if step == 3 else ()
        action = PlannedAction(step, np.array([target, 0.0]), 0)
        ticks.append(tick(target, events=events, began=action))
    bends = [0.0, 6.0, 6.0, 0.0, 0.0]  # centred on steps 1 … 5
    assert run(ticks)["seam_jerk"] == pytest.approx(np.percentile(bends, 95))


def test_what_the_robot_counted_itself_stands_in_the_summary() -> None:
    """A robot's own counts replace the empty ones."""
    summary = RunStats(("pan",), 100.0).summary("done", {"cubes_offered": 9, "successes": 8})
    assert (summary["cubes_offered"], summary["successes"]) == (9, 8)


def test_the_time_that_a_robot_takes_is_counted() -> None:
    """How long reading and writing took is in the summary, as percentiles in milliseconds."""
    stats = RunStats(("pan", "lift"), 100.0)
    for duration_ms in (1, 2, 3):
        stats.add_robot(duration_ms * MS)
    assert stats.summary("done")["robot_ms"] == {"p50": 2.0, "p99": 2.98}
