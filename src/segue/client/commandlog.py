"""Sends the log of commands to the recorder: one row per tick, some ticks at a time.

The log is what a run is judged by afterwards (`segue.testing.checker`) and
replayed from, so it holds what was sent and why it might be, nothing derived.
A row costs the loop some twenty microseconds; ten of them make one message, so that
the log does not crowd out the rest of the mailbox.
"""

from __future__ import annotations

from segue.client.commands import ActionView, CommandLogHeader, header_line, row_line, row_of
from segue.client.mailbox import Mailbox
from segue.client.messages import Commands
from segue.core.executor import ChunkExecutor
from segue.core.facts import Tick
from segue.core.specs import RobotSpec
from segue.core.types import FloatArray, Observation

_ROWS_PER_MESSAGE = 10


class CommandLog:
    """The log of one run; without a mailbox, none."""

    def __init__(self, mailbox: Mailbox | None, header: CommandLogHeader, spec: RobotSpec) -> None:
        """Begins with `header`, which says what the numbers are; `spec` is the robot's."""
        self._mailbox = mailbox
        self._view = ActionView(spec)
        self._lines = [header_line(header)]

    def __repr__(self) -> str:
        return f"<CommandLog waiting={len(self._lines)}>"

    def add(
        self,
        executor: ChunkExecutor,
        tick: Tick,
        now_ns: int,
        applied: FloatArray | None,
        seen: Observation,
    ) -> None:
        """Adds one tick.

        Args:
            executor: which made it.
            tick: what it came to.
            now_ns: its scheduled time.
            applied: what the driver says that it applied, shape (A,); None when it failed.
            seen: what was observed at its begin.
        """
        if self._mailbox is None:
            return
        known = {"applied": applied, "measured": self._view.of(seen.state)}
        self._lines.append(row_line(row_of(executor, tick, now_ns, captured_ns=seen.captured_ns, **known)))
        if len(self._lines) >= _ROWS_PER_MESSAGE:
            self.flush()

    def flush(self) -> None:
        """Sends what waits."""
        if self._mailbox is not None and self._lines:
            self._mailbox.put(Commands(b"".join(self._lines)))
            self._lines = []
