"""A command that is broken off: once, with the signal's code, and in peace afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from segue.cli.breakoff import breaking_off
from segue.signals import SIGNALS

WAIT_S = 20.0


def tell(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 0)  # a system call, so that the handler has run


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_its_exit_code_and_what_belongs_to_it_does_not(number: signal.Signals) -> None:
    """The first wish ends the block with 128 and its number; HUP twice or after TERM disturbs no tidying."""
    before = [signal.getsignal(each) for each in SIGNALS]
    tidied = []

    def work() -> None:
        with breaking_off():
            try:
                tell(number)
                raise AssertionError("not reached")
            finally:
                tell(number, signal.SIGHUP, signal.SIGTERM)
                time.sleep(0.2)
                tell(signal.SIGINT)
                tidied.append(True)

    with pytest.raises(SystemExit) as left:
        work()
    assert (left.value.code, tidied) == (128 + number, [True])
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_second_wish_breaks_off_the_tidying_where_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever allows two wishes is broken off by Ctrl-C while it ends its children, and only once."""
    seen: list[str] = []

    def work() -> None:
        with breaking_off(wishes=2):
            try:
                tell(signal.SIGTERM)
            finally:
                tell(signal.SIGHUP)
                seen.append("tidies")
                time.sleep(0.2)
                try:
                    tell(signal.SIGINT)
                finally:
                    time.sleep(0.2)
                    tell(signal.SIGINT)
                    seen.append("kills")
                seen.append("not reached")

    with pytest.raises(SystemExit) as left:
        work()
    assert (left.value.code, seen) == (130, ["tidies", "kills"])


def test_under_nohup_a_terminal_that_closes_breaks_nothing_off() -> None:
    """A HUP that was ignored stays so."""
    code = """
import os, signal
from segue.cli.breakoff import breaking_off
with breaking_off():
    os.kill(os.getpid(), signal.SIGHUP)
    print("goes on", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
"""
    words = ["nohup", sys.executable, "-c", code]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
    )
    assert (done.stdout, done.returncode) == ("goes on\n", 143)
