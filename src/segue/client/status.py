"""How things stand, in one line: time, state, queue, delay, why.

On a terminal the line is refreshed, at most five times a second; into a file it
is written once for each change of state. This file makes the text and decides
when; printing is the command line's business.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.client.messages import WAITING, Status
from segue.core.watchdog import Cause, SafetyLevel

REFRESH_S = 0.2
_BAR_STEPS = 10  # planned actions per block of the bar
_BAR_MOST = 5
_WELL = "all is well"
# Short, since a terminal may have 80 columns; what is behind a cause follows it where there is room.
_WORDS = {
    Cause.FINE.value: _WELL,
    Cause.STARTED.value: _WELL,
    Cause.RESUMED.value: "goes on with a fresh chunk",
    Cause.REQUEST_FAILED.value: "a request failed",
    Cause.EMPTY_PLAN.value: "the next chunk is late",
    Cause.TOO_OLD.value: "the plan is too old",
    Cause.LINK_LOST.value: "no server",
    Cause.CAMERA.value: "no pictures",
    Cause.OTHER_POLICY.value: "the policy has changed",
    Cause.BAD_CHUNKS.value: "three bad chunks in a row",
    Cause.ROBOT.value: "the robot failed",
    Cause.DANGER.value: "the robot is in danger",
    Cause.SLEPT.value: "the computer slept",
    Cause.PAUSED.value: "between two episodes",
    Cause.STOP_ASKED.value: "stopping; once more stops here",
    Cause.DONE.value: "done",
    Cause.OFFLINE.value: "no server for too long",
    Cause.BLIND.value: "no pictures for too long",
    Cause.REFUSED.value: "turned away by the server",
    Cause.GRACE_OVER.value: "held too long, goes to rest",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A line worth showing, and whether it is of another state than the one before."""

    text: str
    is_change: bool


class StatusLine:
    """Turns a stream of statuses into the lines worth showing."""

    def __init__(self, refreshed: bool) -> None:
        """Shows changes only, or with `refreshed` also the time in between."""
        self._refreshed = refreshed
        self._shown: Status | None = None

    def __repr__(self) -> str:
        return f"<StatusLine shown={self._shown!r}>"

    def text(self, status: Status) -> Shown | None:
        """Returns the line to show now, or None when the last one will do."""
        shown = self._shown
        changed = shown is None or _differs(shown.level, status.level)
        due = self._refreshed and shown is not None and status.t_s - shown.t_s >= REFRESH_S
        if not changed and not due:
            return None
        self._shown = status
        return Shown(status_text(status, changed), changed)


def status_text(status: Status, changed: bool = True) -> str:
    """Returns `status` as one line: time, state, queue, delay, and why.

    Args:
        status: how things stand.
        changed: it is news; a run that has gone on for a while is simply well.
    """
    bar = "■" * min(_BAR_MOST, -(-status.queue_steps // _BAR_STEPS))
    delay = "–" if status.delay_steps is None else str(status.delay_steps)
    return (
        f"{status.t_s:7.1f} s {status.level:<8} queue {status.queue_steps:3d} {bar:<{_BAR_MOST}} "
        f"delay {delay:>2} steps  {_why(status, changed)}"
    )


def _differs(shown: str, level: str) -> bool:
    # The first chunk ends the waiting, which is worth a line. The pauses of `sync`, three a
    # second, are not: from RUN to WAITING nothing is shown, so there is no way back either.
    return level not in ((shown, WAITING) if shown == SafetyLevel.RUN.name else (shown,))


def _why(status: Status, changed: bool) -> str:
    """Returns the cause of the state in words, and what is behind it."""
    if status.level == WAITING and _WORDS.get(status.why) == _WELL:
        return "for the next chunk" if status.chunks else "for the first chunk"
    if status.level == SafetyLevel.RUN.name and not changed:
        return _WELL
    words = _WORDS.get(status.why, status.why.replace("_", " "))
    return f"{words}: {status.detail}" if status.detail else words
