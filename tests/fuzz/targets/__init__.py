"""One file per door through which bytes of a stranger come in, each with the promise that holds there.

A target is a function `check(data)` that raises when a promise is broken and
returns otherwise, whatever the bytes are. The same functions are run by
Hypothesis, by the coverage-guided fuzzer (`tests/fuzz/run.py`) and over the
committed corpus, so that a finding of one is a regression test of all.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

Check = Callable[[bytes], None]

NAMES = ("request", "reply", "handshake", "picture", "tensor", "config", "mailbox", "spec")


def load(name: str) -> Check:
    """Returns the check of target `name`."""
    check: Check = import_module(f"{__name__}.{name}").check
    return check
