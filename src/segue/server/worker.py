"""The one thread that owns the policy.

Handlers put requests into the batcher and wait; this thread loads, warms up,
takes batches out, calls the policy and hands out the results. The batcher is
touched under one lock, which is never held while the policy runs. Nothing that
a request or the policy does ends the thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from segue.clock import Clock
from segue.policies.base import PolicyInput, PolicyOutput
from segue.server.batcher import Batcher, Job
from segue.server.inference import Result, serve
from segue.server.refused import Refused
from segue.server.store import PolicyStore
from segue.wire.refusal import Reason

_log = logging.getLogger("segue.server")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A served request.

    Attributes:
        queue_ns: from the hand-over to the beginning of its batch.
        inference_ns: of the batch that it was in.
        cold: True when no batch of this size was served before.
    """

    output: PolicyOutput
    queue_ns: int
    inference_ns: int
    cold: bool


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """What a handler holds while it waits."""

    robot: str
    input: PolicyInput
    submitted_ns: int
    answer: Future[Outcome]


class PolicyWorker:
    """Serves the requests of all robots on one thread."""

    def __init__(self, store: PolicyStore, batcher: Batcher[Ticket], clock: Clock) -> None:
        self._store = store
        self._batcher = batcher
        self._clock = clock
        self._changed = threading.Condition()
        self._stopping = False
        # `warm_up` has run batches of one; a larger size may compile or allocate anew.
        self._warm_sizes: set[tuple[str, int]] = set()
        self._thread: threading.Thread | None = None

    def start(self, prepare: Callable[[], None], ready: Future[None]) -> None:
        """Starts the thread, which first calls `prepare`.

        Args:
            prepare: loads and warms up.
            ready: is done when `prepare` is, with its exception if it raised one; when it was
                cancelled before, the thread ends instead of serving.
        """
        self._thread = threading.Thread(
            target=self._run, args=(prepare, ready), name="segue-policy", daemon=True
        )
        self._thread.start()

    def submit(self, robot: str, group: str, asked: PolicyInput, slack_ns: int) -> Ticket:
        """Lets a request wait for the policy.

        Args:
            robot: session id; a waiting request of the same one is answered SUPERSEDED.
            group: name of the policy.
            asked: the policy's input.
            slack_ns: time until the robot runs dry, clamped.

        Raises:
            Refused: the server is stopping.
        """
        now_ns = self._clock.now_ns()
        ticket = Ticket(robot, asked, now_ns, Future())
        with self._changed:
            if self._stopping:
                raise _draining()
            replaced = self._batcher.submit(Job(robot, group, now_ns, now_ns + slack_ns, ticket))
            self._changed.notify()
        if replaced is not None:
            sentence = "a newer request of the same robot took the place"
            replaced.payload.answer.set_exception(Refused(Reason.SUPERSEDED, sentence))
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Takes a request back; one that is already being served is served to the end."""
        with self._changed:
            waited = self._batcher.cancel(ticket.robot, ticket)
        if waited:
            ticket.answer.cancel()

    def stop(self, timeout_s: float) -> None:
        """Refuses what waits, lets the batch that runs finish, and ends the thread.

        Args:
            timeout_s: how long to wait for that batch.
        """
        with self._changed:
            self._stopping = True
            dropped = self._batcher.clear()
            self._changed.notify()
        for job in dropped:
            job.payload.answer.set_exception(_draining())
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self, prepare: Callable[[], None], ready: Future[None]) -> None:
        try:
            prepare()
        except BaseException as error:
            if ready.set_running_or_notify_cancel():
                ready.set_exception(error)
            return
        self._warm_sizes = {(spec.name, 1) for spec in self._store.specs()}
        if not ready.set_running_or_notify_cancel():
            return
        ready.set_result(None)
        while batch := self._next_batch():
            self._serve(batch)

    def _next_batch(self) -> list[Job[Ticket]]:
        """Waits for a batch; none when the server is stopping."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._batcher))
            return self._batcher.next_batch()

    def _serve(self, batch: list[Job[Ticket]]) -> None:
        group = batch[0].group
        began_ns = self._clock.now_ns()
        served = serve(self._store.policy(group), [job.payload.input for job in batch])
        ended_ns = self._clock.now_ns()
        with self._changed:
            self._batcher.finish(ended_ns)
            if served.fits is not None:
                _log.warning("batches are limited to %d from now on: more do not fit in memory", served.fits)
                self._batcher.limit(served.fits)
        size = (group, len(batch))
        cold = size not in self._warm_sizes
        self._warm_sizes.add(size)
        for job, result in zip(batch, served.results, strict=True):
            _answer(job.payload, result, began_ns, ended_ns, cold)


def _answer(ticket: Ticket, result: Result, began_ns: int, ended_ns: int, cold: bool) -> None:
    if isinstance(result, Refused):
        ticket.answer.set_exception(result)
        return
    queue_ns = began_ns - ticket.submitted_ns
    ticket.answer.set_result(Outcome(result, queue_ns, ended_ns - began_ns, cold))


def _draining() -> Refused:
    return Refused(Reason.DRAINING, "the server is about to stop")
