from __future__ import annotations

import json

import numpy as np
import pytest

from segue.client.diary import Diary, event_line
from segue.client.mailbox import mailbox_pair
from segue.client.messages import Record, Say, Status
from segue.core.facts import ChunkDropped, ChunkTaken, Event, LevelChanged, RequestMissed
from segue.core.outlook import OutlookChanged, Standing
from segue.core.queue import Merged
from segue.core.schedule import DropReason
from segue.core.types import ActionChunk
from segue.core.watchdog import Cause, LevelChange, SafetyLevel

CHUNK = ActionChunk(4, 2, 10, 0, np.zeros((5, 2)), None, 3, "hash")
CHANGE = LevelChange(SafetyLevel.DEGRADED, SafetyLevel.HOLD, Cause.LINK_LOST)


def test_lines_are_json_with_a_head_and_count_up() -> None:
    """Each line names event, robot and side, carries its time, and is numbered without a gap."""
    diary_end, reader = mailbox_pair()
    diary = Diary(diary_end, "arm", "control")
    diary.write("first", 5, {"a": 1})
    diary.write("second", 6, {})
    lines = [json.loads(m.body) for m in reader.drain() if isinstance(m, Record)]
    assert lines[0] == {
        "event": "first",
        "robot_id": "arm",
        "side": "control",
        "seq": 1,
        "mono_ns": 5,
        "a": 1,
    }
    assert lines[1]["seq"] == 2


def test_a_full_pipe_drops_lines_and_leaves_a_gap() -> None:
    """A reader that sleeps holds nobody up; what it missed can be seen by the numbers."""
    diary_end, reader = mailbox_pair()
    diary = Diary(diary_end, "arm", "control")
    while not diary.dropped:
        diary.write("x", 0, {"padding": "." * 1000})
    count = len(list(reader.drain()))
    diary.write("y", 0, {})
    (line,) = (json.loads(m.body) for m in reader.drain() if isinstance(m, Record))
    assert line["seq"] == count + 2


def test_every_message_that_finds_the_pipe_full_is_counted() -> None:
    """Lines, sentences and statuses that find no room are all counted as dropped."""
    diary_end, reader = mailbox_pair()
    diary = Diary(diary_end, "arm", "control")
    while not diary.dropped:
        diary.write("x", 0, {"padding": "." * 1000})
    while diary_end.put(Say("")):  # what is left of the room
        pass
    dropped = diary.dropped
    diary.write("y", 0, {})
    diary.say("hello")
    diary.show(Status(0.0, "RUN", 1, None, 1, ""))
    assert diary.dropped == dropped + 3
    reader.close()


def test_a_sentence_is_passed_on() -> None:
    """What a person should know travels on its own, not as a record."""
    diary_end, reader = mailbox_pair()
    Diary(diary_end, "arm", "link").say("hello")
    assert list(reader.drain()) == [Say("hello")]


def test_a_change_of_state_has_every_promised_field() -> None:
    """A change of state says from where, to where, why, how full the queue was, and how long it took."""
    name, fields = event_line(LevelChanged(CHANGE, "reset", 7, 250_000_000, 30_000_000))
    assert name == "level"
    assert fields == {
        "state_from": "DEGRADED",
        "state_to": "HOLD",
        "cause": "link_lost",
        "detail": "reset",
        "queue_len": 7,
        "action_age_ms": 250.0,
        "detect_ms": 30.0,
    }


@pytest.mark.parametrize(
    ("event", "name", "some"),
    [
        (
            ChunkTaken(CHUNK, Merged(3, 2, 1), 4, 3, 120_000_000, 2),
            "chunk",
            {
                "number": 4,
                "start_step": 10,
                "skipped": 3,
                "kept": 2,
                "delay_steps": 3,
                "round_trip_ms": 120.0,
            },
        ),
        (
            ChunkDropped(4, 2, DropReason.TOO_OLD, 2_500_000_000, 75),
            "chunk_dropped",
            {"number": 4, "reason": "too_old", "round_trip_ms": 2500.0, "delay_steps": 75},
        ),
        (
            ChunkDropped(4, 2, DropReason.NOT_ASKED),
            "chunk_dropped",
            {"number": 4, "round_trip_ms": None, "delay_steps": None},
        ),
        (
            OutlookChanged(Standing.LASTS, Standing.RUNS_DRY, 39, 0.35897, 890_000_000),
            "outlook",
            {
                "outlook_from": "LASTS",
                "outlook_to": "RUNS_DRY",
                "delay_steps": 39,
                "starved_share": 0.359,
                "oldest_action_ms": 890.0,
            },
        ),
        (RequestMissed(4, "deadline"), "request_missed", {"number": 4, "cause": "deadline"}),
        (LevelChanged(CHANGE, "", 0, None, 0), "level", {"action_age_ms": None}),
    ],
)
def test_every_fact_becomes_a_line_of_plain_values(event: Event, name: str, some: dict[str, object]) -> None:
    """Each kind of fact has its own line, and all of its fields are JSON."""
    said, fields = event_line(event)
    assert said == name
    assert some.items() <= fields.items()
    assert json.loads(json.dumps(fields)) == fields
