"""A policy server as a process of its own: started, killed, signalled."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from segue.wire.channel import client_options
from segue.wire.codec import decode_chunk
from segue.wire.refusal import Reason, refusal_in
from tests.any_robot import WAIT_S, AnyRobot
from tests.processes import Server

pytestmark = pytest.mark.e2e

# What a busy machine may take to end an interpreter, beyond what is promised.
SLOW_EXIT_S = 2.0


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts server processes that are ready, and ends them all."""
    started: list[Server] = []

    def start(**wish: Any) -> Server:
        started.append(Server(tmp_path, **wish))
        return started[-1].ready()

    yield start
    for server in started:
        server.end()


def test_a_killed_server_comes_back_and_the_robot_opens_again(serve: Callable[..., Server]) -> None:
    """After kill -9 and a restart on the same port a robot needs a new handshake and nothing else."""
    first = serve()
    robot = AnyRobot(first.address).open()
    assert robot.ask(1) == 1
    first.end()
    with pytest.raises(grpc.RpcError) as gone:
        robot.ask(2)
    assert gone.value.code() is grpc.StatusCode.UNAVAILABLE
    second = serve(port=int(first.address.rpartition(":")[2]))
    back = AnyRobot(second.address)
    back.session_id = robot.session_id
    with pytest.raises(grpc.RpcError) as unknown:
        back.ask(3)
    assert refusal_in(unknown.value.trailing_metadata()).reason is Reason.UNKNOWN_SESSION
    back.open()
    assert back.ask(4) == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_eight_robots_and_ends_the_process(
    serve: Callable[..., Server], number: signal.Signals
) -> None:
    """On a signal all eight requests in flight are answered, and the process ends within the drain time."""
    server = serve(latency_s=1.0)
    channel = grpc.insecure_channel(server.address, options=client_options())
    robots = [AnyRobot(server.address, channel).open() for _ in range(8)]
    calls = [robot.stub.Infer.future(robot.message(7), timeout=WAIT_S) for robot in robots]
    stranger = AnyRobot(server.address, channel)
    for late in range(8):  # each goes the same way after the eight, on the same connection
        with pytest.raises(grpc.RpcError):
            stranger.ask(late)
    server.signal(number)
    assert [decode_chunk(call.result())[0].request_number for call in calls] == [7] * 8
    assert server.wait() == 128 + number


def test_a_request_that_takes_longer_than_the_drain_does_not_hold_up_the_end(
    serve: Callable[..., Server],
) -> None:
    """With a minute's latency under way a server told to stop ends within its drain time and a second."""
    server = serve(latency_s=60.0, drain_s=0.5)
    robot = AnyRobot(server.address).open()
    call = robot.stub.Infer.future(robot.message(), timeout=WAIT_S)
    AnyRobot(server.address, robot.channel)  # goes the same way after the request
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 128 + signal.SIGTERM
    assert time.monotonic() - began < 0.5 + 1.0 + SLOW_EXIT_S
    with pytest.raises(grpc.RpcError):
        call.result()


def test_two_robots_on_one_server_get_their_own_chunks(serve: Callable[..., Server]) -> None:
    """Two robots that ask at the same time each get the chunks that they asked for."""
    address = serve().address
    robots = [AnyRobot(address).open() for _ in range(2)]
    answers: list[list[int]] = [[], []]

    def drive(index: int) -> None:
        answers[index] += [robots[index].ask(1000 * index + number) for number in range(50)]

    threads = [threading.Thread(target=drive, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert answers == [list(range(50)), list(range(1000, 1050))]
