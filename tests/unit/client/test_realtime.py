from __future__ import annotations

import gc
import os
import threading

import pytest

from segue.client import realtime


def test_real_time_is_taken_or_refused_with_a_reason() -> None:
    """Either the thread is in the real-time class afterwards, or a sentence says why not."""
    seen: list[tuple[str | None, int]] = []

    def attempt() -> None:
        seen.append((realtime.take_realtime(), os.sched_getscheduler(0)))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    ((refusal, policy),) = seen
    assert (policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO) == (refusal is None)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # of the other threads nothing was taken


def test_a_refusal_is_a_sentence_and_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the permission the refusal names what is needed."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert "CAP_SYS_NICE" in (realtime.take_realtime() or "")


def test_frozen_garbage_is_collected_only_when_asked() -> None:
    """After the freeze nothing is collected by itself, and a collection still finds new cycles."""

    class Cycle:
        def __init__(self) -> None:
            self.me = self

    realtime.freeze_garbage()
    try:
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
        gc.collect()
        Cycle()
        assert gc.collect() >= 1
        realtime.collect_garbage()
    finally:
        realtime.thaw_garbage()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
