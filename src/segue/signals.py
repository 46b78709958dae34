"""The signals that ask for the end: HUP, INT and TERM, and who hears them for how long.

A HUP that was ignored when this process began, as under `nohup`, stays ignored:
whoever started it wants it to outlive the terminal.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
SIGNALLED = 128  # and the signal's number is the exit code


def heeded() -> tuple[signal.Signals, ...]:
    """Returns those of the three that are meant for this process."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(each for each in SIGNALS if each is not signal.SIGHUP or not ignored)


@contextmanager
def signals_to(ask: Callable[[int], None]) -> Iterator[None]:
    """Hands the signals that are meant for us to `ask` while it lasts; off the main thread it is left out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, lambda number, _frame: ask(number)) for each in heeded()}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
