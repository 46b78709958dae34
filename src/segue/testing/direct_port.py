"""A driver's port on an emulated line without a pty: no thread, no kernel, any clock.

`read` moves the clock to the moment at which an answer has come, or to its
deadline, so under a virtual clock a second of bus traffic takes as long as the
servos take to compute.
"""

from __future__ import annotations

from segue.clock import Clock
from segue.errors import RobotFault
from segue.testing.servo_line import ServoLine
from segue.testing.servo_replies import Replies


class DirectPort:
    """A `segue.robots.serialport.Port`; owned by one thread."""

    def __init__(self, line: ServoLine, clock: Clock) -> None:
        self.line = line
        self.closed = False
        self._clock = clock
        self._replies = Replies()

    def __repr__(self) -> str:
        return f"<DirectPort {self.line!r}>"

    def write(self, data: bytes) -> None:
        """Puts `data` on the line.

        Raises:
            RobotFault: closed or unplugged.
        """
        self._check()
        self._replies.add(self.line.feed(data, self._clock.now_ns()))

    def read(self, deadline_ns: int) -> bytes:
        """Returns what has come, or comes first by `deadline_ns`; empty when nothing does.

        Raises:
            RobotFault: closed or unplugged.
        """
        self._check()
        held_ns = self.line.adapter.held_until_ns
        if held_ns is not None and held_ns <= deadline_ns:
            self._clock.sleep_until(held_ns)
            self._replies.add(self.line.release(self._clock.now_ns()))
        due_ns = self._replies.next_ns()
        self._clock.sleep_until(deadline_ns if due_ns is None else min(due_ns, deadline_ns))
        return self._replies.take(self._clock.now_ns())

    def discard(self) -> None:
        """Throws away what has come so far.

        Raises:
            RobotFault: closed or unplugged.
        """
        self._check()
        self._replies.take(self._clock.now_ns())

    def close(self) -> None:
        """Closes the port; may be called more than once."""
        self.closed = True

    def _check(self) -> None:
        if self.closed or self.line.faults.unplugged:
            raise RobotFault("the emulated port is gone, was it unplugged? the torque state is unknown")
