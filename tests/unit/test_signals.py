"""Who hears the signals that ask for the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from segue.client.ending import StopSwitch
from segue.signals import SIGNALS, signals_to


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_asks_for_the_end(number: signal.Signals) -> None:
    """Each of the three signals asks, and is remembered; afterwards the old handlers are back."""
    before = [signal.getsignal(each) for each in SIGNALS]
    stop = StopSwitch()
    asked: list[int] = []
    with signals_to(lambda each: (asked.append(each), stop.ask(each))):  # type: ignore[func-returns-value]
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 0)  # a system call, so that the handlers have run
    assert asked == [number] * 2
    assert (stop.asked, stop.signal) == (1, number)
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


def test_an_ignored_hup_stays_ignored() -> None:
    """Under nohup a HUP is heard by nobody, and the other two as ever."""
    code = """
import os, signal
from segue.signals import signals_to
heard = []
with signals_to(heard.append):
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
print(heard, signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
"""
    words = ["nohup", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    assert done.stdout.split("\n")[0] == "[2, 15] True"
