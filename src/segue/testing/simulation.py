"""Whole runs under virtual time: real executor, scheduler, session table and batcher over a simulated link.

One loop moves one clock from event to event: a tick of a robot, a message that
arrives, a batch that is done, a fault that strikes (`at`). Nothing waits, so
minutes of robot time take as long as their inferences and physics take to
compute, and the same seeds give the same run, tick for tick. Threads,
processes and gRPC are left out; their own tests are elsewhere.

    server = SimServer(policy, ServiceTime(inference_ms=20, latency_ms=300))
    client = SimClient(robot, setup)
    Simulation(server, [client]).run(until_s=60)
    client.stats.summary("done")
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from segue.client.commands import CommandRow, row_of
from segue.client.driver import Driver
from segue.client.stats import RunStats
from segue.clock import NS_PER_S, SLEEP_NS
from segue.core import facts
from segue.core.executor import ChunkExecutor
from segue.core.link.states import LinkState
from segue.core.queue import QueueCounts
from segue.core.specs import PolicySpec
from segue.core.types import FloatArray, Guidance
from segue.policies.base import Policy
from segue.robots.base import Robot
from segue.testing.clock import VirtualClock
from segue.testing.simend import Accepted, EndSetup, Knock, LinkEnd, Parcel, Reset
from segue.testing.simlink import Direction, LinkModel
from segue.testing.simserver import Call, SimServer
from segue.wire.records import RequestContext


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
        chance: returns a number in 0..1 for the jitter of waiting times; None draws it from the seed.
    """

    configure: Callable[[PolicySpec], facts.ExecutorConfig]
    guidance: Guidance = field(default_factory=Guidance)
    robot_id: str = "robot"
    task: str = ""
    link: LinkModel = field(default_factory=LinkModel)
    seed: int = 0
    keep_commands: bool = False
    chance: Callable[[], float] | None = None


@dataclass(frozen=True, slots=True)
class KeptTick:
    """One tick, for whoever judges afterwards.

    Attributes:
        row: as the log of commands would have it.
        tick: what the executor decided.
        applied: what the driver made of the command, shape (A,); None when it failed.
        counts: of the queue after this tick.
        blind: whether a camera was failing.
        linked: whether a session was open.
        paused: whether the arm was to rest until somebody said go.
        slept: whether the computer slept just before it, for so long that it counts.
        went: whether a person said go since the tick before.
    """

    row: CommandRow
    tick: facts.Tick
    applied: FloatArray | None
    counts: QueueCounts
    blind: bool
    linked: bool
    paused: bool = False
    slept: bool = False
    went: bool = False


@dataclass(slots=True)
class _Sleep:
    """The sleep of one robot's computer, the present one or the last, and whether a person said go."""

    began_ns: int = 0
    until_ns: int = 0
    counts: bool = False
    went: bool = False
    unheard: bool = False
    missed: list[Parcel] = field(default_factory=list)

    def begin(self, now_ns: int, until_ns: int) -> None:
        self.began_ns, self.until_ns = now_ns, max(self.until_ns, until_ns)
        self.counts = self.counts or until_ns - now_ns > SLEEP_NS

    def lasts(self, now_ns: int) -> bool:
        return now_ns < self.until_ns

    def over(self, now_ns: int) -> tuple[bool, bool]:
        """Returns what happened since the last tick: a sleep that counts, a person's go."""
        happened = (self.counts, self.went)
        self.counts = self.went = False
        return happened


