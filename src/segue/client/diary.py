"""From ticks to the lines of `run.jsonl`: one for each chunk and each change of state.

Facts become flat JSON objects here, with units in their names. The lines of
each side have a `seq` that counts up by one, so a line that was dropped because
the pipe was full leaves a gap that can be seen. What is written where is the recorder's
business; a full pipe never holds up a tick.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from segue.client.mailbox import Mailbox
from segue.client.messages import Record, Say, Status
from segue.clock import NS_PER_MS
from segue.core.facts import ChunkDropped, ChunkTaken, Event, LevelChanged, RequestMissed
from segue.core.outlook import OutlookChanged

Fields = dict[str, Any]


class Diary:
    """Writes what one side, ``control``, ``link`` or ``pulse``, has to say about a robot into a mailbox."""

    def __init__(self, mailbox: Mailbox, robot_id: str, side: str) -> None:
        self._mailbox = mailbox
        self._robot_id = robot_id
        self._side = side
        self._seq = 0

    def __repr__(self) -> str:
        return f"<Diary {self._robot_id} {self._side} seq={self._seq}>"

    @property
    def dropped(self) -> int:
        """How many messages found the pipe full."""
        return self._mailbox.dropped

    def write(self, event: str, now_ns: int, fields: Mapping[str, Any]) -> None:
        """Writes one line.

        Args:
            event: what happened, one word.
            now_ns: monotonic time of it.
            fields: the rest of the line.
        """
        self._seq += 1
        head = {
            "event": event,
            "robot_id": self._robot_id,
            "side": self._side,
            "seq": self._seq,
            "mono_ns": now_ns,
        }
        self._mailbox.put(Record(json.dumps(head | dict(fields)).encode()))

    def say(self, text: str) -> None:
        """Passes a sentence on to the person at the terminal."""
        self._mailbox.put(Say(text))

    def show(self, status: Status) -> None:
        """Passes on how things stand."""
        self._mailbox.put(status)


def event_line(event: Event) -> tuple[str, Fields]:
    """Returns the name and the fields of a fact's line."""
    match event:
        case ChunkTaken():
            return "chunk", _taken(event)
        case ChunkDropped():
            return "chunk_dropped", {
                "number": event.number,
                "epoch": event.epoch,
                "reason": event.reason.value,
                "round_trip_ms": None if event.round_trip_ns is None else _ms(event.round_trip_ns),
                "delay_steps": event.delay_steps,
            }
        case RequestMissed():
            return "request_missed", {"number": event.number, "cause": event.cause}
        case LevelChanged():
            return "level", _changed(event)
        case OutlookChanged():
            return "outlook", {
                "outlook_from": event.before.name,
                "outlook_to": event.after.name,
                "delay_steps": event.delay_steps,
                "starved_share": round(event.starved_share, 4),
                "oldest_action_ms": _ms(event.oldest_ns),
            }


def _taken(event: ChunkTaken) -> Fields:
    chunk, merged = event.chunk, event.merged
    return {
        "number": chunk.request_number,
        "epoch": chunk.epoch,
        "start_step": chunk.start_step,
        "skipped": merged.skipped,
        "kept": merged.kept,
        "replaced": merged.replaced,
        "queue_len": event.left,
        "forecast_steps": event.forecast_steps,
        "conditioned_delay": chunk.conditioned_delay,
        "delay_steps": event.delay_steps,
        "round_trip_ms": _ms(event.round_trip_ns),
        "cold": chunk.cold,
    }


def _changed(event: LevelChanged) -> Fields:
    return {
        "state_from": event.change.before.name,
        "state_to": event.change.after.name,
        "cause": event.change.cause.value,
        "detail": event.detail,
        "queue_len": event.left,
        "action_age_ms": None if event.action_age_ns is None else _ms(event.action_age_ns),
        "detect_ms": _ms(event.detect_ns),
    }


def _ms(duration_ns: int) -> float:
    return round(duration_ns / NS_PER_MS, 3)
