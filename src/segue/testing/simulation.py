"""Whole runs under virtual time: real executor, scheduler, session table and batcher over a simulated link.

One loop moves one clock from event to event: a tick of a robot, a message that
arrives, a batch that is done. Nothing waits, so minutes of robot time take as
long as their inferences and physics take to compute, and the same seeds give
the same run, tick for tick. Threads, processes and gRPC are left out; their
own tests are elsewhere.

    server = SimServer(policy, ServiceTime(inference_ms=20, latency_ms=300))
    client = SimClient(robot, setup)
    Simulation(server, [client]).run(until_s=60)
    client.stats.summary("done")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from segue.client.loop import pose
from segue.client.stats import RunStats
from segue.clock import NS_PER_S
from segue.core import facts
from segue.core.executor import ChunkExecutor
from segue.core.link import Backoff, LinkEvent, LinkState, follow
from segue.core.specs import PolicySpec
from segue.core.types import ChunkRequest, FloatArray, Guidance, Observation
from segue.core.watchdog import MISSES_UNTIL_LOST
from segue.robots.base import Robot
from segue.testing.simlink import Direction, LinkModel, SimLink
from segue.testing.simserver import Answer, SimServer
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_chunk, encode_request
from segue.wire.handshake import decode_welcome, encode_handshake
from segue.wire.records import Handshake, RequestContext, Welcome
from segue.wire.refusal import Reason, Refusal

OPEN_TIMEOUT_NS = 2 * NS_PER_S
BACKOFF = Backoff()


@dataclass(frozen=True, slots=True)
class SimSetup:
    """How one robot is driven.

    Attributes:
        configure: makes the executor's configuration once the policy is known.
        guidance: how leftovers are continued.
        robot_id, task: labels.
        link: the network between this robot and the server.
        seed: of network, backoff and policy noise.
        keep_commands: whether every tick is kept in `SimClient.ticks`, for checkers.
    """

    configure: Callable[[PolicySpec], facts.ExecutorConfig]
    guidance: Guidance = field(default_factory=Guidance)
    robot_id: str = "robot"
    task: str = ""
    link: LinkModel = field(default_factory=LinkModel)
    seed: int = 0
    keep_commands: bool = False


@dataclass(frozen=True, slots=True)
class _Call:
    """A message on its way to the server, as it would travel."""

    is_open: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class KeptTick:
    """One tick, for whoever judges afterwards."""

    now_ns: int
    epoch: int
    age_limit_ns: int
    tick: facts.Tick


class SimClient:
    """One robot with its executor and its end of the link."""

    def __init__(self, robot: Robot, setup: SimSetup) -> None:
        self.robot = robot
        self.setup = setup
        self.executor: ChunkExecutor | None = None
        self.stats: RunStats | None = None
        self.ticks: list[KeptTick] = []
        self.end = _LinkEnd(setup, robot)

    def __repr__(self) -> str:
        return f"<SimClient {self.setup.robot_id} {self.end.state.value} {self.executor!r}>"

    def start(self, welcome: Welcome) -> None:
        """Connects the robot and begins at its present pose; what was said before then is not lost."""
        self.robot.connect()
        config = self.setup.configure(welcome.policy)
        self.executor = ChunkExecutor(config, pose(self.robot.spec, self.robot.read(0)))
        self.stats = RunStats(config.action.names, config.control_hz)

    def tick(self, now_ns: int) -> facts.Tick | None:
        """Runs one turn of the control loop; None before the first handshake."""
        executor, stats = self.executor, self.stats
        if executor is None or stats is None:
            return None
        seen = self.robot.read(now_ns)
        observation = Observation(executor.step, now_ns, seen.state, seen.environment)
        tick = executor.tick(now_ns, observation)
        if tick.request is not None:
            self.end.ask(tick.request, now_ns)
        executor.applied(self.robot.write(tick.action, now_ns))
        stats.add(tick, now_ns)
        if any(isinstance(e, facts.RequestMissed) and e.cause == "deadline" for e in tick.events):
            self.end.missed()
        if self.setup.keep_commands:
            self.ticks.append(KeptTick(now_ns, executor.epoch, executor.age_limit_ns, tick))
        return tick


class _LinkEnd:
    """What the link process does, without its sockets: dial, open, send, hand over."""

    def __init__(self, setup: SimSetup, robot: Robot) -> None:
        self.link: SimLink[_Call | Answer] = SimLink(setup.link, setup.seed)
        self.state = LinkState.DOWN
        self.dial_at_ns = 0
        self._setup = setup
        self._robot = robot
        self._rng = np.random.default_rng(setup.seed + 1)
        self._failures = 0
        self._unanswered = 0
        self._opened_ns = 0
        self._welcome: Welcome | None = None

    def ask(self, request: ChunkRequest, now_ns: int) -> None:
        """Sends a request, if there is a session to send it in."""
        if self._welcome is None or self.state is not LinkState.READY:
            return
        setup = self._setup
        context = RequestContext(
            robot_id=setup.robot_id,
            session_id=self._welcome.session_id,
            spec_hash=self._welcome.spec_hash,
            task=setup.task,
            guidance=setup.guidance,
            chunk_length=0,
            seed=setup.seed + request.number,
        )
        data = encode_request(request, context).SerializeToString()
        self.link.send(Direction.UP, _Call(False, data), now_ns)

    def work(self, client: SimClient, now_ns: int) -> None:
        """Dials when it is time to, and gives up a handshake that is not answered."""
        if self.state is LinkState.OPENING and now_ns - self._opened_ns >= OPEN_TIMEOUT_NS:
            self._fail(client, now_ns, "handshake timed out")
        if self.state is LinkState.DOWN and now_ns >= self.dial_at_ns:
            self.state = follow(follow(self.state, LinkEvent.DIAL), LinkEvent.CONNECTED)
            self._open(now_ns)
        if self._unanswered >= MISSES_UNTIL_LOST and self.state is LinkState.READY:
            self._fail(client, now_ns, "requests go unanswered")

    def missed(self) -> None:
        """Notes that a request passed its deadline."""
        self._unanswered += 1

    def receive(self, client: SimClient, answer: Answer, now_ns: int) -> None:
        """Takes one answer off the network."""
        self._unanswered = 0
        if isinstance(answer, pb.OpenReply):
            self._opened(client, decode_welcome(answer), now_ns)
        elif isinstance(answer, pb.InferReply):
            if client.executor is not None:
                client.executor.receive(decode_chunk(answer)[0])
        else:
            self._refused(client, answer, now_ns)

    def broken(self, client: SimClient, now_ns: int) -> None:
        """Notes a reset connection, as when the server's process ends."""
        self._fail(client, now_ns, "connection reset")

    def _open(self, now_ns: int) -> None:
        self._opened_ns = now_ns
        spec = self._robot.spec
        handshake = Handshake(self._setup.robot_id, spec, guidance=self._setup.guidance)
        self.link.send(Direction.UP, _Call(True, encode_handshake(handshake).SerializeToString()), now_ns)

    def _opened(self, client: SimClient, welcome: Welcome, now_ns: int) -> None:
        self.state = follow(self.state, LinkEvent.OPENED)
        self._welcome, self._failures = welcome, 0
        if client.executor is None:
            client.start(welcome)
        policy = welcome.policy
        round_trip_ns = now_ns - self._opened_ns
        known = facts.SessionOpened(round_trip_ns, policy.warm_inference_ns, policy.policy_hash)
        if client.executor is not None:
            client.executor.link_opened(known)

    def _refused(self, client: SimClient, refusal: Refusal, now_ns: int) -> None:
        stale = refusal.reason in (Reason.UNKNOWN_SESSION, Reason.SPEC_CHANGED)
        if stale and self.state is LinkState.READY:
            if client.executor is not None:
                client.executor.link_closed(now_ns, refusal.reason.value)
            self.state = follow(self.state, LinkEvent.STALE)
            self._open(now_ns)
        elif self.state is LinkState.OPENING:
            final = refusal.reason not in (Reason.FULL, Reason.NOT_READY, Reason.DRAINING)
            if final:
                self.state = follow(self.state, LinkEvent.REFUSED)
            else:
                self._fail(client, now_ns, refusal.reason.value)
        elif client.executor is not None:
            client.executor.request_failed(now_ns, 0, refusal.reason.value)

    def _fail(self, client: SimClient, now_ns: int, cause: str) -> None:
        """Drops the channel; the next dial is a fresh one."""
        self.state = follow(self.state, LinkEvent.FAILED)
        self.link.clear()
        self._failures += 1
        self.dial_at_ns = now_ns + BACKOFF.wait_ns(self._failures, float(self._rng.random()))
        if client.executor is not None:
            client.executor.link_closed(now_ns, cause)  # a dial that fails is a miss as well


