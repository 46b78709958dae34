"""How things stand, in one line: time, state, queue, delay, why.

On a terminal the line is refreshed, at most five times a second; into a file it
is written once for each change of state. This file makes the text and decides
when; printing is the command line's business.
"""

from __future__ import annotations

from segue.client.messages import WAITING, Status
from segue.core.watchdog import Cause, SafetyLevel

REFRESH_S = 0.2
_BAR_STEPS = 5  # planned actions per block of the bar
_BAR_MOST = 20
_WELL = "all is well"
_WORDS = {
    Cause.FINE.value: _WELL,
    Cause.STARTED.value: _WELL,
    Cause.RESUMED.value: "went on with a fresh chunk",
    Cause.REQUEST_FAILED.value: "no answer to the last request",
    Cause.EMPTY_PLAN.value: "the next chunk is late",
    Cause.TOO_OLD.value: "what is planned is too old",
    Cause.LINK_LOST.value: "the server does not answer",
    Cause.CAMERA.value: "no pictures",
    Cause.OTHER_POLICY.value: "the server has another policy now",
    Cause.BAD_CHUNKS.value: "three bad chunks in a row",
    Cause.ROBOT.value: "the robot failed",
    Cause.STOP_ASKED.value: "the end was asked for",
    Cause.GRACE_OVER.value: "held for too long, going to rest",
}


class StatusLine:
    """Turns a stream of statuses into the lines worth showing."""

    def __init__(self, refreshed: bool) -> None:
        """Shows changes only, or with `refreshed` also the time in between."""
        self._refreshed = refreshed
        self._shown: Status | None = None

    def __repr__(self) -> str:
        return f"<StatusLine shown={self._shown!r}>"

    def text(self, status: Status) -> str | None:
        """Returns the line to show now, or None when the last one will do."""
        shown = self._shown
        changed = shown is None or _differs(shown.level, status.level)
        due = self._refreshed and shown is not None and status.t_s - shown.t_s >= REFRESH_S
        if not changed and not due:
            return None
        self._shown = status
        return status_text(status)


def status_text(status: Status) -> str:
    """Returns `status` as one line: time, state, queue, delay, chunks, and why."""
    bar = "■" * min(_BAR_MOST, -(-status.queue_steps // _BAR_STEPS))
    delay = "–" if status.delay_steps is None else str(status.delay_steps)
    return (
        f"{status.t_s:7.1f} s  {status.level:<8} queue {status.queue_steps:3d} {bar:<{_BAR_MOST // 2}} "
        f"delay {delay:>2}  chunks {status.chunks:4d}  {_why(status)}"
    ).rstrip()


def _differs(shown: str, level: str) -> bool:
    # The first chunk ends the waiting, which is worth a line. The pauses of `sync`, three a
    # second, are not: from RUN to WAITING nothing is shown, so there is no way back either.
    return level not in ((shown, WAITING) if shown == SafetyLevel.RUN.name else (shown,))


def _why(status: Status) -> str:
    """Returns the cause of the state in words, and what is behind it."""
    if status.level == WAITING and _WORDS.get(status.why) == _WELL:
        return "for the next chunk" if status.chunks else "for the first chunk"
    words = _WORDS.get(status.why, status.why.replace("_", " "))
    return f"{words}: {status.detail}" if status.detail else words
