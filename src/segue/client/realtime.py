"""What a process can do to wake on time: a real-time class, and no garbage collection in a tick.

Measured on a loaded host at 100 Hz: 99 % of ticks within 7 to 10 ms in an
ordinary process, within 0.15 ms with SCHED_FIFO. The kernel grants it to root
and to whoever has CAP_SYS_NICE; a refusal is reported, not fatal.
"""

from __future__ import annotations

import gc
import os

# Above every ordinary process, below the kernel's own interrupt threads (50).
PRIORITY = 10


def take_realtime() -> str | None:
    """Puts the calling thread into the real-time class; returns why not when that was refused."""
    if not hasattr(os, "sched_setscheduler"):
        return "this system has no real-time scheduling"
    try:
        # Threads and processes started from here (a simulation's, a driver's) stay ordinary.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except OSError as error:
        return f"real-time scheduling refused ({error.strerror}): needs root or CAP_SYS_NICE"
    return None


def freeze_garbage() -> None:
    """Sets all present objects aside and stops automatic collection; see `collect_garbage`."""
    gc.collect()
    gc.freeze()
    gc.disable()


def thaw_garbage() -> None:
    """Undoes `freeze_garbage`."""
    gc.enable()
    gc.unfreeze()


def collect_garbage() -> None:
    """Collects what came after the freeze, a few thousand objects; for the pause between two ticks."""
    gc.collect()
