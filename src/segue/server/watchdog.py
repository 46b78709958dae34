"""Notices that one call of the policy never comes back, and has the process ended.

A policy that hangs holds up every robot, and no robot can tell it from a dead
line: the only cure is a new process. So each call of the policy is announced
(`UnderWay`), a thin thread looks at it now and then, and a pure `HangJudge`
says when it has lasted too long. Only time in which the thread itself ran is
counted: a process that was stopped and continued, or a laptop that slept, has
not hung. Loading and warming up are never announced, and a batch of a size
that was never served before may compile, so it may take much longer.

A call that keeps Python's global lock stops that thread too. `last_resort` is
for that case: a timer of the interpreter, in C, that needs no lock. It can
only print where every thread was and exit with 1.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from segue.clock import NS_PER_S, Clock

EXIT_HUNG = 70
# Compiling a large policy for a new batch size takes minutes.
COLD_S = 600.0
# A call may take so many times what the policy declared for a warm inference.
WARM_INFERENCES = 10
# The thread looks this often; what it counts between two looks is at most twice that.
LOOK_S = 0.25
# The interpreter's timer must not come before the thread, which says why and exits with the right code.
LAST_RESORT_GRACE_S = 5.0

_log = logging.getLogger("segue.server")


@dataclass(frozen=True, slots=True)
class HangLimits:
    """How long one call of the policy may take.

    Attributes:
        warm_s: at least so long is allowed, however quick the policy declares itself.
        cold_s: allowed for a batch of a size that was never served before.
    """

    warm_s: float = 5.0
    cold_s: float = COLD_S


@dataclass(frozen=True, slots=True, eq=False)
class UnderWay:
    """One call of the policy that has begun and not ended.

    Attributes:
        warm_ns: the policy's declared warm inference.
        cold: True when no batch of this size was served before.
    """

    policy: str
    batch: int
    warm_ns: int
    cold: bool

    def limit_ns(self, limits: HangLimits) -> int:
        """Returns how long this call may take."""
        warm_ns = max(round(limits.warm_s * NS_PER_S), WARM_INFERENCES * self.warm_ns)
        return max(warm_ns, round(limits.cold_s * NS_PER_S)) if self.cold else warm_ns


class HangJudge:
    """Adds up how long the present call has been watched, and says when that is too long."""

    def __init__(self, limits: HangLimits) -> None:
        self._limits = limits
        self._call: UnderWay | None = None
        self._last_ns = 0
        self._spent_ns = 0

    def __repr__(self) -> str:
        return f"<HangJudge {self._call} spent={self._spent_ns / NS_PER_S:.1f}s>"

    def objection(self, call: UnderWay | None, now_ns: int) -> str | None:
        """Returns one sentence when the policy hangs, else None.

        Args:
            call: what is under way, the same object as before while it is the same call.
            now_ns: monotonic; two looks are `LOOK_S` apart when nothing held them up.
        """
        same = call is self._call
        passed_ns = min(now_ns - self._last_ns, round(2 * LOOK_S * NS_PER_S))
        self._spent_ns = self._spent_ns + passed_ns if same else 0
        self._call, self._last_ns = call, now_ns
        if call is None or self._spent_ns <= call.limit_ns(self._limits):
            return None
        spent_s, limit_s = self._spent_ns / NS_PER_S, call.limit_ns(self._limits) / NS_PER_S
        what = f"{call.policy} has been inside a batch of {call.batch}"
        return f"{what} for {spent_s:.1f} s, allowed are {limit_s:.1f} s"


class Watchdog:
    """A thread that looks at the policy's thread."""

    def __init__(
        self,
        look: Callable[[], UnderWay | None],
        judge: HangJudge,
        clock: Clock,
        on_hang: Callable[[str], None],
    ) -> None:
        """Watches nothing before `start`.

        Args:
            look: returns the present call of the policy, None between calls.
            judge: decides.
            clock: of this host.
            on_hang: is called once, on this thread, with the sentence that says why.
        """
        self._look = look
        self._judge = judge
        self._clock = clock
        self._on_hang = on_hang
        self._over = threading.Event()

    def start(self) -> None:
        """Begins to watch."""
        threading.Thread(target=self._watch, name="segue-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Ceases to watch; no error when it never began."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            sentence = self._judge.objection(self._look(), self._clock.now_ns())
            if sentence is not None:
                self._on_hang(sentence)
                return


@contextmanager
def last_resort(call: UnderWay, limits: HangLimits) -> Iterator[None]:
    """Ends the process with 1 if what runs in this context lasts too long and keeps even Python's lock.

    The timer goes on while a process is stopped: one that is stopped within a call, for longer
    than that call may take, is ended as it continues. There is one such timer in a process.
    """
    faulthandler.dump_traceback_later(call.limit_ns(limits) / NS_PER_S + LAST_RESORT_GRACE_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def end_process(sentence: str) -> None:
    """Ends this process at once: threads that hang cannot be waited for."""
    logging.shutdown()
    os._exit(EXIT_HUNG)
