"""Episodes: when one ends, when the next begins, and what came of each.

A run is one episode after the other. Between two of them the arm goes to rest
and waits there, while a person puts the scene in order. An episode ends when
its time is over or a person says so, and may be judged by that person, then or
while the arm rests; the next begins when the time to reset is over or a person
says so, and never before the arm has arrived. This file only keeps the books
and says what is due; what pausing and going on mean is the executor's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from segue.clock import NS_PER_S
from segue.core.facts import ChunkTaken, Tick


class Wish(StrEnum):
    """What a person beside the arm may say."""

    GO = "go"  # the arm may move again after the computer slept
    NEXT = "next"  # ends the episode, or begins the next
    SUCCESS = "success"  # ends it, or judges the last
    FAILURE = "failure"


class Order(StrEnum):
    """What the arm is to do now."""

    REST = "rest"
    GO = "go"
    GO_ON = "go_on"
    END = "end"


VERDICTS: Mapping[Wish, bool | None] = {Wish.NEXT: None, Wish.SUCCESS: True, Wish.FAILURE: False}


@dataclass(frozen=True, slots=True)
class EpisodePlan:
    """How many episodes there are, and how long each part of one takes.

    Attributes:
        total: the run ends after so many; None goes on until it is told to end.
        time_ns: of an episode, from its first action on; None lasts until a person ends it.
        reset_ns: from the end of one to the beginning of the next; None waits for a person.
    """

    total: int | None = None
    time_ns: int | None = None
    reset_ns: int | None = None


@dataclass(slots=True)
class Episode:
    """What came of one, under the names of the summary.

    Attributes:
        number: from 1 on.
        task: what the arm was told to do when it ended.
        seconds: from its first action to its end; 0 without an action.
        success: as a person judged it; None when nobody did.
        chunks: merged in it.
    """

    number: int
    task: str = ""
    seconds: float = 0.0
    success: bool | None = None
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """What is to be written down, and said."""

    event: str
    fields: Mapping[str, object]
    sentence: str


class Episodes:
    """The episodes of one run, the present one included."""

    def __init__(self, plan: EpisodePlan, task: str) -> None:
        """Begins the first."""
        self.task = task
        self._plan = plan
        self._all = [Episode(1)]
        self._counted = plan.total is not None or plan.time_ns is not None
        self._began_ns: int | None = None
        self._ended_ns: int | None = None
        self._go = False
        self._over = False
        self._news: list[News] = []

    def __repr__(self) -> str:
        return f"<Episodes {len(self._all)} of {self._plan.total} resting={self._ended_ns is not None}>"

    def wish(self, wish: Wish, now_ns: int) -> Order | None:
        """Takes what a person said; returns what it comes to."""
        if wish is Wish.GO:
            return Order.GO_ON
        self._counted = True
        if self._ended_ns is None:
            return self._end(now_ns, VERDICTS[wish])
        if wish is Wish.NEXT:
            self._go = True
            return None
        last = self._all[-1]
        last.success = VERDICTS[wish]
        fields = {"number": last.number, "success": last.success}
        self._news.append(News("episode_judged", fields, f"episode {last.number}: {_verdict(last.success)}"))
        return None

    def due(self, now_ns: int, rested: bool) -> Order | None:
        """Returns what time has come for.

        Args:
            now_ns: of this tick.
            rested: the arm is at its rest pose.
        """
        plan = self._plan
        if self._ended_ns is None:
            over = self._began_ns is not None and plan.time_ns is not None
            if over and now_ns - (self._began_ns or 0) >= (plan.time_ns or 0):
                return self._end(now_ns, None)
            return None
        reset_is_over = plan.reset_ns is not None and now_ns - self._ended_ns >= plan.reset_ns
        if self._over or not rested or not (self._go or reset_is_over):
            return None
        return self._begin()

    def count(self, tick: Tick, now_ns: int) -> None:
        """Counts one tick, made at `now_ns`."""
        if self._ended_ns is not None:
            return
        self._all[-1].chunks += sum(isinstance(event, ChunkTaken) for event in tick.events)
        if tick.began is not None and self._began_ns is None:
            self._began_ns = now_ns

    def close(self, now_ns: int) -> None:
        """Ends the present episode, if there is one, with the run; may be called twice."""
        self._over = True
        if self._ended_ns is None:
            self._end(now_ns, None)

    def leave_out(self, away_ns: int) -> None:
        """Takes out of the present episode, or of the time to reset, what the computer slept through."""
        if self._began_ns is not None:
            self._began_ns += away_ns
        if self._ended_ns is not None:
            self._ended_ns += away_ns

    def news(self) -> list[News]:
        """Returns what is new since the last call."""
        news, self._news = self._news, []
        return news

    def summary(self) -> list[dict[str, object]]:
        """Returns all that have ended; none when a run was never divided into episodes."""
        ended = self._all if self._ended_ns is not None else self._all[:-1]
        return [asdict(each) for each in ended] if self._counted else []

    def _begin(self) -> Order:
        self._all.append(Episode(self._all[-1].number + 1))
        self._began_ns, self._ended_ns, self._go = None, None, False
        fields = {"number": self._all[-1].number, "task": self.task}
        self._news.append(News("episode_begins", fields, f"{self._name()} begins: {self.task}"))
        return Order.GO

    def _end(self, now_ns: int, success: bool | None) -> Order:
        last = self._all[-1]
        last.task, last.success = self.task, success
        if self._began_ns is not None:
            last.seconds = round((now_ns - self._began_ns) / NS_PER_S, 3)
        self._ended_ns = now_ns
        self._over |= last.number == self._plan.total
        if self._counted:
            self._news.append(News("episode", asdict(last), self._ended()))
        return Order.END if self._over else Order.REST

    def _name(self) -> str:
        total = self._plan.total
        number = self._all[-1].number
        return f"episode {number}" if total is None else f"episode {number} of {total}"

    def _ended(self) -> str:
        last, reset_ns = self._all[-1], self._plan.reset_ns
        came_of_it = f"{self._name()}: {_verdict(last.success)}, {last.seconds:.1f} s, {last.chunks} chunks"
        if self._over:
            return came_of_it
        when = "n begins the next" if reset_ns is None else f"the next begins in {reset_ns / NS_PER_S:g} s"
        return f"{came_of_it}; the arm goes to rest, {when}"


def _verdict(success: bool | None) -> str:
    return "not judged" if success is None else "success" if success else "failed"
