"""Too many robots, and one that floods: what the others notice of it, exactly, under virtual time."""

from __future__ import annotations

import numpy as np

from segue.core.types import ChunkRequest, Guidance, Observation, Strategy
from segue.core.watchdog import SafetyLevel
from segue.policies.registry import load_policy
from segue.server.session import REQUESTS, SessionLimits
from segue.testing.robots import FakeRobot
from segue.testing.simlink import LinkModel
from segue.testing.simserver import Call, Method, Reply, ServiceTime, SimServer
from segue.testing.simulation import SimClient, Simulation, command_log
from segue.wire.codec import encode_request
from segue.wire.handshake import encode_handshake
from segue.wire.records import Handshake, RequestContext
from tests.sim.support import client

MS = 1_000_000
PLACES = 8
RUN_S = 10.0


class CountingServer(SimServer):
    """Notes which session each served request was of, and when it came."""

    def __init__(self, inference_ms: float) -> None:
        policy = load_policy("builtin:scripted@30")
        policy.warm_up()
        super().__init__(policy, ServiceTime(inference_ms), SessionLimits(PLACES))
        self.served: dict[int, int] = {}

    def advance(self, now_ns: int) -> list[tuple[int, Reply]]:
        leaving = super().advance(now_ns)
        for whose, reply in leaving:
            if reply.number and isinstance(reply.answer, bytes):
                self.served[whose] = self.served.get(whose, 0) + 1
        return leaving


def _robots(count: int) -> list[SimClient]:
    link = LinkModel(delay_ms=5)
    return [
        client(FakeRobot(), Strategy.RTC, link=link, seed=k, robot_id=f"robot-{k}", keep_commands=True)
        for k in range(count)
    ]


def _commands(robots: list[SimClient]) -> list[list[list[float]]]:
    return [command_log(robot.ticks).tolist() for robot in robots]


def test_sixty_four_robots_at_eight_places_disturb_none_of_the_eight() -> None:
    """Beside 56 robots that knock without end, the eight admitted move exactly as they do alone."""
    alone, crowd = _robots(PLACES), _robots(64)
    Simulation(CountingServer(20.0), alone).run(RUN_S)
    Simulation(CountingServer(20.0), crowd).run(RUN_S)
    assert _commands(crowd[:PLACES]) == _commands(alone)
    assert all(not robot.ticks for robot in crowd[PLACES:])
    for robot in alone:
        assert SafetyLevel.STARVED not in {kept.row.level for kept in robot.ticks}


def _flood(simulation: Simulation, whose: int) -> int:
    """Lets client `whose` open a second session and ask in it each millisecond, claiming to be dry.

    Returns:
        How many requests it sends.
    """
    server, spec = simulation.server, simulation.clients[whose].robot.spec
    opened = encode_handshake(Handshake("rogue", spec)).SerializeToString()
    # The server numbers its sessions, so that a test knows the id of the last one.
    simulation.at(900 * MS, lambda: server.arrive(whose, Call(-1, 0, opened, Method.OPEN), 900 * MS))
    context = RequestContext(
        "rogue", f"session-{whose + 2}", server.policy.spec.spec_hash(), "", Guidance(), 0, 1
    )
    state = np.zeros(len(spec.observation.state))
    asked = range(1_000, round(RUN_S * 1000))
    for number, at_ms in enumerate(asked, 1):
        request = ChunkRequest(number, 1, 0, Observation(0, 0, state), (), None, 0, 0, 0, 0)
        call = Call(-1, number, encode_request(request, context).SerializeToString())
        simulation.at(at_ms * MS, lambda c=call, t=at_ms: server.arrive(whose, c, t * MS))  # type: ignore[misc]
    return len(asked)


def test_a_rogue_takes_no_inference_from_the_others() -> None:
    """Beside a client that asks each millisecond, the others are served as often as without it."""
    quiet, loud = CountingServer(5.0), CountingServer(5.0)
    robots, beside = _robots(4), _robots(4)
    Simulation(quiet, robots).run(RUN_S)
    simulation = Simulation(loud, beside)
    sent = _flood(simulation, whose=3)
    simulation.run(RUN_S)
    assert [loud.served[k] for k in range(3)] == [quiet.served[k] for k in range(3)]
    assert min(quiet.served.values()) > 20
    extra = loud.served[3] - quiet.served[3]
    assert 0 < extra <= REQUESTS.per_s * RUN_S + REQUESTS.burst < sent
    for robot in beside[:3]:
        assert SafetyLevel.STARVED not in {kept.row.level for kept in robot.ticks}
