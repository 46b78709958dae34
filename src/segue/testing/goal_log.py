"""Every goal that a servo took, and when: what an arm was really told, whoever told it.

It is kept in plain arrays, so that the goals of half an hour at 100 Hz take some
megabytes, and more are not kept.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from segue.core.types import FloatArray

Goal = tuple[int, str, float]  # when, ns; which motor; where to
KEPT = 400_000
Track = tuple[npt.NDArray[np.int64], FloatArray]  # times and goals of one motor, in order of time


class GoalLog:
    """The goals of some motors, each in order of time."""

    def __init__(self, most: int = KEPT) -> None:
        """Keeps at least the newest half of `most` goals of each motor."""
        self._most = most
        self._times: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
        self._values: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))

    def __repr__(self) -> str:
        return f"<GoalLog { ({name: len(times) for name, times in self._times.items()}) }>"

    def __len__(self) -> int:
        return sum(map(len, self._times.values()))

    def __iter__(self) -> Iterator[Goal]:
        """Yields the goals of one motor after the other."""
        for name, times in self._times.items():
            for at_ns, value in zip(times, self._values[name], strict=True):
                yield at_ns, name, value

    def add(self, at_ns: int, name: str, value: float) -> None:
        """Adds a goal."""
        times, values = self._times[name], self._values[name]
        if len(times) >= self._most:
            del times[: self._most // 2], values[: self._most // 2]
        times.append(at_ns)
        values.append(value)

    @classmethod
    def of(cls, goals: Iterable[Goal]) -> GoalLog:
        """Returns `goals` as a log."""
        made = goals if isinstance(goals, cls) else cls()
        for goal in goals if made is not goals else ():
            made.add(*goal)
        return made

    @classmethod
    def of_columns(cls, names: Sequence[str], times: Iterable[int], goals: FloatArray) -> GoalLog:
        """Returns the log of motors that all took a goal at each of `times`, ns; `goals` has shape (N, A)."""
        made, at = cls(), array("q", times)
        for name, column in zip(names, goals.T, strict=True) if len(at) else ():
            made._times[name], made._values[name] = at, array("d", column)
        return made

    def tracks(self) -> dict[str, Track]:
        """Returns times and goals of each motor, in order of time."""
        found = {}
        for name, times in self._times.items():
            at, values = np.array(times, dtype=np.int64), np.array(self._values[name], dtype=float)
            order = np.argsort(at, kind="stable")
            found[name] = (at[order], values[order])
        return found

    def clear(self) -> None:
        """Forgets all."""
        self._times.clear()
        self._values.clear()
