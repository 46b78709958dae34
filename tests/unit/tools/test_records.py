"""Records are found where they belong and read back as they were written."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path

import pytest

from segue.client.recorder import QUEUE_HEADER
from segue.errors import ConfigError
from segue.tools.records import (
    QueueTrace,
    RunFolder,
    make_run_folder,
    read_events,
    read_queue,
    read_summary,
)
from tests.unit.tools.samples import Model, write_run

NOON = datetime(2026, 1, 31, 12, 0, 0)


def test_runs_of_the_same_second_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs without --output_dir never write into one folder."""
    monkeypatch.chdir(tmp_path)
    folders = [make_run_folder(None, NOON).path for _ in range(3)]
    assert [str(folder) for folder in folders] == [
        "outputs/2026-01-31_12-00-00",
        "outputs/2026-01-31_12-00-00_2",
        "outputs/2026-01-31_12-00-00_3",
    ]


def test_the_records_of_a_run_are_never_overwritten(tmp_path: Path) -> None:
    """A folder that holds a run is refused, an empty one is taken."""
    folder = make_run_folder(tmp_path / "run", NOON)
    assert make_run_folder(tmp_path / "run", NOON) == folder
    folder.events.write_text("{}\n")
    with pytest.raises(ConfigError, match="holds the records of a run already"):
        make_run_folder(tmp_path / "run", NOON)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the way is said in one sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"output_dir: .*file/run: expected a folder"):
        make_run_folder(tmp_path / "file" / "run", NOON)


def test_a_run_killed_in_mid_line_is_read_up_to_there(tmp_path: Path) -> None:
    """A torn last line is left out, in both files of lines."""
    folder = RunFolder(tmp_path)
    folder.events.write_text('{"event": "chunk", "number": 1}\n{"event": "chu')
    folder.queue.write_text(",".join(QUEUE_HEADER) + "\n0.0,0,WAITING,\n0.3,50,RUN,9\n0.3")
    assert [record["number"] for record in read_events(folder)] == [1]
    trace = read_queue(folder)
    assert (trace.t_s, trace.queue_steps, trace.level) == ([0.0, 0.3], [0, 50], ["WAITING", "RUN"])
    assert math.isnan(trace.delay_steps[0])
    assert trace.delay_steps[1] == 9


def test_other_columns_are_refused(tmp_path: Path) -> None:
    """A file with other columns is not taken for a queue."""
    folder = RunFolder(tmp_path)
    folder.queue.write_text("time,size\n1,2\n")
    with pytest.raises(ValueError, match="expected columns"):
        read_queue(folder)


def test_times_at_a_level_are_found_with_begin_and_end() -> None:
    """Ticks at one level that follow each other are one span, up to the first that is not."""
    trace = QueueTrace([0, 1, 2, 3, 4, 5], [0] * 6, list("WWRWRW"), [0] * 6)
    assert trace.spans("W") == [(0, 2), (3, 4), (5, 5)]
    assert trace.spans("S") == []


def test_a_summary_is_read_as_written(tmp_path: Path) -> None:
    """What is in the file comes back."""
    folder = write_run(tmp_path / "run", Model(), seconds=2)
    assert read_summary(folder) == json.loads(folder.summary.read_text())


def test_clearing_a_folder_takes_the_records_and_nothing_else(tmp_path: Path) -> None:
    """What somebody else put there stays."""
    folder = write_run(tmp_path / "run", Model(), seconds=1)
    folder.frames("front").write_bytes(b"")
    (folder.path / "notes.txt").write_text("mine")
    folder.clear()
    assert [path.name for path in folder.path.iterdir()] == ["notes.txt"]
