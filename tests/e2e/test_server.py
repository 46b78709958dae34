"""A policy server as a process of its own: started, killed, signalled."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import grpc
import numpy as np
import pytest

from segue.core.specs import CameraSpec, RobotSpec
from segue.core.types import ChunkRequest, Guidance, Observation
from segue.wire import policy_pb2 as pb
from segue.wire.channel import client_options
from segue.wire.codec import add_images, decode_chunk, encode_request
from segue.wire.handshake import decode_description, decode_welcome, encode_handshake
from segue.wire.image import encode
from segue.wire.policy_pb2_grpc import PolicyServiceStub
from segue.wire.records import Handshake, RequestContext
from segue.wire.refusal import Reason, refusal_in

pytestmark = pytest.mark.e2e

WAIT_S = 30.0
# What a busy machine may take to end an interpreter, beyond what is promised.
SLOW_EXIT_S = 2.0
PICTURE = np.full((48, 64, 3), 100, dtype=np.uint8)
SERVE = """
import sys
from segue.policies.registry import load_policy
from segue.server.lifecycle import PolicyServer, run_until_signalled
from segue.server.settings import ServerConfig
from segue.server.store import PolicyStore
port, latency_s, drain_s = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
config = ServerConfig(port=port, inference_latency_s=latency_s, drain_s=drain_s)
server = PolicyServer(config, PolicyStore(load_policy, ["builtin:scripted"], "cpu"))
sys.exit(run_until_signalled(server, lambda address: print(address, flush=True)))
"""


class Server:
    """A server process and the address that it said it is ready on."""

    def __init__(self, port: int = 0, latency_s: float = 0.0, drain_s: float = 5.0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, *map(str, (port, latency_s, drain_s))],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Robot:
    """A robot that fits whatever policy it finds."""

    def __init__(self, address: str, channel: grpc.Channel | None = None) -> None:
        self.channel = channel or grpc.insecure_channel(address, options=client_options())
        self.stub = PolicyServiceStub(self.channel)
        described = decode_description(self.stub.Describe(pb.DescribeRequest(), timeout=WAIT_S))
        self.policy = described.policies[0]
        seen = replace(self.policy.observation, cameras=(CameraSpec("front", 48, 64),))
        self.spec = RobotSpec("any", seen, self.policy.action)
        self.session_id = ""

    def open(self) -> None:
        shake = Handshake("arm-1", self.spec, previous_session_id=self.session_id)
        self.session_id = decode_welcome(self.stub.Open(encode_handshake(shake), timeout=WAIT_S)).session_id

    def message(self, number: int) -> pb.InferRequest:
        state = np.zeros(len(self.spec.observation.state))
        environment = np.zeros(len(self.spec.observation.environment))
        observation = Observation(0, number, state, environment)
        request = ChunkRequest(number, 1, 0, observation, (), None, 0, 0, 0, 0)
        spec_hash = self.policy.spec_hash()
        context = RequestContext("arm-1", self.session_id, spec_hash, "wave", Guidance(), 0, 1)
        message = encode_request(request, context)
        add_images(message, {"front": encode(PICTURE)})
        return message

    def ask(self, number: int) -> int:
        chunk, _ = decode_chunk(self.stub.Infer(self.message(number), timeout=WAIT_S))
        assert chunk.robot_actions.shape == (self.policy.horizon, len(self.policy.action))
        return chunk.request_number


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Collects server processes and ends them all."""
    started: list[Server] = []
    yield started
    for server in started:
        server.end()


def test_a_killed_server_comes_back_and_the_robot_opens_again(servers: list[Server]) -> None:
    """After kill -9 and a restart on the same port a robot needs a new handshake and nothing else."""
    servers.append(Server())
    robot = Robot(servers[0].address)
    robot.open()
    assert robot.ask(1) == 1
    servers[0].process.kill()
    servers[0].process.wait(WAIT_S)
    with pytest.raises(grpc.RpcError) as gone:
        robot.ask(2)
    assert gone.value.code() is grpc.StatusCode.UNAVAILABLE
    servers.append(Server(port=int(servers[0].address.rpartition(":")[2])))
    back = Robot(servers[1].address)
    back.session_id = robot.session_id
    with pytest.raises(grpc.RpcError) as unknown:
        back.ask(3)
    assert refusal_in(unknown.value.trailing_metadata()).reason is Reason.UNKNOWN_SESSION
    back.open()
    assert back.ask(4) == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_eight_robots_and_ends_the_process(
    servers: list[Server], number: signal.Signals
) -> None:
    """On a signal all eight requests in flight are answered, and the process ends within the drain time."""
    servers.append(Server(latency_s=1.0))
    channel = grpc.insecure_channel(servers[0].address, options=client_options())
    robots = [Robot(servers[0].address, channel) for _ in range(8)]
    for robot in robots:
        robot.open()
    calls = [robot.stub.Infer.future(robot.message(7), timeout=WAIT_S) for robot in robots]
    stranger = Robot(servers[0].address, channel)
    for late in range(8):  # each goes the same way after the eight, on the same connection
        with pytest.raises(grpc.RpcError):
            stranger.ask(late)
    servers[0].process.send_signal(number)
    assert [decode_chunk(call.result())[0].request_number for call in calls] == [7] * 8
    assert servers[0].process.wait(WAIT_S) == number


def test_a_request_that_takes_longer_than_the_drain_does_not_hold_up_the_end(servers: list[Server]) -> None:
    """With a minute's latency under way a server told to stop ends within its drain time and a second."""
    servers.append(Server(latency_s=60.0, drain_s=0.5))
    robot = Robot(servers[0].address)
    robot.open()
    call = robot.stub.Infer.future(robot.message(1), timeout=WAIT_S)
    Robot(servers[0].address, robot.channel)  # goes the same way after the request
    began = time.monotonic()
    servers[0].process.send_signal(signal.SIGTERM)
    assert servers[0].process.wait(WAIT_S) == signal.SIGTERM
    assert time.monotonic() - began < 0.5 + 1.0 + SLOW_EXIT_S
    with pytest.raises(grpc.RpcError):
        call.result()


def test_two_robots_on_one_server_get_their_own_chunks(servers: list[Server]) -> None:
    """Two robots that ask at the same time each get the chunks that they asked for."""
    servers.append(Server())
    robots = [Robot(servers[0].address) for _ in range(2)]
    answers: list[list[int]] = [[], []]

    def drive(index: int) -> None:
        robots[index].open()
        answers[index] += [robots[index].ask(1000 * index + number) for number in range(50)]

    threads = [threading.Thread(target=drive, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert answers == [list(range(50)), list(range(1000, 1050))]