class Simulation:
    """A server and its robots on one virtual clock."""

    def __init__(self, server: SimServer, clients: Sequence[SimClient], control_hz: float = 100.0) -> None:
        self.server = server
        self.clients = list(clients)
        self.now_ns = 0
        self.server_is_up = True
        self._control_hz = control_hz
        self._tick = 0
        self._finished: set[int] = set()

    def __repr__(self) -> str:
        return f"<Simulation {self.now_ns / NS_PER_S:.2f} s {self.clients!r}>"

    def run(self, until_s: float, done: Callable[[], bool] = lambda: False) -> None:
        """Runs until `until_s` of virtual time, every client's exit, or `done()` (asked at each tick)."""
        until_ns = int(until_s * NS_PER_S)
        while self.now_ns < until_ns and not done():
            tick_ns = round(self._tick * NS_PER_S / self._control_hz)
            self._events_until(tick_ns)
            self.now_ns = tick_ns
            self._tick += 1
            self._tick_all(tick_ns)
            if len(self._finished) == len(self.clients):
                return

    def kill_server(self) -> None:
        """Ends the server as `kill -9` does: connections break, everything in it is forgotten."""
        self.server_is_up = False
        self.server.restart()
        for client in self.clients:
            client.end.broken(client, self.now_ns)

    def start_server(self) -> None:
        """Starts it again, knowing nobody."""
        self.server_is_up = True

    def _tick_all(self, now_ns: int) -> None:
        for index, client in enumerate(self.clients):
            if index in self._finished:
                continue
            client.end.work(client, now_ns)
            tick = client.tick(now_ns)
            if tick is not None and tick.exit is not None:
                self._finished.add(index)

    def _events_until(self, until_ns: int) -> None:
        """Lets everything happen that happens between two ticks, in order of time."""
        while (at_ns := self._next_event_ns()) is not None and at_ns <= until_ns:
            self.now_ns = max(self.now_ns, at_ns)
            for whose, answer in self.server.advance(at_ns):
                self.clients[whose].end.link.send(Direction.DOWN, answer, at_ns)
            for index, client in enumerate(self.clients):
                self._deliver(index, client, at_ns)

    def _next_event_ns(self) -> int | None:
        times = [client.end.link.next_arrival_ns() for client in self.clients]
        times.append(self.server.next_event_ns())
        return min((t for t in times if t is not None), default=None)

    def _deliver(self, index: int, client: SimClient, now_ns: int) -> None:
        for at_ns, _, message in client.end.link.arrivals(now_ns):
            if not isinstance(message, _Call):
                client.end.receive(client, message, at_ns)
            elif self.server_is_up:
                self.server.arrive(index, message.data, message.is_open, at_ns)
            else:
                client.end.broken(client, at_ns)


def command_log(ticks: Sequence[KeptTick]) -> FloatArray:
    """Returns the commands of kept ticks, shape (ticks, A)."""
    return np.array([kept.tick.action for kept in ticks])
