"""The thread that owns the policy."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path

import pytest

from segue.clock import SystemClock
from segue.policies.base import PolicyInput
from segue.server import worker as worker_module
from segue.server.batcher import Batcher
from segue.server.refused import Refused
from segue.server.requests import policy_input
from segue.server.store import PolicyStore
from segue.server.worker import PolicyWorker, Ticket
from segue.wire.refusal import Reason
from tests.unit.server.thin_client import until
from tests.unit.server.toy_policy import SPEC, SlowPolicy, ToyPolicy, context, request

WAIT_S = 20.0
WORKERS: list[PolicyWorker] = []


@pytest.fixture(autouse=True)
def _stop_workers() -> Iterator[None]:
    yield
    while WORKERS:
        WORKERS.pop().stop(WAIT_S)


def started(policy: ToyPolicy, max_batch: int = 8) -> PolicyWorker:
    store = PolicyStore.of(policy)
    worker = PolicyWorker(store, Batcher(max_batch), SystemClock())
    WORKERS.append(worker)
    ready: Future[None] = Future()
    worker.start(store.load, ready)
    ready.result(WAIT_S)
    return worker


def submit(worker: PolicyWorker, robot: str, task: str = "lift", slack_ns: int = 0) -> Ticket:
    return worker.submit(robot, "toy", policy_input(request(), context(robot, task=task), SPEC), slack_ns)


def reason(ticket: Ticket) -> Reason:
    with pytest.raises(Refused) as refused:
        ticket.answer.result(WAIT_S)
    return refused.value.refusal.reason


def test_loading_and_serving_happen_on_one_thread() -> None:
    """The policy is warmed up and asked on the same thread, which is not the caller's."""
    threads: set[int] = set()

    class Curious(ToyPolicy):
        def warm_up(self) -> None:
            threads.add(threading.get_ident())
            super().warm_up()

        def before(self, batch: Sequence[PolicyInput]) -> None:
            threads.add(threading.get_ident())

    submit(started(Curious()), "a").answer.result(WAIT_S)
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_what_waits_is_served_together_and_the_newest_wins() -> None:
    """While a batch runs, one request per robot waits, the newest; what waits then shares a batch."""
    policy = SlowPolicy()
    worker = started(policy)
    first = submit(worker, "a", "first")
    assert policy.began.acquire(timeout=WAIT_S)
    old = submit(worker, "a", "old")
    new = submit(worker, "a", "new")
    other = submit(worker, "b", "other")
    assert reason(old) is Reason.SUPERSEDED
    policy.may_end.release(2)
    outcomes = [ticket.answer.result(WAIT_S) for ticket in (first, new, other)]
    assert policy.batches == [1, 2]
    assert sorted(policy.tasks) == ["first", "new", "other"]
    assert [outcome.cold for outcome in outcomes] == [False, True, True]
    assert all(outcome.queue_ns >= 0 and outcome.inference_ns > 0 for outcome in outcomes)


def test_a_cancelled_request_is_not_served() -> None:
    """A request whose caller went away before its turn costs no inference."""
    policy = SlowPolicy()
    worker = started(policy)
    running = submit(worker, "a", "running")
    assert policy.began.acquire(timeout=WAIT_S)
    gone = submit(worker, "b", "gone")
    worker.cancel(gone)
    worker.cancel(running)
    policy.may_end.release(2)
    assert running.answer.result(WAIT_S).output
    with pytest.raises(CancelledError):
        gone.answer.result(WAIT_S)
    submit(worker, "b", "next").answer.result(WAIT_S)
    assert policy.tasks == ["running", "next"]


def test_a_policy_that_fails_goes_on_serving() -> None:
    """After an exception the next good request is served."""

    class Moody(ToyPolicy):
        def before(self, batch: Sequence[PolicyInput]) -> None:
            if batch[0].task == "bad":
                raise ZeroDivisionError

    worker = started(Moody())
    assert reason(submit(worker, "a", "bad")) is Reason.POLICY_FAILED
    assert submit(worker, "a", "good").answer.result(WAIT_S).output


def test_after_a_batch_did_not_fit_batches_stay_small() -> None:
    """Once memory ran out, later batches are no larger than what fitted."""

    class Small(SlowPolicy):
        def before(self, batch: Sequence[PolicyInput]) -> None:
            if len(batch) > 2:
                raise MemoryError
            super().before(batch)

    policy = Small()
    worker = started(policy)
    policy.may_end.release(100)
    for _round in range(2):
        with worker._changed:  # the thread sees all four at once
            tickets = [submit(worker, robot) for robot in "abcd"]
        for ticket in tickets:
            assert ticket.answer.result(WAIT_S).output
    assert policy.batches == [4, 2, 2, 2, 2]


def test_stopping_refuses_what_waits_and_lets_what_runs_finish() -> None:
    """A stop answers waiting requests UNAVAILABLE at once and finishes the batch that runs."""
    policy = SlowPolicy()
    worker = started(policy)
    running = submit(worker, "a")
    assert policy.began.acquire(timeout=WAIT_S)
    waiting = submit(worker, "b")
    worker.stop(0.0)
    assert reason(waiting) is Reason.DRAINING
    with pytest.raises(Refused, match="about to stop"):
        submit(worker, "c")
    policy.may_end.release()
    assert running.answer.result(WAIT_S).output


def test_a_policy_that_cannot_be_loaded_is_reported() -> None:
    """The error of loading comes out of the future that says ready."""

    def load(path: str, device: str) -> ToyPolicy:
        raise FileNotFoundError(path)

    store = PolicyStore(load, ["nowhere"], "cpu")
    worker = PolicyWorker(store, Batcher(1), SystemClock())
    ready: Future[None] = Future()
    worker.start(store.load, ready)
    with pytest.raises(FileNotFoundError):
        ready.result(WAIT_S)


def test_the_thread_survives_whatever_fails_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error outside of the policy's own call, of whatever kind, costs its batch and nothing else."""
    worker = started(ToyPolicy())
    real = worker_module.serve

    def panic(*_: object) -> object:
        monkeypatch.setattr(worker_module, "serve", real)
        raise SystemExit

    monkeypatch.setattr(worker_module, "serve", panic)
    assert reason(submit(worker, "a")) is Reason.POLICY_FAILED
    assert submit(worker, "a").answer.result(WAIT_S).inference_ns >= 0


def test_a_policy_that_a_client_names_is_loaded_beside_the_others(tmp_path: Path) -> None:
    """While a named policy loads, for as long as that takes, the requests of the others are served."""
    loading, may_load = threading.Event(), threading.Event()

    def load(path: str, device: str) -> ToyPolicy:
        if path != "toy":
            loading.set()
            assert may_load.wait(WAIT_S)
        return ToyPolicy()

    (tmp_path / "late.safetensors").touch()
    store = PolicyStore(load, ["toy"], "cpu", [tmp_path])
    worker = PolicyWorker(store, Batcher(8), SystemClock())
    WORKERS.append(worker)
    ready: Future[None] = Future()
    worker.start(store.load, ready)
    ready.result(WAIT_S)
    with pytest.raises(Refused, match="is being loaded"):
        store.resolve("late")
    worker.load_named()
    assert loading.wait(WAIT_S)
    assert submit(worker, "a").answer.result(WAIT_S / 4).output
    assert [spec.name for spec in store.specs()] == ["toy"]
    may_load.set()
    until(lambda: [spec.name for spec in store.specs()] == ["toy", "late"])
