from __future__ import annotations

import os
import signal
import threading

import pytest

from segue.client.ending import EXIT_CODES, SIGNALS, Ending, StopSwitch, signals_to
from segue.core.facts import ExitReason


def test_every_reason_has_an_exit_code() -> None:
    """The table covers every reason but the signal's, which is 128 plus its number."""
    assert set(EXIT_CODES) | {ExitReason.SIGNALLED} == set(ExitReason)


@pytest.mark.parametrize(
    ("reason", "number", "code"),
    [
        (ExitReason.DONE, 0, 0),
        (ExitReason.LINK_LOST, 0, 69),
        (ExitReason.CAMERA, 0, 74),
        (ExitReason.ROBOT, 0, 74),
        (ExitReason.OTHER_POLICY, 0, 76),
        (ExitReason.REFUSED, 0, 76),
        (ExitReason.BAD_CHUNKS, 0, 80),
        (ExitReason.SIGNALLED, signal.SIGHUP, 129),
        (ExitReason.SIGNALLED, signal.SIGINT, 130),
        (ExitReason.SIGNALLED, signal.SIGTERM, 143),
    ],
)
def test_the_exit_code_says_how_it_ended(reason: ExitReason, number: int, code: int) -> None:
    """Each reason ends the process with its own code."""
    assert Ending(reason, number).exit_code == code


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_asks_for_the_end(number: signal.Signals) -> None:
    """Each of the three signals asks, and is remembered; afterwards the old handlers are back."""
    before = [signal.getsignal(each) for each in SIGNALS]
    stop = StopSwitch()
    with signals_to(stop.ask):
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 0)  # a system call, so that the handlers have run
    assert (stop.asked, stop.signal) == (2, number)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_off_the_main_thread_signals_are_left_alone() -> None:
    """A run embedded on another thread works without handling signals."""
    before = [signal.getsignal(each) for each in SIGNALS]
    seen = []

    def embedded() -> None:
        with signals_to(StopSwitch().ask):
            seen.append([signal.getsignal(each) for each in SIGNALS])

    thread = threading.Thread(target=embedded)
    thread.start()
    thread.join()
    assert seen == [before]
