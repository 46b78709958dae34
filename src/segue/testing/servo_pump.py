"""Moves bytes between a pseudo-terminal and an emulated line, in real time.

A reply is written when its last byte would have come from the real wire, by an
absolute deadline, so errors do not add up. Both ends are raw, as a serial port
is that was opened for a bus. While nobody talks the servos go on by themselves
each `pause_s`, so that a simulated arm behind them has little to make up for
when it is asked.

Answers that come within a millisecond are written together, as an adapter on
USB hands them on. It also spares a driver six wake-ups for six answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading
import tty
from collections.abc import Iterable, Iterator

from segue.client.realtime import take_realtime
from segue.clock import NS_PER_S, now_ns
from segue.testing.servo_line import Reply, ServoLine
from segue.testing.servo_replies import Replies

FRAME_NS = 1_000_000
_CHUNK = 4096
_PR_SET_TIMERSLACK = 29


class Pump:
    """A pty and the thread that serves it, until it is closed."""

    def __init__(self, line: ServoLine, lock: threading.RLock, pause_s: float, realtime: bool) -> None:
        """Opens the pty and begins.

        Args:
            line: what is behind it.
            lock: held whenever the line is touched.
            pause_s: how often the servos are looked after while nobody talks.
            realtime: ask the kernel to wake the thread before all others.
        """
        self._line, self._lock = line, lock
        self._ours, self._theirs = os.openpty()
        for each in (self._ours, self._theirs):
            tty.setraw(each)
        os.set_blocking(self._ours, False)
        self.path = os.ttyname(self._theirs)
        self.refusal: str | None = None
        self._replies = Replies()
        self._woken, self._wake = os.pipe()
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(pause_s, realtime, ready), name="feetech-bus", daemon=True
        )
        self._thread.start()
        ready.wait()

    def __repr__(self) -> str:
        return f"<Pump {self.path}>"

    def close(self) -> None:
        """Ends the thread and hangs up on whoever has the port open."""
        os.close(self._wake)
        self._thread.join()
        # Ours goes first: who reads at the other end is to see the hang-up at once.
        for each in (self._ours, self._theirs, self._woken):
            os.close(each)

    def _run(self, pause_s: float, realtime: bool, ready: threading.Event) -> None:
        self.refusal = take_realtime() if realtime else None
        _wake_exactly()
        ready.set()
        while True:
            due_ns = self._next_ns()
            wait_s = pause_s if due_ns is None else max(0, due_ns - now_ns()) / NS_PER_S
            readable, _, _ = select.select([self._ours, self._woken], [], [], wait_s)
            if self._woken in readable:
                return
            if self._ours in readable:
                self._hear()
            elif due_ns is None:
                with self._lock:
                    self._line.advance(now_ns())
            self._say()

    def _next_ns(self) -> int | None:
        """Returns when there is something to do, whatever the host does."""
        times = (self._replies.next_ns(), self._line.adapter.held_until_ns)
        return min((each for each in times if each is not None), default=None)

    def _hear(self) -> None:
        data = os.read(self._ours, _CHUNK)
        heard_ns = now_ns()
        with self._lock:
            replies = self._line.feed(data, heard_ns)
        self._replies.add(_bundled(replies))

    def _say(self) -> None:
        with self._lock:
            self._replies.add(_bundled(self._line.release(now_ns())))
        data = self._replies.take(now_ns())
        if data:
            # Full when nobody reads; a real adapter's buffer would run over, too.
            with contextlib.suppress(BlockingIOError):
                os.write(self._ours, data)


def _bundled(replies: Iterable[Reply]) -> Iterator[Reply]:
    """Yields what came within one frame as one, due when the last of it is: an adapter on USB does so."""
    bundle, first_ns, last_ns = b"", 0, 0
    for data, due_ns in replies:
        if bundle and due_ns - first_ns > FRAME_NS:
            yield bundle, last_ns
            bundle = b""
        first_ns, last_ns = (first_ns if bundle else due_ns), due_ns
        bundle += data
    if bundle:
        yield bundle, last_ns


def _wake_exactly() -> None:
    """Asks the kernel not to bundle this thread's timers with others, which costs 50 us each time."""
    with contextlib.suppress(AttributeError, OSError):  # Linux only
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
