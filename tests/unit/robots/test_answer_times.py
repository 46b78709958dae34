"""How long an answer is waited for is learnt from those that came."""

from __future__ import annotations

from segue.robots.answer_times import ADAPTER_MARGIN_NS, AnswerTimes

MS = 1_000_000


def test_a_quick_line_is_given_two_milliseconds() -> None:
    """Before and after quick answers an adapter's usual milliseconds are allowed."""
    times = AnswerTimes()
    assert times.patience_ns == ADAPTER_MARGIN_NS
    for _ in range(200):
        times.note(MS // 5)
    assert times.patience_ns == ADAPTER_MARGIN_NS
    assert not times.slow


def test_slow_answers_make_patient_and_are_forgotten() -> None:
    """Half as much again as the slowest of late is allowed, and some quick seconds later no more."""
    times = AnswerTimes()
    times.note(8 * MS)
    for _ in range(60):
        times.note(2 * MS)
    assert times.patience_ns == 12 * MS
    for _ in range(130):
        times.note(2 * MS)
    assert times.patience_ns == 3 * MS


def test_a_late_answer_on_a_quick_line_makes_nobody_wait() -> None:
    """A machine that woke late once is no reason to ask later for what was lost."""
    times = AnswerTimes()
    for _ in range(20):
        times.note(MS // 5)
    times.note(6 * MS)
    assert times.patience_ns == ADAPTER_MARGIN_NS


def test_after_a_silence_a_question_has_all_the_time_there_is() -> None:
    """Nobody knows whether the adapter became slow, until somebody answers."""
    times = AnswerTimes()
    times.note_answered(by_anybody=False)
    assert times.patience_ns is None
    times.note_answered(by_anybody=True)
    assert times.patience_ns == ADAPTER_MARGIN_NS


def test_a_line_is_slow_when_most_answers_are() -> None:
    """One late wake-up makes no slow adapter, and one quick answer no quick one."""
    times = AnswerTimes()
    for _ in range(8):
        times.note(9 * MS)
    assert not times.slow
    times.note(9 * MS)
    assert times.slow
    for _ in range(7):
        times.note(0)
    assert times.slow
    times.note(0)
    assert not times.slow


def test_a_few_late_answers_are_no_slow_adapter() -> None:
    """How late answers come is said once three were too late, and not any more after one in time."""
    times = AnswerTimes()
    for late_ms in (7, 9):
        times.note_overdue(late_ms * MS)
    assert times.overdue_ns is None
    times.note_overdue(8 * MS)
    assert times.overdue_ns == 9 * MS
    times.note(MS)
    assert times.overdue_ns is None
    assert (times.overdue_questions, times.longest_overdue_ns) == (3, 9 * MS)
