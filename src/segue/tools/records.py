"""What a run leaves on disk, and how it is read back.

    <output_dir>/config.yaml     the resolved configuration; --config_path on it repeats the run
                 run.jsonl       one record per chunk, drop, failed request and change of state
                 queue.csv       one row per step and per waiting or starved tick
                 summary.json    the run in numbers
                 front.mjpeg     pictures of one camera, one JPEG after the other (when asked for)

Reading is forgiving where a run was killed in mid-line: the torn last line is
left out. Nothing here measures; names and formats are all that is fixed.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from segue.client.recorder import QUEUE_HEADER
from segue.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def events(self) -> Path:
        """One JSON record per line."""
        return self.path / "run.jsonl"

    @property
    def queue(self) -> Path:
        """The queue over time."""
        return self.path / "queue.csv"

    @property
    def summary(self) -> Path:
        """The run in numbers."""
        return self.path / "summary.json"

    @property
    def plot(self) -> Path:
        """The queue over time, drawn."""
        return self.path / "queue.png"

    def clear(self) -> None:
        """Removes the records of an earlier run, and nothing else that may lie here."""
        for path in (
            self.config,
            self.events,
            self.queue,
            self.summary,
            self.plot,
            *self.path.glob("*.mjpeg"),
        ):
            path.unlink(missing_ok=True)

    def frames(self, camera: str) -> Path:
        """Returns where the pictures of `camera` lie."""
        return self.path / f"{camera}.mjpeg"


@dataclass(frozen=True, slots=True)
class QueueTrace:
    """A run's queue over time; all four have the same length.

    Attributes:
        t_s: since the start of the run.
        queue_steps: actions planned.
        level: name of the safety level, or ``WAITING`` where that is as it should be.
        delay_steps: what the newest round trip took; NaN before the first.
    """

    t_s: list[float]
    queue_steps: list[int]
    level: list[str]
    delay_steps: list[float]

    def spans(self, level: str) -> list[tuple[float, float]]:
        """Returns from when to when the run was at `level`, in s."""
        found: list[tuple[float, float]] = []
        inside: float | None = None
        for t, each in zip(self.t_s, self.level, strict=True):
            if each == level and inside is None:
                inside = t
            elif each != level and inside is not None:
                found.append((inside, t))
                inside = None
        return found if inside is None else [*found, (inside, self.t_s[-1])]


def make_run_folder(output_dir: Path | None, now: datetime) -> RunFolder:
    """Makes the folder of a run, by default ``outputs/<time>``.

    Args:
        output_dir: as configured.
        now: wall-clock time; names the folder and decides nothing.

    Raises:
        ConfigError: it cannot be made, or holds the records of another run.
    """
    path = output_dir if output_dir is not None else _unused(Path("outputs"), f"{now:%Y-%m-%d_%H-%M-%S}")
    make_folder(path)
    folder = RunFolder(path)
    if folder.events.exists() or folder.summary.exists():
        raise ConfigError(f"output_dir: {path}: holds the records of a run already; expected another folder")
    return folder


def make_folder(path: Path) -> None:
    """Makes a folder for records, if there is none.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"output_dir: {path}: expected a folder to write to: {error.strerror}") from None


def read_events(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """Yields the records of run.jsonl in order."""
    for line in folder.events.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            return  # torn by the end of the run; whatever follows was never written
        yield record


def read_summary(folder: RunFolder) -> dict[str, Any]:
    """Returns the run in numbers."""
    summary = json.loads(folder.summary.read_text(encoding="utf-8"))
    return dict(summary)


def read_queue(folder: RunFolder) -> QueueTrace:
    """Returns the run's queue over time.

    Raises:
        ValueError: the file has other columns.
    """
    trace = QueueTrace([], [], [], [])
    with folder.queue.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = tuple(next(rows, ()))
        if header != QUEUE_HEADER:
            raise ValueError(f"{folder.queue}: expected columns {QUEUE_HEADER}, found {header}")
        for row in rows:
            if len(row) != len(QUEUE_HEADER):
                break  # torn by the end of the run
            trace.t_s.append(float(row[0]))
            trace.queue_steps.append(int(row[1]))
            trace.level.append(row[2])
            trace.delay_steps.append(float(row[3] or "nan"))
    return trace


def _unused(parent: Path, name: str) -> Path:
    """Returns `parent`/`name`, with a number behind it when two runs start in the same second."""
    path, number = parent / name, 1
    while path.exists():
        number += 1
        path = parent / f"{name}_{number}"
    return path
