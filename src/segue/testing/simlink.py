"""A network in a box: delay, jitter, loss, duplicates, reordering and partition, all from one seed.

Messages are put in with the time at which they are sent and come out with the
time at which they arrive; nothing waits. The same seed and the same messages
give the same arrivals, so a day of bad network replays exactly. `model` may be
exchanged while messages are under way, for a bad spell. It carries any Python
object and looks at none.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

import numpy as np

NS_PER_MS = 1_000_000

T = TypeVar("T")


class Direction(StrEnum):
    """Which way a message goes."""

    UP = "up"  # robot to server
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Partition:
    """A time in which the network swallows everything that is sent in one or both directions."""

    from_ns: int
    until_ns: int
    up: bool = True
    down: bool = True

    def swallows(self, direction: Direction, sent_ns: int) -> bool:
        """Returns whether a message sent at `sent_ns` is lost."""
        affected = self.up if direction is Direction.UP else self.down
        return affected and self.from_ns <= sent_ns < self.until_ns


@dataclass(frozen=True, slots=True)
class LinkModel:
    """How bad the network is, each way.

    Attributes:
        delay_ms: least one-way delay.
        jitter_ms: mean of the exponential delay on top.
        loss: share of messages that never arrive, 0..1.
        reorder: whether a later message may overtake an earlier one; TCP never does.
        duplicate: share of messages that arrive a second time, 0..1, out of order.
        duplicate_ms: mean of the exponential delay of a second arrival after the first.
        partitions: when nothing passes.
    """

    delay_ms: float = 1.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    reorder: bool = False
    duplicate: float = 0.0
    duplicate_ms: float = 200.0
    partitions: tuple[Partition, ...] = ()


@dataclass(order=True, slots=True)
class _InFlight(Generic[T]):
    arrives_ns: int
    number: int
    direction: Direction
    message: T = field(compare=False)


class SimLink(Generic[T]):
    """Both directions of one robot's link."""

    def __init__(self, model: LinkModel, seed: int) -> None:
        self.model = model
        self.sent = 0
        self.lost = 0
        self._rng = np.random.default_rng(seed)
        self._queue: list[_InFlight[T]] = []
        self._last_arrival = dict.fromkeys(Direction, 0)

    def __repr__(self) -> str:
        return f"<SimLink in_flight={len(self._queue)} sent={self.sent} lost={self.lost}>"

    def send(self, direction: Direction, message: T, now_ns: int) -> None:
        """Puts a message into the network at `now_ns`."""
        self.sent += 1
        # The same draws for every message, lost or not, keep one message's fate from shifting the next one's.
        chance, jitter = self._rng.random(), self._rng.exponential()
        again, later = self._rng.random(), self._rng.exponential()
        swallowed = any(p.swallows(direction, now_ns) for p in self.model.partitions)
        if swallowed or chance < self.model.loss:
            self.lost += 1
            return
        arrives = now_ns + int((self.model.delay_ms + jitter * self.model.jitter_ms) * NS_PER_MS)
        if not self.model.reorder:
            arrives = max(arrives, self._last_arrival[direction])
            self._last_arrival[direction] = arrives
        heapq.heappush(self._queue, _InFlight(arrives, self.sent, direction, message))
        if again < self.model.duplicate:
            arrives += int(later * self.model.duplicate_ms * NS_PER_MS)
            heapq.heappush(self._queue, _InFlight(arrives, self.sent, direction, message))

    def next_arrival_ns(self) -> int | None:
        """Returns when the next message arrives; None when nothing is under way."""
        return self._queue[0].arrives_ns if self._queue else None

    def arrivals(self, now_ns: int) -> Sequence[tuple[int, Direction, T]]:
        """Takes out all that has arrived by `now_ns`, as (time, direction, message) in order of time."""
        found: list[tuple[int, Direction, T]] = []
        while self._queue and self._queue[0].arrives_ns <= now_ns:
            item = heapq.heappop(self._queue)
            found.append((item.arrives_ns, item.direction, item.message))
        return found

    def clear(self) -> None:
        """Drops all that is under way, as a broken connection does."""
        self.lost += len(self._queue)
        self._queue.clear()
