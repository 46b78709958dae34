"""A command that is broken off by a signal, and is left in peace while it tidies up.

The first wish for the end raises `SystemExit` where the command happens to be;
what belongs to the same wish changes nothing any more: a service manager that
sends HUP after TERM, a terminal that sends HUP twice, must not break off the
giving back of registers or the ending of children.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from segue.client.ending import StopSwitch
from segue.signals import SIGNALLED, heeded


@contextmanager
def breaking_off(wishes: int = 1) -> Iterator[None]:
    """Lets signals raise `SystemExit` with their exit code while it lasts.

    Args:
        wishes: so many wishes raise, one after the other; what comes later is not heeded.
    """
    stop = StopSwitch()

    def leave(number: int, frame: FrameType | None) -> None:
        before = stop.asked
        stop.ask(number)
        if before < stop.asked <= wishes:
            raise SystemExit(SIGNALLED + number)

    before = {each: signal.signal(each, leave) for each in heeded()}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
