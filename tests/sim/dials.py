"""One robot's link twice, over real gRPC and in the simulation: what each wanted, and when.

Both drive the same machine with the same jitter, and both have the same robot,
policy, trigger and control loop behind it. A scenario is told once, in the
words of `Side`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import grpc
import numpy as np

from segue.client.diary import Diary
from segue.client.ending import StopSwitch
from segue.client.link import Link
from segue.client.loop import ControlLoop, Parts
from segue.client.mailbox import Mailbox, mailbox_pair
from segue.client.pictures import Pictures
from segue.client.plan import ControlPlan, ExecutionPlan, LinkPlan
from segue.clock import NS_PER_MS, NS_PER_S, SystemClock
from segue.core.link import events as ev
from segue.core.link.machine import LinkMachine
from segue.core.link.states import LinkState
from segue.core.schedule import RequestRule
from segue.core.types import Guidance, Strategy
from segue.policies.base import PolicyInput, PolicyOutput
from segue.server.refused import STATUS
from segue.testing.proxy import FaultProxy
from segue.testing.robots import FakeRobot
from segue.testing.simlink import LinkModel
from segue.testing.simserver import Call, Method, ServiceTime, SimServer
from segue.testing.simulation import SimClient, SimSetup, Simulation
from segue.wire.records import Encoding, Handshake, RequestContext
from segue.wire.refusal import Reason
from tests.unit.client.toyserver import ROBOT, No, ToyServer, policy

UNTIL_S = 5.0
CONTROL_HZ = 50.0
# With a threshold of a half a chunk of 50 is asked for each second.
_ACTION_HZ = 25.0
# How late in its span every wait of the back-off ends, on both sides.
CHANCE = 0.5
_MANY = 10_000
_RULE = RequestRule(strategy=Strategy.ASYNC, horizon=50, threshold=0.5, min_execution_steps=10)
_PLAN = ControlPlan(
    RequestContext("arm", "", "", "wave", Guidance(), 50, 0),
    ExecutionPlan(
        control_hz=CONTROL_HZ, action_hz=_ACTION_HZ, rule=_RULE, aggregate="latest_only", realtime=False
    ),
    policy_horizon=50,
    history_steps=0,
)

COUNTED = (ev.Connect, ev.Open, ev.Send)


@dataclass(frozen=True)
class Entry:
    """What a machine was told, what it wanted, and where it stood before and after."""

    at_ns: int
    event: ev.Event
    effects: tuple[ev.Effect, ...]
    before: LinkState
    after: LinkState

    @property
    def wait_ms(self) -> float:
        """How long it will wait from now on if nothing happens; 0 where it waits for nothing."""
        dates = [effect.at_ns for effect in self.effects if isinstance(effect, ev.WakeAt)]
        return (dates[0] - self.at_ns) / NS_PER_MS if dates else 0.0


class Log:
    """All of one machine, from now on."""

    def __init__(self, machine: LinkMachine) -> None:
        self.entries: list[Entry] = []
        on = machine.on

        def recorded(event: ev.Event, now_ns: int) -> tuple[ev.Effect, ...]:
            before = machine.state
            effects = on(event, now_ns)
            self.entries.append(Entry(now_ns, event, effects, before, machine.state))
            return effects

        machine.on = recorded  # type: ignore[method-assign]

    def count(self, kind: type[ev.Effect], until_s: float) -> int:
        """Returns how many of one kind there were so long after the first dial."""
        until_ns = self.entries[0].at_ns + until_s * NS_PER_S
        wanted = [effect for entry in self.entries if entry.at_ns <= until_ns for effect in entry.effects]
        return sum(isinstance(effect, kind) for effect in wanted)

    def story(self) -> list[str]:
        """Returns every dial, handshake and request, each pause that was decided on, and what timed out, ms.

        A busy computer makes it longer in time, and does not change a word of it.
        """
        told, asked, dialled_ns = [], 0, 0
        for entry, later in pairwise(self.entries):
            wanted = [effect for effect in entry.effects if isinstance(effect, COUNTED)]
            told += [type(effect).__name__ for effect in wanted]
            asked = max([asked, *(effect.number for effect in wanted if isinstance(effect, ev.Send))])
            if any(isinstance(effect, ev.Connect) for effect in wanted):
                dialled_ns = entry.at_ns
            if entry.after is LinkState.DOWN and entry.before is not LinkState.DOWN:
                told.append(f"pauses {entry.wait_ms:.0f}")
            elif _holds_a_report_back(entry, asked):
                told.append(f"keeps it for {entry.wait_ms:.0f}")
            elif entry.after is LinkState.DIALING and isinstance(later.event, ev.Woken):
                told.append(f"gives up after {entry.wait_ms + (entry.at_ns - dialled_ns) / NS_PER_MS:.0f}")
        return told


def _holds_a_report_back(entry: Entry, asked: int) -> bool:
    refused = isinstance(entry.event, ev.Unanswered) and entry.event.number == asked
    told = any(isinstance(effect, ev.Report) for effect in entry.effects)
    return refused and not told and entry.after is LinkState.READY and entry.wait_ms > 0


class Side:
    """What may be done to either server."""

    def refuse_requests(self, reason: Reason) -> None:
        """Sessions are opened, and every request is refused."""
        raise AssertionError

    def talk_rubbish(self) -> None:
        """Sessions are opened, and no answer can be read."""
        raise AssertionError

    def have_one_place(self) -> None:
        """A session is opened, and no other after it."""
        raise AssertionError

    def leave(self) -> None:
        """Every connection breaks, and none is accepted."""
        raise AssertionError

    def reset(self) -> None:
        """Every connection breaks."""
        raise AssertionError

    def fall_silent(self) -> None:
        """Connections are accepted, and no word comes."""
        raise AssertionError


Act = Callable[[Side], None]


@dataclass(frozen=True)
class Scenario:
    """What happens: `first` before the first dial, and each of `then` so long after the first session, s."""

    name: str
    first: Act
    then: Sequence[tuple[float, Act]] = ()


class Real(Side):
    """The toy server behind a fault proxy, and a real link and control loop on threads."""

    def __init__(self, proxy: FaultProxy, toy: ToyServer) -> None:
        toy.actions = np.zeros((50, 1))
        clock, plan = SystemClock(), LinkPlan(proxy.address)
        limit_ns = 60 * NS_PER_S
        self._link = Link(
            plan, ROBOT, lambda policies: Handshake("arm", ROBOT), clock, limit_ns, chance=lambda: CHANCE
        )
        self.log = Log(self._link.machine)
        self._proxy = proxy
        self._toy = toy

    def refuse_requests(self, reason: Reason) -> None:
        self._toy.infers = [No(grpc.StatusCode[STATUS[reason]], reason)] * _MANY

    def talk_rubbish(self) -> None:
        self._toy.garbage = b"\xff\xff\xff"

    def have_one_place(self) -> None:
        def fill() -> None:
            if self._toy.opened:
                self._toy.opens = [No(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.FULL)]

        self._toy.on_handshake = fill

    def leave(self) -> None:
        self._proxy.refuse(True)
        self._proxy.reset()

    def reset(self) -> None:
        self._proxy.reset()

    def fall_silent(self) -> None:
        self._proxy.swallow(True)

    def run(self, scenario: Scenario, until_s: float) -> None:
        link, clock = self._link, SystemClock()
        scenario.first(self)
        end_ns = clock.now_ns() + int(until_s * NS_PER_S)
        if link.open(lambda: clock.now_ns() > end_ns, lambda heard: None) is not None:
            timers = [threading.Timer(at_s, act, (self,)) for at_s, act in scenario.then]
            for timer in timers:
                timer.start()
            _drive(link, clock, end_ns)
            for timer in timers:
                timer.cancel()
                timer.join()
        link.close()


def _drive(link: Link, clock: SystemClock, end_ns: int) -> None:
    mailbox, link_end = mailbox_pair()
    (records, read), (diary, diary_read) = mailbox_pair(), mailbox_pair()
    stop = StopSwitch()
    robot = FakeRobot(ROBOT)
    robot.connect()
    work = (link_end, Pictures({}, Encoding.JPEG, 90), Diary(diary, "arm", "link"))
    carrying = threading.Thread(target=link.run, args=work)
    ticking = threading.Thread(target=ControlLoop(Parts(clock, robot, mailbox, records, stop), _PLAN).run)
    carrying.start()
    ticking.start()
    while clock.now_ns() < end_ns:
        time.sleep(0.05)
        _empty(read, diary_read)
    stop.ask()
    stop.ask()
    ticking.join()
    link.stop()
    carrying.join()


def _empty(*mailboxes: Mailbox) -> None:
    for mailbox in mailboxes:
        for _ in mailbox.drain():
            pass


class _ToyPolicy:
    """The policy of the toy server."""

    spec = policy()

    def warm_up(self) -> None:
        pass

    def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        return [PolicyOutput(np.zeros((50, 1)), None, 0) for _ in batch]


class Simulated(Side):
    """The same in the simulation."""

    def __init__(self) -> None:
        setup = SimSetup(
            lambda spec: _PLAN.executor_config(FakeRobot(ROBOT)),
            link=LinkModel(delay_ms=0.5),
            chance=lambda: CHANCE,
        )
        self._client = client = SimClient(FakeRobot(ROBOT), setup)
        server = SimServer(_ToyPolicy(), ServiceTime(1.0))
        self._simulation = Simulation(server, [client], CONTROL_HZ)
        self.log = Log(client.end.machine)

    def refuse_requests(self, reason: Reason) -> None:
        self._simulation.server.mischief.refuse_requests = reason

    def talk_rubbish(self) -> None:
        self._simulation.server.mischief.garble = _MANY

    def have_one_place(self) -> None:
        server = self._simulation.server
        arrive = server.arrive

        def filling(client: int, call: Call, now_ns: int) -> None:
            arrive(client, call, now_ns)
            if call.method is Method.OPEN:
                server.mischief.refuse_opens = Reason.FULL

        server.arrive = filling  # type: ignore[method-assign]

    def leave(self) -> None:
        self._simulation.kill_server()

    def reset(self) -> None:
        self._simulation.reset_connections()

    def fall_silent(self) -> None:
        self._simulation.server.stop()

    def run(self, scenario: Scenario, until_s: float) -> None:
        scenario.first(self)
        if scenario.then:
            self._simulation.run(until_s, lambda: self._client.end.policy is not None)
        for at_s, act in scenario.then:
            at_ns = self._simulation.now_ns + round(at_s * NS_PER_S)
            self._simulation.at(at_ns, lambda act=act: act(self))  # type: ignore[misc]
        self._simulation.run(until_s)


def _nothing(side: Side) -> None:
    """Does nothing."""


def _forget_and_fill(side: Side) -> None:
    side.refuse_requests(Reason.UNKNOWN_SESSION)
    side.have_one_place()


def _leave(side: Side) -> None:
    side.leave()


def _fall_silent(side: Side) -> None:
    side.fall_silent()


SCENARIOS = {
    each.name: each
    for each in (
        Scenario("opens_and_drains", lambda side: side.refuse_requests(Reason.DRAINING)),
        Scenario("forgets_every_session", lambda side: side.refuse_requests(Reason.UNKNOWN_SESSION)),
        Scenario("full_at_every_reopen", _forget_and_fill),
        Scenario("no_room_for_requests", lambda side: side.refuse_requests(Reason.OUT_OF_MEMORY)),
        Scenario("policy_fails", lambda side: side.refuse_requests(Reason.POLICY_FAILED)),
        Scenario("too_late_for_every_request", lambda side: side.refuse_requests(Reason.TOO_LATE)),
        Scenario("superseded_every_time", lambda side: side.refuse_requests(Reason.SUPERSEDED)),
        Scenario("finds_every_field_bad", lambda side: side.refuse_requests(Reason.BAD_FIELD)),
        Scenario("talks_rubbish", lambda side: side.talk_rubbish()),
        Scenario("away", _nothing, [(0.5, _leave)]),
        Scenario("never_there", _leave),
        Scenario("reset_each_second", _nothing, [(k + 0.5, lambda side: side.reset()) for k in range(5)]),
        Scenario("falls_silent", _nothing, [(0.5, _fall_silent)]),
        Scenario("never_says_a_word", _fall_silent),
    )
}


def for_real(name: str) -> Log:
    """Returns what the real link did in a scenario."""
    toy = ToyServer()
    with FaultProxy(toy.address) as proxy:
        real = Real(proxy, toy)
        real.run(SCENARIOS[name], UNTIL_S)
    toy.stop()
    return real.log


def all_for_real(at_once: int) -> dict[str, Log]:
    """Returns the same for all scenarios; so many are played at once."""
    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip(SCENARIOS, pool.map(for_real, SCENARIOS), strict=True))


def simulated(name: str) -> Log:
    """Returns what the simulated link did in a scenario."""
    side = Simulated()
    side.run(SCENARIOS[name], UNTIL_S)
    return side.log
