"""Policies that never come back: judged under a clock that the tests move, and ended in real servers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import grpc
import pytest
from grpc_health.v1 import health_pb2

from segue.policies.base import PolicyInput
from segue.server.lifecycle import PolicyServer
from segue.server.settings import ServerConfig
from segue.server.watchdog import EXIT_HUNG, LOOK_S, HangJudge, HangLimits, UnderWay
from segue.wire.refusal import Reason
from tests.any_robot import AnyRobot
from tests.unit.server.thin_client import WAIT_S, Client, reason_of, until
from tests.unit.server.toy_policy import SlowPolicy, ToyPolicy

SECOND = 1_000_000_000
QUICK = UnderWay("toy", 1, 20_000_000, cold=False)


def noticed_s(call: UnderWay, until_s: float = 700.0) -> float | None:
    """Returns after how long a call that never ends is objected to, looked at as the thread does."""
    judge = HangJudge(HangLimits())
    looks = int(until_s / LOOK_S)
    for look in range(looks):
        if judge.objection(call, round(look * LOOK_S * SECOND)) is not None:
            return look * LOOK_S
    return None


@pytest.mark.parametrize(
    ("call", "limit_s"),
    [
        (QUICK, 5.0),
        (UnderWay("toy", 1, 3 * SECOND, cold=False), 30.0),
        (UnderWay("toy", 8, 20_000_000, cold=True), 600.0),
        (UnderWay("toy", 8, 100 * SECOND, cold=True), None),
    ],
)
def test_a_call_may_take_five_seconds_or_ten_inferences(call: UnderWay, limit_s: float | None) -> None:
    """A call is objected to after 5 s or ten warm inferences, and a cold one only after minutes."""
    noticed = noticed_s(call)
    if limit_s is None:
        assert noticed is None
    else:
        assert noticed is not None
        assert limit_s < noticed <= limit_s + LOOK_S


def test_many_short_calls_are_no_hang() -> None:
    """Calls that end are never added up, and no call is none."""
    judge = HangJudge(HangLimits())
    for look in range(4000):
        fresh = UnderWay("toy", 1, 0, cold=False) if look % 2 else None
        assert judge.objection(fresh, round(look * LOOK_S * SECOND)) is None


def test_time_in_which_the_process_was_stopped_does_not_count() -> None:
    """After an hour of SIGSTOP in the middle of a call it has hung no longer than before."""
    judge = HangJudge(HangLimits())
    assert judge.objection(QUICK, 0) is None
    assert judge.objection(QUICK, 3600 * SECOND) is None
    assert judge.objection(QUICK, 3601 * SECOND) is None


def test_a_hang_refuses_all_that_wait_and_then_ends_the_server() -> None:
    """When a policy hangs, the running and the waiting are UNAVAILABLE, and then the callback comes."""
    policy, ended, sentences = SlowPolicy(), threading.Event(), list[str]()

    def on_hang(sentence: str) -> None:
        sentences.append(sentence)
        ended.set()

    server = PolicyServer(ServerConfig(port=0, watchdog_s=1.0), policy, on_hang=on_hang)
    client = Client(server.start())
    sessions = [client.open().session_id for _ in range(3)]
    calls = [client.stub.Infer.future(client.message(sessions[0]), timeout=WAIT_S)]
    assert policy.began.acquire(timeout=WAIT_S)
    calls += [client.stub.Infer.future(client.message(s), timeout=WAIT_S) for s in sessions[1:]]
    until(lambda: len(server._worker._batcher) == 2)
    assert client.health() == health_pb2.HealthCheckResponse.SERVING
    assert [reason_of(call.result) for call in calls] == [Reason.DRAINING] * 3
    assert ended.wait(WAIT_S)
    assert "toy has been inside a batch of 1" in sentences[0]
    server.wait()
    policy.may_end.release(3)  # comes back after all: nobody is answered twice, nothing breaks
    server._worker.stop(WAIT_S)


def test_slow_loading_and_a_cold_batch_are_no_hang() -> None:
    """A warm-up and a first batch of a new size may take longer than the limit."""

    class Compiles(ToyPolicy):
        def warm_up(self) -> None:
            time.sleep(1.0)
            super().warm_up()

        def before(self, batch: Sequence[PolicyInput]) -> None:
            time.sleep(1.0 if len(batch) > 1 else 0.0)

    hangs: list[str] = []
    config = ServerConfig(port=0, watchdog_s=0.3)
    server = PolicyServer(config, Compiles(), on_hang=hangs.append)
    client = Client(server.start())
    sessions = [client.open().session_id for _ in range(2)]
    with server._worker._changed:  # the policy's thread sees both at once
        calls = [client.stub.Infer.future(client.message(s), timeout=WAIT_S) for s in sessions]
        time.sleep(0.5)
    assert [call.code() for call in calls] == [grpc.StatusCode.OK] * 2
    assert hangs == []
    server.stop(0.0)


HANGS = """
import ctypes, sys, threading
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy
from segue.server.lifecycle import PolicyServer, run_until_signalled
from segue.server.settings import ServerConfig

class Hangs(ScriptedPolicy):
    warm = False
    def warm_up(self):
        super().warm_up()
        self.warm = True
    def infer(self, batch):
        if self.warm and sys.argv[1] == "lock":
            ctypes.PyDLL(None).sleep(300)  # PyDLL keeps Python's lock
        if self.warm:
            threading.Event().wait()
        return super().infer(batch)

server = PolicyServer(ServerConfig(port=0, watchdog_s=0.5), Hangs(ScriptedConfig()))
sys.exit(run_until_signalled(server, lambda address: print(address, flush=True)))
"""


@pytest.mark.parametrize(("how", "code", "words"), [("wait", EXIT_HUNG, "hangs"), ("lock", 1, "Timeout")])
def test_a_process_whose_policy_hangs_ends(how: str, code: int, words: str) -> None:
    """A policy that waits for ever ends its process with 70, one that keeps Python's lock with 1."""
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        robot = AnyRobot(process.stdout.readline().strip()).open()
        with pytest.raises(grpc.RpcError) as gone:
            robot.infer(robot.message())
        assert gone.value.code() is grpc.StatusCode.UNAVAILABLE
        _, errors = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
        process.wait(WAIT_S)
    assert process.returncode == code
    assert words in errors
