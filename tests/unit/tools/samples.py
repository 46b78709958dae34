"""Records of runs as the client writes them, made by a small model of a queue, for the tests of the tools."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from segue.client.recorder import QUEUE_HEADER
from segue.tools.records import RunFolder


@dataclass(frozen=True)
class Model:
    """A strategy that asks at step `after` of each chunk; `waits` stops for the answer."""

    waits: bool = False
    after: int = 10
    horizon: int = 50
    stall_at_s: float | None = None


def write_run(path: Path, model: Model, seconds: float = 45.0, seed: int = 0) -> RunFolder:
    """Writes queue.csv and summary.json of a run at 30 steps/s with about 10 steps of delay."""
    path.mkdir(parents=True)
    folder = RunFolder(path)
    rows = list(_rows(model, seconds, np.random.default_rng(seed)))
    text = [",".join(QUEUE_HEADER), *(",".join(map(str, row)) for row in rows)]
    folder.queue.write_text("\n".join(text) + "\n")
    folder.summary.write_text(json.dumps(summary(rows)))
    return folder


def _rows(model: Model, seconds: float, rng: np.random.Generator) -> Any:
    t, queue, since_merge, since_ask = 0.0, 0, 0, 0
    asked_at: float | None = None
    takes, delay, first = 0.0, "", True
    while t < seconds:
        if asked_at is not None and t >= asked_at + takes:
            delay = str(int(np.ceil(takes * 30)))
            queue = model.after if model.waits else model.horizon - since_ask
            asked_at, since_merge, first = None, 0, False
        if asked_at is None and (queue == 0 or (not model.waits and since_merge >= model.after)):
            stalls = model.stall_at_s is not None and 0 < t - model.stall_at_s < 1
            asked_at, since_ask, takes = t, 0, 0.31 + 0.02 * rng.random() + (1.9 if stalls else 0.0)
        if queue == 0:
            yield round(t, 4), 0, "WAITING" if model.waits or first else "STARVED", delay
            t += 0.01
        else:
            yield round(t, 4), queue, "RUN", delay
            queue, since_merge, since_ask, t = queue - 1, since_merge + 1, since_ask + 1, t + 1 / 30


def summary(rows: list[Any]) -> dict[str, Any]:
    """Returns a summary with the keys of a real one."""
    levels = [row[2] for row in rows]
    return {
        "cubes_offered": 20,
        "successes": 19,
        "ticks": 4500,
        "tick_hz": 99.98,
        "starved_ticks": levels.count("STARVED"),
        "waiting_ticks": levels.count("WAITING"),
        "held_ticks": levels.count("HOLD") + levels.count("PARK"),
        "chunks": 131,
        "skipped_steps": 1298,
        "dropped_chunks": 1,
        "delay_steps": {"p50": 10.0, "p95": 11.0, "p99": 11.0},
        "round_trip_ms": {"p50": 322.4, "p95": 331.0, "p99": 340.2},
        "inference_ms": {"p50": 8.1, "p95": 9.0, "p99": 12.0},
        "network_ms": {"p50": 2.1, "p95": 3.0, "p99": 4.0},
        "observation_bytes": {"p50": 96000},
        "tick_lateness_ms": {"p50": 0.1, "p99": 7.25, "max": 12.0},
        "max_command_speed": {"shoulder_pan": 90.0},
        "seam_jerk": 4.0312,
        "exit_reason": "done",
    }


def write_mjpeg(path: Path, count: int, width: int = 64, height: int = 48) -> Path:
    """Writes `count` pictures of a moving bar."""
    frames = []
    for k in range(count):
        image = np.zeros((height, width, 3), dtype=np.uint8)
        image[:, (3 * k) % width : (3 * k) % width + 8] = (200, 40 + k % 200, 30)
        frames.append(simplejpeg.encode_jpeg(image, quality=90))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(frames))
    return path
