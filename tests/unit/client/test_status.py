from __future__ import annotations

import pytest

from segue.client.messages import Status
from segue.client.status import StatusLine, status_text
from segue.core.watchdog import Cause


def at(t_s: float, level: str = "RUN", queue: int = 20) -> Status:
    return Status(t_s, level, queue, 4, 7, "fine")


def test_a_line_says_state_queue_delay_and_why() -> None:
    """The line holds time, state, queue, delay and cause, on one line of a terminal's width."""
    text = status_text(Status(61.25, "STARVED", 0, None, 3, "empty_plan"))
    for word in ("61.2", "STARVED", "queue   0", "delay  –", "the next chunk is late"):
        assert word in text
    assert len(status_text(at(1.0, queue=1000))) < 100


def test_into_a_file_only_changes_of_state_are_written() -> None:
    """Without a terminal there is a line per change, and none for time that passes."""
    line = StatusLine(refreshed=False)
    shown = [line.text(at(k * 0.1, "RUN" if k < 50 else "HOLD")) for k in range(100)]
    assert [k for k, text in enumerate(shown) if text is not None] == [0, 50]


def test_on_a_terminal_it_is_refreshed_five_times_a_second_at_most() -> None:
    """A hundred statuses a second become five lines."""
    line = StatusLine(refreshed=True)
    shown = [line.text(at(k * 0.01)) for k in range(1000)]
    assert 45 <= sum(text is not None for text in shown) <= 51


def test_the_first_chunk_is_a_change_of_state() -> None:
    """Waiting and what ends it are a line each, so that a healthy run is seen to run."""
    line = StatusLine(refreshed=False)
    shown = [line.text(at(k * 0.1, "WAITING" if k < 5 or k % 3 else "RUN")) for k in range(30)]
    assert [line.text.split()[2] for line in shown if line] == ["WAITING", "RUN"]


@pytest.mark.parametrize(
    ("level", "why", "chunks", "ends_with"),
    [
        ("RUN", "fine", 3, "all is well"),
        ("RUN", "resumed", 3, "goes on with a fresh chunk"),
        ("WAITING", "started", 0, "for the first chunk"),
        ("WAITING", "fine", 3, "for the next chunk"),
        ("WAITING", "request_failed", 3, "a request failed: deadline"),
        ("HOLD", "link_lost", 3, "no server: deadline"),
    ],
)
def test_why_is_always_said(level: str, why: str, chunks: int, ends_with: str) -> None:
    """Every state says why it is, and what is behind it where something is."""
    detail = "deadline" if "deadline" in ends_with else ""
    assert status_text(Status(1.0, level, 0, None, chunks, why, detail)).endswith(ends_with)


def test_every_cause_has_words() -> None:
    """No cause is shown by its code name."""
    for cause in Cause:
        assert "_" not in status_text(Status(1.0, "HOLD", 0, None, 3, cause.value))


def test_the_pauses_of_sync_are_no_change_of_state() -> None:
    """Waiting for a chunk as planned does not write a line each time."""
    line = StatusLine(refreshed=False)
    shown = [line.text(at(k * 0.1, "WAITING" if k % 3 else "RUN")) for k in range(30)]
    assert sum(text is not None for text in shown) == 1


def test_a_run_that_goes_on_is_simply_well() -> None:
    """What brought a run back is news for one line; refreshed later, all is well."""
    line = StatusLine(refreshed=True)
    back = Status(1.0, "RUN", 20, 4, 7, "resumed")
    first = line.text(back)
    later = line.text(Status(2.0, "RUN", 20, 4, 7, "resumed"))
    assert first is not None
    assert later is not None
    assert (first.is_change, later.is_change) == (True, False)
    assert first.text.endswith("goes on with a fresh chunk")
    assert later.text.endswith("all is well")
    assert len(later.text) < 80
