"""Which requests the policy serves next: the most urgent first, and nobody starves.

Pure: no thread, clock or socket; the caller keeps calls one after another. In
order of use, with one policy that runs one batch at a time:

    replaced = batcher.submit(Job(robot, group, now_ns, now_ns + slack_ns, payload))
    batch = batcher.next_batch()      # [] while a batch runs or nobody waits
    ...                               # the policy serves all of `batch`
    batcher.finish(now_ns)            # then ask for the next batch

Each robot has at most one request running and one waiting; a newer one takes
the place of the one that waits. Among those that wait, the earliest deadline
goes first, with one exception that keeps a robot which asks without pause and
claims to be in a hurry from pushing others back: while a request waits, no
other robot that was served since goes before it. So each other robot goes
before a waiting request at most once, and not at all when it was being served
as the request arrived.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[Payload]):
    """One request that waits.

    Attributes:
        robot: whose; requests of one robot replace each other.
        group: only requests of the same group share a batch.
        since_ns: since when this robot waits; a request that replaces another keeps its place.
        deadline_ns: when the robot runs dry, as far as the server believes it.
        payload: the caller's own.
    """

    robot: str
    group: str
    since_ns: int
    deadline_ns: int
    payload: Payload


class Batcher(Generic[Payload]):
    """Requests that wait, and who was served when."""

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._waiting: dict[str, Job[Payload]] = {}
        self._running: tuple[str, ...] = ()
        self._served_ns: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return f"<Batcher waiting={len(self._waiting)} running={len(self._running)}>"

    def submit(self, job: Job[Payload]) -> Job[Payload] | None:
        """Lets `job` wait and returns the older one of the same robot that it replaces, if any."""
        replaced = self._waiting.get(job.robot)
        if replaced is not None:
            job = replace(job, since_ns=replaced.since_ns)
        self._waiting[job.robot] = job
        return replaced

    def next_batch(self) -> list[Job[Payload]]:
        """Returns the requests to serve now, most urgent first; none while a batch is running."""
        if self._running or not self._waiting:
            return []
        batch = [self._take(list(self._waiting.values()))]
        while len(batch) < self._max_batch:
            companions = [job for job in self._waiting.values() if job.group == batch[0].group]
            if not companions:
                break
            batch.append(self._take(companions))
        self._running = tuple(job.robot for job in batch)
        return batch

    def finish(self, now_ns: int) -> None:
        """Says that the batch was served.

        Args:
            now_ns: on the same clock as the jobs' `since_ns`.
        """
        for robot in self._running:
            self._served_ns[robot] = now_ns
        self._running = ()
        self._forget()

    def cancel(self, robot: str, payload: Payload) -> bool:
        """Drops the waiting request with this very payload; returns False when it no longer waits."""
        job = self._waiting.get(robot)
        if job is None or job.payload is not payload:
            return False
        del self._waiting[robot]
        return True

    def clear(self) -> list[Job[Payload]]:
        """Drops and returns everything that waits."""
        dropped = list(self._waiting.values())
        self._waiting.clear()
        return dropped

    def limit(self, max_batch: int) -> None:
        """Serves at most `max_batch` requests at a time from now on, and at least one."""
        self._max_batch = max(1, max_batch)

    def _take(self, candidates: list[Job[Payload]]) -> Job[Payload]:
        longest = min(self._waits_since(job) for job in candidates)
        allowed = [job for job in candidates if self._served_ns.get(job.robot, longest) <= longest]
        chosen = min(allowed, key=lambda job: job.deadline_ns)
        del self._waiting[chosen.robot]
        return chosen

    def _waits_since(self, job: Job[Payload]) -> int:
        # A request sent while its robot was being served begins to wait when that is over.
        return max(job.since_ns, self._served_ns.get(job.robot, job.since_ns))

    def _forget(self) -> None:
        """Keeps only what can still matter, so that the table does not grow with robots that left."""
        if not self._waiting:
            self._served_ns.clear()
            return
        longest = min(self._waits_since(job) for job in self._waiting.values())
        self._served_ns = {robot: at for robot, at in self._served_ns.items() if at >= longest}
