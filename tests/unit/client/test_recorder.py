from __future__ import annotations

import json
import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segue.client.mailbox import Mailbox, mailbox_pair, socket_pair
from segue.client.messages import CameraWorks, Ended, Record, Say, Status, encode_message
from segue.client.recorder import Recorder, RunFiles
from segue.errors import ConfigError

WAIT_S = 20.0


class Listener:
    """Remembers what a person would have been told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.statuses: list[Status] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def status(self, status: Status) -> None:
        self.statuses.append(status)


def recorded(directory: Path | None, *messages: object) -> tuple[Recorder, Listener]:
    """Lets a recorder take `messages` from one side and returns it when both sides have closed."""
    left, left_reader = mailbox_pair()
    right, right_reader = mailbox_pair()
    files, listener = RunFiles(directory), Listener()
    recorder = Recorder((left_reader, right_reader), files, listener)
    recorder.start()
    for message in messages:
        left.put(message)  # type: ignore[arg-type]
    left.close()
    right.put(Record(b'{"event": "of the other side"}'))
    right.close()
    recorder.join(WAIT_S)
    files.close()
    return recorder, listener


def test_records_rows_and_words_go_where_they_belong(tmp_path: Path) -> None:
    """Lines go to run.jsonl, statuses to queue.csv and the person, the last words are kept."""
    status = Status(0.25, "RUN", 12, 3, 1, "fine")
    ended = Ended(0, "done", "", b"{}")
    recorder, listener = recorded(tmp_path, Record(b'{"event": "a"}'), status, Say("hello"), ended)
    lines = [json.loads(line)["event"] for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert sorted(lines) == ["a", "of the other side"]
    assert (tmp_path / "queue.csv").read_text() == "t_s,queue_steps,level,delay_steps\n0.25,12,RUN,3\n"
    assert (listener.statuses, listener.said) == ([status], ["hello"])
    assert recorder.ended == ended


def test_no_delay_yet_is_an_empty_cell(tmp_path: Path) -> None:
    """Before the first round trip the delay's cell is empty, not zero."""
    recorded(tmp_path, Status(0.0, "WAITING", 0, None, 0, "started"))
    assert (tmp_path / "queue.csv").read_text().splitlines()[1] == "0.0,0,WAITING,"


def test_without_a_folder_nothing_is_written_and_all_is_heard() -> None:
    """A run without an output folder leaves no file, and the person hears all the same."""
    recorder, listener = recorded(None, Say("hello"), Ended(0, "done", "", b"{}"))
    assert listener.said == ["hello"]
    assert recorder.ended is not None


def test_a_full_disk_is_said_once_and_ends_nothing(tmp_path: Path) -> None:
    """When the disk is full the records are lost and counted, once said, and the rest goes on."""
    os.symlink("/dev/full", tmp_path / "run.jsonl")
    messages = [Record(b"{}") for _ in range(50)]
    recorder, listener = recorded(tmp_path, *messages, Say("still here"), Ended(0, "done", "", b"{}"))
    assert "still here" in listener.said
    assert sum("cannot be written" in text for text in listener.said) == 1
    assert recorder.ended is not None


def test_the_summary_is_one_json_object(tmp_path: Path) -> None:
    """summary.json holds the numbers of the run."""
    files = RunFiles(tmp_path / "new")
    files.summary({"ticks": 3, "seam_jerk": None})
    files.close()
    assert json.loads((tmp_path / "new" / "summary.json").read_text()) == {"ticks": 3, "seam_jerk": None}


def test_a_folder_that_cannot_be_made_is_a_wrong_configuration(tmp_path: Path) -> None:
    """An output folder below a file is refused with its name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="output_dir"):
        RunFiles(tmp_path / "file" / "folder")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Lets no file of this process grow beyond `size` bytes, as a disk that is nearly full would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_fits_only_in_part_is_taken_back(tmp_path: Path) -> None:
    """A disk that takes half of a line costs that line, which is counted, and spoils none after it."""
    files = RunFiles(tmp_path)
    lines = [b'{"line": %d, "padding": "%s"}' % (number, b"." * 80) for number in range(4)]
    with files_of_at_most(5 * len(lines[0]) // 2):
        for line in lines[:3]:
            files.record(line)
    written = tmp_path / "run.jsonl"
    assert (files.failures, written.read_bytes().splitlines()) == (1, lines[:2])
    files.record(lines[3])
    files.close()
    assert written.read_bytes().splitlines() == [lines[0], lines[1], lines[3]]


@pytest.mark.parametrize(
    "nonsense", [b"\x07nonsense", encode_message(CameraWorks())], ids=["bytes", "direction"]
)
def test_a_side_that_writes_nonsense_does_not_silence_the_other(tmp_path: Path, nonsense: bytes) -> None:
    """What it said before is kept, nothing that comes later, and the other side is recorded to its end."""
    mad, mad_reader = socket_pair()
    right, right_reader = mailbox_pair()
    files, listener = RunFiles(tmp_path), Listener()
    control = Mailbox(mad_reader)
    recorder = Recorder((control, right_reader), files, listener)
    recorder.start()
    for data in (encode_message(Say("hello")), nonsense, encode_message(Ended(0, "done", "", b"{}"))):
        mad.send(data)
    right.put(Record(b'{"event": "of the other side"}'))
    right.close()
    recorder.join(WAIT_S)
    files.close()
    assert (recorder.busy, recorder.ended, listener.said) == (False, None, ["hello"])
    assert control.damage
    assert "of the other side" in (tmp_path / "run.jsonl").read_text()


def test_a_flood_of_one_side_does_not_silence_the_other(tmp_path: Path) -> None:
    """Beside a side that never stops to talk the other one is recorded, and the end still comes."""
    left, left_reader = mailbox_pair()
    right, right_reader = mailbox_pair()
    files, listener = RunFiles(tmp_path), Listener()
    recorder = Recorder((left_reader, right_reader), files, listener)
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            left.put(Record(b"{}"))

    writer = threading.Thread(target=flood)
    writer.start()
    recorder.start()
    right.put(Say("heard"))
    deadline = time.monotonic() + WAIT_S
    while not listener.said and time.monotonic() < deadline:
        time.sleep(0.01)
    assert listener.said == ["heard"]
    over.set()
    writer.join()
    for each in (left, right):
        each.close()
    recorder.join(WAIT_S)
    assert not recorder.busy
    files.close()
