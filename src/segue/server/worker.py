"""The one thread that owns the policy.

Handlers put requests into the batcher and wait; this thread loads, warms up,
takes batches out, calls the policy and hands out the results. What a handshake
names is loaded on another thread meanwhile. The batcher is touched under one
lock, which is never held while the policy runs. Nothing that a request or the policy does
ends the thread; a call of the policy that never returns is for the watchdog to
notice, which sees it in `under_way`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

from segue.clock import Clock
from segue.core.specs import PolicySpec
from segue.policies.base import Policy, PolicyInput, PolicyOutput
from segue.server.batcher import Batcher, Job
from segue.server.inference import Result, serve
from segue.server.refused import Refused
from segue.server.store import PolicyStore
from segue.server.watchdog import UnderWay
from segue.wire.refusal import Reason

_log = logging.getLogger("segue.server")

Guard = Callable[[UnderWay], AbstractContextManager[None]]


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
        self.guard: Guard = lambda call: nullcontext()
        self.under_way: UnderWay | None = None
        self._store = store
        self._batcher = batcher
        self._clock = clock
        self._changed = threading.Condition()
        self._stopping = False
        # `warm_up` has run batches of one; a larger size may compile or allocate anew.
        self._warm_sizes: set[tuple[str, int]] = set()
        self._running: list[Job[Ticket]] = []
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
            self._changed.notify_all()
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
            self._changed.notify_all()
        _refuse(dropped)
        if self._thread is not None:
            self._thread.join(timeout_s)

    def abandon(self) -> None:
        """Refuses what waits and what runs, without waiting for a policy that does not come back."""
        self.stop(0.0)
        _refuse(self._running)

    def load_named(self) -> None:
        """Has the policies loaded that the store was asked for, while the others are served."""
        with self._changed:
            self._changed.notify_all()

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
        threading.Thread(target=self._load_named, name="segue-loader", daemon=True).start()
        while not self._stopping:
            try:
                self._turn()
            except BaseException:  # whatever it was, the robots must not be left without this thread
                _log.exception("the policy's thread failed, and goes on")
                self._drop_running()

    def _load_named(self) -> None:
        """Loads what clients name, on a thread of its own: loading takes seconds, and robots do not wait."""
        while not self._stopping:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._store.wanted)
            if not self._stopping and (name := self._store.load_one()) is not None:
                self._warm_sizes.add((name, 1))

    def _turn(self) -> None:
        """Waits for a batch and serves it."""
        if batch := self._next_batch():
            self._serve(batch)

    def _drop_running(self) -> None:
        """Answers a batch that came to nothing, and lets the next one begin."""
        with self._changed:
            self._batcher.finish(self._clock.now_ns())
        for job in self._running:
            _settle(job.payload, Refused(Reason.POLICY_FAILED, "the policy failed on this request"))
        self._running = []

    def _next_batch(self) -> list[Job[Ticket]]:
        """Waits for a batch; none when the server is stopping."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._batcher))
            return [] if self._stopping else self._batcher.next_batch()

    def _serve(self, batch: list[Job[Ticket]]) -> None:
        group = batch[0].group
        self._running = batch
        began_ns = self._clock.now_ns()
        policy = _Watched(self._store.policy(group), self._call)
        served = serve(policy, [job.payload.input for job in batch])
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
        self._running = []

    def _call(self, policy: Policy, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        """Calls the policy, and lets the watchdog see for how long."""
        spec = policy.spec
        cold = (spec.name, len(batch)) not in self._warm_sizes
        self.under_way = call = UnderWay(spec.name, len(batch), spec.warm_inference_ns, cold)
        try:
            with self.guard(call):
                return policy.infer(batch)
        finally:
            self.under_way = None


class _Watched:
    """A policy whose every call passes through the worker: a batch that failed is asked again in parts."""

    def __init__(
        self, policy: Policy, call: Callable[[Policy, Sequence[PolicyInput]], list[PolicyOutput]]
    ) -> None:
        self._policy = policy
        self._call = call

    @property
    def spec(self) -> PolicySpec:
        return self._policy.spec

    def warm_up(self) -> None:
        self._policy.warm_up()

    def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        return self._call(self._policy, batch)


def _refuse(jobs: Sequence[Job[Ticket]]) -> None:
    for job in jobs:
        _settle(job.payload, _draining())


def _settle(ticket: Ticket, outcome: Outcome | Refused) -> None:
    """Answers a ticket, unless it was answered when its batch was given up."""
    with suppress(InvalidStateError):
        if isinstance(outcome, Refused):
            ticket.answer.set_exception(outcome)
        else:
            ticket.answer.set_result(outcome)


def _answer(ticket: Ticket, result: Result, began_ns: int, ended_ns: int, cold: bool) -> None:
    if isinstance(result, Refused):
        _settle(ticket, result)
        return
    queue_ns = began_ns - ticket.submitted_ns
    _settle(ticket, Outcome(result, queue_ns, ended_ns - began_ns, cold))


def _draining() -> Refused:
    return Refused(Reason.DRAINING, "the server is about to stop")