class SimClient:
    """One robot with its executor and its end of the link."""

    def __init__(self, robot: Robot, setup: SimSetup) -> None:
        self.robot = robot
        self.setup = setup
        self.stats: RunStats | None = None
        self.ticks: list[KeptTick] = []
        self.stalled_until_ns = 0
        self.sleep = _Sleep()
        end = EndSetup(
            robot.spec, setup.robot_id, setup.guidance, setup.link, setup.seed, chance=setup.chance
        )
        self.end = LinkEnd(end)
        self._clock = VirtualClock()
        self._driver: Driver | None = None
        self._context = RequestContext(
            robot_id=setup.robot_id,
            session_id="",
            spec_hash="",
            task=setup.task,
            guidance=setup.guidance,
            chunk_length=0,
            seed=setup.seed,
        )

    def __repr__(self) -> str:
        return f"<SimClient {self.setup.robot_id} {self.end.state.value} {self.executor!r}>"

    @property
    def executor(self) -> ChunkExecutor | None:
        """What decides every tick; None before the first session."""
        return self._driver.executor if self._driver is not None else None

    def tick(self, now_ns: int) -> facts.Tick | None:
        """Runs one turn of the control loop; None before the first handshake, and in a stall."""
        if now_ns < self.stalled_until_ns or self.sleep.lasts(now_ns):
            return None
        self._clock.sleep_until(now_ns)
        driver, stats = self._begun(), self.stats
        if driver is None or stats is None:
            return None
        slept, went = self.sleep.over(now_ns)
        if slept:
            driver.executor.slept(now_ns)
        observation = driver.look(now_ns)
        linked = self.end.state is LinkState.READY
        driver.take_mail(now_ns)
        tick = driver.decide(now_ns, observation, self._context)
        self.end.work(now_ns)
        applied = driver.move(tick.action, now_ns)
        stats.add(tick, now_ns)
        if self.setup.keep_commands:
            executor = driver.executor
            blind = executor.troubles.camera is not None
            known = {"applied": applied, "measured": driver.view.of(observation.state)}
            row = row_of(executor, tick, now_ns, captured_ns=observation.captured_ns, **known)
            counts = replace(executor.queue.counts)
            paused = executor.troubles.paused
            self.ticks.append(KeptTick(row, tick, applied, counts, blind, linked, paused, slept, went))
        return tick

    def sleep_until(self, now_ns: int, until_ns: int) -> None:
        """Lets the computer sleep: no tick, no link; what comes meanwhile is met afterwards."""
        self.sleep.begin(now_ns, until_ns)
        self.sleep.unheard = True

    def say_go(self, now_ns: int) -> None:
        """Lets a person say that the arm may move again."""
        if self.executor is not None and self.executor.watchdog.waits_for_go:
            self.executor.go_on(now_ns)
            self.sleep.went = True

    def receive(self, parcel: Parcel, now_ns: int) -> None:
        """Takes a parcel off the network, or once the computer is awake again."""
        if self.sleep.lasts(now_ns):
            self.sleep.missed.append(parcel)
        else:
            self.end.receive(parcel, now_ns)

    def work(self, now_ns: int) -> None:
        """Lets the link do what is due, unless the computer sleeps."""
        if self.sleep.lasts(now_ns):
            return
        if self.sleep.unheard:
            slept_ns, self.sleep.unheard = self.sleep.until_ns - self.sleep.began_ns, False
            if slept_ns > SLEEP_NS:
                self.end.slept(slept_ns, now_ns)
        missed, self.sleep.missed = self.sleep.missed, []
        for parcel in missed:
            self.end.receive(parcel, now_ns)
        self.end.work(now_ns)

    def next_date_ns(self) -> int | None:
        """Returns when `work` has something to do."""
        date_ns = self.end.next_date_ns()
        return None if date_ns is None else max(date_ns, self.sleep.until_ns)

    def _begun(self) -> Driver | None:
        """Returns the driver; it connects the robot and begins at its present pose once a session is open."""
        policy = self.end.policy
        if self._driver is None and policy is not None:
            self.robot.connect()
            config = self.setup.configure(policy)
            self._driver = Driver(self.robot, self.end, self._clock, config)
            self.stats = RunStats(config.action.names, config.control_hz)
        return self._driver


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
        self._channels: set[tuple[int, int]] = set()
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

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

    def at(self, at_ns: int, act: Callable[[], None]) -> None:
        """Lets `act` happen at `at_ns`, before anything else of that moment."""
        heapq.heappush(self._agenda, (at_ns, next(self._order), act))

    def kill_server(self) -> None:
        """Ends the server as `kill -9` does: connections break, everything in it is forgotten."""
        self.server_is_up = False
        self.server.restart()
        self.reset_connections()

    def start_server(self, policy: Policy | None = None) -> None:
        """Starts it again, knowing nobody; perhaps with another policy."""
        self.server.policy = policy or self.server.policy
        self.server_is_up = True

    def reset_connections(self) -> None:
        """Breaks every connection; who can still be reached hears of it."""
        for index, channel in sorted(self._channels):
            self._reset(index, channel, self.now_ns)
        self._channels.clear()

    def _tick_all(self, now_ns: int) -> None:
        for index, client in enumerate(self.clients):
            if index in self._finished or client.sleep.lasts(now_ns):
                continue
            client.end.work(now_ns)
            tick = client.tick(now_ns)
            if tick is not None and tick.exit is not None:
                self._finished.add(index)

    def _events_until(self, until_ns: int) -> None:
        """Lets everything happen that happens between two ticks, in order of time."""
        while (at_ns := self._next_event_ns()) is not None and at_ns <= until_ns:
            self.now_ns = max(self.now_ns, at_ns)
            while self._agenda and self._agenda[0][0] <= at_ns:
                heapq.heappop(self._agenda)[2]()
            for whose, reply in self.server.advance(at_ns):
                self.clients[whose].end.link.send(Direction.DOWN, reply, at_ns)
            for index, client in enumerate(self.clients):
                self._deliver(index, client, at_ns)
                client.work(at_ns)

    def _next_event_ns(self) -> int | None:
        times = [client.end.link.next_arrival_ns() for client in self.clients]
        times += [client.next_date_ns() for client in self.clients]
        times.append(self.server.next_event_ns())
        times.append(self._agenda[0][0] if self._agenda else None)
        return min((t for t in times if t is not None), default=None)

    def _deliver(self, index: int, client: SimClient, now_ns: int) -> None:
        for at_ns, _, parcel in client.end.link.arrivals(now_ns):
            match parcel:
                case Knock():
                    self._knock(index, parcel.channel, at_ns)
                case Call():
                    self._call(index, parcel, at_ns)
                case _:
                    client.receive(parcel, at_ns)

    def _knock(self, index: int, channel: int, now_ns: int) -> None:
        """Answers a connection attempt, as the host of the server does."""
        if not self.server_is_up:
            self._reset(index, channel, now_ns)
            return
        self._channels.add((index, channel))
        self.clients[index].end.link.send(Direction.DOWN, Accepted(channel), now_ns)

    def _call(self, index: int, call: Call, now_ns: int) -> None:
        if self.server_is_up and (index, call.channel) in self._channels:
            self.server.arrive(index, call, now_ns)
        else:
            self._reset(index, call.channel, now_ns)

    def _reset(self, index: int, channel: int, now_ns: int) -> None:
        self.clients[index].end.link.send(Direction.DOWN, Reset(channel), now_ns)


def command_log(ticks: Sequence[KeptTick]) -> FloatArray:
    """Returns the commands of kept ticks, shape (ticks, A)."""
    return np.array([kept.row.command for kept in ticks])
