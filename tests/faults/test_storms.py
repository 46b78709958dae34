"""The same fault fifty times over, under the load of several arms: all resume, and nothing is stale.

``SEGUE_STORMS`` sets how often; the table prints median and worst.
"""

from __future__ import annotations

import os
import signal
import statistics
from collections.abc import Callable

import pytest

from segue.clock import now_ns
from segue.testing.proxy import FaultProxy
from tests.faults.measures import BACK_MS, INFERENCE_MS, MS
from tests.faults.report import Row
from tests.processes import Arm, Server, Spawned

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]

TIMES = int(os.environ.get("SEGUE_STORMS", "50"))
ARMS = 3


class Storm:
    """Some arms that all suffer the same, and how long each took to come back."""

    def __init__(self, row: Row, arms: list[Arm]) -> None:
        self._row = row
        self._arms = arms
        self._back_ms: list[float] = []

    def await_loss(self, since_ns: int) -> None:
        """Waits until every arm has noticed, so that the fault is one in mid-run and not a hiccup."""
        for each in self._arms:
            each.first("request_missed", since_ns)

    def await_return(self, since_ns: int) -> None:
        """Waits for every arm's first good chunk, which must come within the promise."""
        for each in self._arms:
            back = each.first("chunk", since_ns)
            self._back_ms.append((back["mono_ns"] - since_ns) / MS)

    def settle(self, judged: Callable[[Arm], int]) -> None:
        """Ends the arms and fills in the row."""
        for each in self._arms:
            each.signal(signal.SIGTERM)
            assert each.wait() == 128 + signal.SIGTERM, each.words()
        worst, median = max(self._back_ms), statistics.median(self._back_ms)
        self._row.note(f"{len(self._back_ms)} resumes of {TIMES * ARMS}, median {median:.0f} ms")
        assert len(self._back_ms) == TIMES * ARMS
        self._row.within("worst", worst, BACK_MS)
        commands = sum(judged(each) for each in self._arms)
        self._row.note(f"0 stale actions, 0 jumps in {commands} commands")


@pytest.mark.fault(
    "5×", f"kill -9 of the server, {TIMES} times, {ARMS} arms", "all resume, ≤ 1 s + inference"
)
def test_a_server_killed_again_and_again(
    row: Row,
    serve: Callable[..., Server],
    arm: Callable[..., Arm],
    judged: Callable[[Arm], int],
    spawned: list[Spawned],
) -> None:
    """However often the server is killed, every arm resumes within the promise, by fresh actions."""
    server = serve(latency_s=INFERENCE_MS / 1000)
    storm = Storm(row, arms := [arm(server.address, f"arm{k}") for k in range(ARMS)])
    for made in arms:
        made.moving(2)
    for _ in range(TIMES):
        killed_ns = now_ns()
        server.end()
        spawned.remove(server)
        server = server.again()
        spawned.append(server)
        storm.await_loss(killed_ns)
        server.ready()
        storm.await_return(server.ready_ns)
    storm.settle(judged)


@pytest.mark.fault("6×", f"SIGSTOP and SIGCONT, {TIMES} times, {ARMS} arms", "all resume, ≤ 1 s + inference")
def test_a_server_stopped_again_and_again(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """However often the server is stopped and continued, every arm resumes within the promise."""
    server = serve(latency_s=INFERENCE_MS / 1000)
    storm = Storm(row, arms := [arm(server.address, f"arm{k}") for k in range(ARMS)])
    for made in arms:
        made.moving(2)
    for _ in range(TIMES):
        stopped_ns = now_ns()
        server.signal(signal.SIGSTOP)
        storm.await_loss(stopped_ns)
        continued_ns = now_ns()
        server.signal(signal.SIGCONT)
        storm.await_return(continued_ns)
    storm.settle(judged)


@pytest.mark.fault("1×", f"partition, {TIMES} times, {ARMS} arms", "all resume, ≤ 1 s + inference")
def test_a_network_cut_again_and_again(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """However often the network swallows everything, every arm resumes within the promise."""
    server = serve(latency_s=INFERENCE_MS / 1000)
    with FaultProxy(server.address, seed=1) as proxy:
        storm = Storm(row, arms := [arm(proxy.address, f"arm{k}") for k in range(ARMS)])
        for made in arms:
            made.moving(2)
        for k in range(TIMES):
            cut_ns = now_ns()
            # Both ways, up alone, down alone.
            proxy.swallow(True, up=k % 3 != 2, down=k % 3 != 1)
            storm.await_loss(cut_ns)
            healed_ns = now_ns()
            proxy.swallow(False, reset=bool(k % 2))
            storm.await_return(healed_ns)
        storm.settle(judged)
