"""The control loop's pulse: a number in shared memory that says when it last ticked.

The loop writes its tick's time there, which costs less than a microsecond and
waits for nobody; a thread of the link process looks fifty times a second. A
mailbox would not do: whoever reads it may be busy dialling or writing to a slow
disk, and a loop that does not tick must be told of at once. Nothing here can
make the loop tick again; it is said, with how long it lasted when it is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from segue.client.pages import Page
from segue.clock import NS_PER_MS, NS_PER_S, Clock, SleepWatch

# A loop of 100 Hz has then missed twenty ticks: no longer a busy machine, but something wrong.
SILENT_NS = 200 * NS_PER_MS
# A loop slower than that ticks this many times before it counts as silent.
_TICKS = 3
_LOOKS = 10  # in the time that makes it silent
_AT_REST = 0


class Pulse:
    """The shared number; zero before the first tick and after the last."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Makes a page of its own, or shares the one behind an inherited `descriptor`."""
        self._page = Page("pulse", 1, descriptor)

    def __repr__(self) -> str:
        return f"<Pulse {self.last_ns / NS_PER_S:.3f} s>"

    @property
    def descriptor(self) -> int:
        """The page's file descriptor, for a process that inherits it."""
        return self._page.descriptor

    @property
    def last_ns(self) -> int:
        """Monotonic time of the last tick; 0 while there is no loop that should tick."""
        return self._page.cells[0]

    def beat(self, now_ns: int) -> None:
        """Notes a tick."""
        self._page.cells[0] = now_ns

    def rest(self) -> None:
        """Notes that no tick follows, as it should be."""
        self._page.cells[0] = _AT_REST

    def close(self) -> None:
        """Gives the page back; may be called twice."""
        self._page.close()


def silent_after_ns(control_hz: float) -> int:
    """Returns after which time without a tick a loop of that rate counts as silent."""
    return max(SILENT_NS, int(_TICKS * NS_PER_S / control_hz))


class PulseWatch:
    """The thread that looks at a pulse."""

    def __init__(self, pulse: Pulse, limit_ns: int, clock: Clock, tell: Callable[[int, bool], None]) -> None:
        """Looks at nothing before `start`.

        Args:
            pulse: of the loop.
            limit_ns: without a tick for that long it counts as silent.
            clock: of this host.
            tell: called from this thread with how long there was no tick, ns, and whether there is
                one again; once each time it falls silent, and once when that is over.
        """
        self._pulse = pulse
        self._limit_ns = limit_ns
        self._clock = clock
        self._tell = tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __repr__(self) -> str:
        return f"<PulseWatch {self._pulse!r} limit={self._limit_ns / NS_PER_MS:.0f} ms>"

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stops looking; may be called twice, and before `start`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        silent_since_ns, woke_ns = 0, 0
        sleep = SleepWatch(self._clock)
        while not self._stopping.wait(self._limit_ns / _LOOKS / NS_PER_S):
            last_ns, now_ns = self._pulse.last_ns, self._clock.now_ns()
            if sleep.slept_ns():
                woke_ns = now_ns  # nobody ticks while the computer sleeps
            if silent_since_ns and last_ns != silent_since_ns:
                if last_ns != _AT_REST:
                    self._tell(last_ns - silent_since_ns, True)
                silent_since_ns = 0
            elif not silent_since_ns and last_ns != _AT_REST:
                silent_ns = now_ns - max(last_ns, woke_ns)
                if silent_ns > self._limit_ns:
                    silent_since_ns = last_ns
                    self._tell(silent_ns, False)
