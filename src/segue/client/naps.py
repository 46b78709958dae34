"""The computer's sleeps as a run meets them: all is held anew, and time that was slept away does not count.

A laptop that is closed and opened again, a host that was suspended: the control
loop finds the clock ahead of itself. What was planned is of another day then,
and whoever stood beside the arm may be anywhere. What that means for the arm is
the executor's business; here it is noticed, said, and taken out of the run's
and the episode's time, together with the waiting for a person's go after it.
"""

from __future__ import annotations

import logging
import os

from segue.client.diary import Diary
from segue.client.episodes import Episodes
from segue.clock import NS_PER_S, Clock, SleepWatch
from segue.core.executor import ChunkExecutor

log = logging.getLogger(__name__)

_WAITS = (
    "the arm holds and waits for a person's go: the key g at the terminal; Ctrl-C parks and ends; "
    "--safety.resume=auto goes on by itself"
)
_GOES_ON = "the arm holds until a fresh chunk comes"
_LATCHED = "the arm is held for its fault"


class Naps:
    """What one run does about sleeps."""

    def __init__(self, clock: Clock, executor: ChunkExecutor, episodes: Episodes, diary: Diary) -> None:
        """Watches from now on."""
        self._clock = clock
        self._watch = SleepWatch(clock)
        self._executor = executor
        self._episodes = episodes
        self._diary = diary
        self._began_ns: int | None = None
        self._away_since_ns: int | None = None
        self._away_ns = 0
        self._heard = 0

    def __repr__(self) -> str:
        return f"<Naps away={self._away_ns / NS_PER_S:.1f} s waits={self.waits}>"

    @property
    def waits(self) -> bool:
        """Whether a person's go is waited for."""
        return self._executor.watchdog.waits_for_go

    def begin(self, now_ns: int) -> None:
        """Notes the run's first tick; later calls change nothing."""
        self._began_ns = now_ns if self._began_ns is None else self._began_ns

    def passed_ns(self, now_ns: int) -> int:
        """Returns the time since the first tick."""
        return now_ns - (now_ns if self._began_ns is None else self._began_ns)

    def lasted_ns(self, now_ns: int) -> int:
        """Returns how long the run has lasted, without sleeps and the waiting after them."""
        until_ns = now_ns if self._away_since_ns is None else self._away_since_ns
        return self.passed_ns(until_ns) - self._away_ns

    def noticed(self) -> bool:
        """Returns whether the computer slept since the last look, and tells everybody who is to know."""
        slept_ns = self._watch.slept_ns()
        if not slept_ns:
            return False
        now_ns = self._clock.now_ns()
        if self._away_since_ns is None:
            self._away_since_ns = now_ns - slept_ns
        self._executor.slept(now_ns)
        self._tell(now_ns, slept_ns)
        if not self.waits:
            self._back(now_ns)
        return True

    def go(self, now_ns: int) -> None:
        """Takes a person's go; without a sleep before it, it means nothing."""
        if not self.waits:
            return
        self._executor.go_on(now_ns)
        self._back(now_ns)
        self._diary.write("go", now_ns, {})
        self._diary.say("go: the arm asks for a fresh chunk, and goes on with it")

    def heed(self, asked: int, now_ns: int) -> None:
        """Takes it for a go, on the way to rest, when the end is asked for anew.

        Args:
            asked: how often it was asked for, the sleep included.
            now_ns: of this tick.
        """
        anew, self._heard = asked > self._heard, asked
        if anew:
            self.go(now_ns)

    def left_alone(self) -> None:
        """Says where a person may still read it that nobody can say go here any more."""
        if self.waits:
            log.warning(
                "the arm holds, and the process that could pass on a person's go is gone; "
                "`kill %d` parks the arm and ends",
                os.getpid(),
            )

    def _back(self, now_ns: int) -> None:
        away_ns = now_ns - (now_ns if self._away_since_ns is None else self._away_since_ns)
        self._away_ns += away_ns
        self._away_since_ns = None
        self._episodes.leave_out(away_ns)

    def _tell(self, now_ns: int, slept_ns: int) -> None:
        latched = self._executor.troubles.latched is not None
        what = _WAITS if self.waits else _LATCHED if latched else _GOES_ON
        sentence = f"the computer slept for {slept_ns / NS_PER_S:.1f} s: {what}"
        fields = {
            "slept_s": round(slept_ns / NS_PER_S, 3),
            "waits_for": "go" if self.waits else "",
            "detail": sentence,
        }
        self._diary.write("slept", now_ns, fields)
        self._diary.say(sentence)
