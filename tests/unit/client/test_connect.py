from __future__ import annotations

import queue
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.client.connect import Connector
from segue.client.plan import LinkPlan
from segue.client.security import PLAIN, LinkSecurity
from segue.clock import NS_PER_S
from segue.core.link import events as ev
from segue.core.specs import PolicySpec
from segue.errors import AuthenticationError, ConfigError, RemoteProtocolError
from segue.wire.records import Handshake
from segue.wire.refusal import Reason
from tests.key_sets import key_set, robot
from tests.unit.client.test_channel import Code
from tests.unit.client.toyserver import ROBOT, No, ToyServer, policy

WAIT_S = 20.0


class Rig:
    """A connector whose news the test takes one by one."""

    def __init__(self, address: str, security: LinkSecurity = PLAIN) -> None:
        self.news: queue.Queue = queue.Queue()
        self.refuses: ConfigError | None = None
        self.connector = Connector(LinkPlan(address, security=security), self.offer, self.news.put)

    def offer(self, policies: tuple[PolicySpec, ...]) -> Handshake:
        if self.refuses is not None:
            raise self.refuses
        return Handshake("arm", ROBOT)

    def next(self) -> ev.Event:
        event: ev.Event | None = None
        while event is None:
            event = self.news.get(timeout=WAIT_S)()
        return event


@pytest.fixture
def rig(toy: ToyServer) -> Iterator[Rig]:
    """Connects to the toy server."""
    made = Rig(toy.address)
    made.connector.connect(ev.Connect(1))
    assert made.next() == ev.Connected(1)
    yield made
    made.connector.close()


def test_a_handshake_goes_call_by_call(toy: ToyServer, rig: Rig) -> None:
    """Each effect brings its event, with the channel's number; the welcome is kept for the records."""
    rig.connector.describe(ev.Describe(1, 5 * NS_PER_S))
    assert rig.next() == ev.Described(1, (policy(),))
    rig.connector.open(ev.Open(1, 5 * NS_PER_S, (policy(),), "session-0"))
    assert rig.next() == ev.Welcomed(1, "session-1", policy())
    assert [each.previous_session_id for each in toy.opened] == ["session-0"]
    assert rig.connector.welcome is not None
    assert rig.connector.welcome.configuration == {"device": "abacus"}


def test_a_refused_handshake_is_told_with_its_differences(toy: ToyServer, rig: Rig) -> None:
    """All differences of a refusal arrive, one sentence each."""
    differences = tuple(f"joints: robot has {k}, policy expects {k + 1}" for k in range(40))
    toy.opens = [No(Code.FAILED_PRECONDITION, Reason.MISMATCH, differences)]
    rig.connector.open(ev.Open(1, 5 * NS_PER_S, (), ""))
    event = rig.next()
    assert isinstance(event, ev.Unopened)
    assert event.heard.differences == differences


def test_an_answer_that_cannot_be_read_is_the_servers_fault(toy: ToyServer, rig: Rig) -> None:
    """A spec that contradicts its hash is refused with the field's name."""
    toy.spec_hash = "0" * 16
    rig.connector.open(ev.Open(1, 5 * NS_PER_S, (), ""))
    event = rig.next()
    assert isinstance(event, ev.Unfit)
    assert isinstance(event.error, RemoteProtocolError)
    assert "spec_hash" in str(event.error)


def test_what_does_not_fit_here_is_never_sent(toy: ToyServer, rig: Rig) -> None:
    """A wish that the policy cannot fulfil ends the run before the server hears of it."""
    rig.refuses = ConfigError("rtc.prefix_end: 51 is too long")
    rig.connector.open(ev.Open(1, 5 * NS_PER_S, (policy(),), ""))
    assert rig.next() == ev.Unfit(1, rig.refuses)
    assert toy.opened == []


def test_a_fresh_channel_closes_the_one_before(toy: ToyServer, rig: Rig) -> None:
    """Of two channels only the second is left, and what the first says bears its own number."""
    rig.connector.connect(ev.Connect(2))
    assert rig.next() == ev.Connected(2)
    toy.stop()
    assert rig.next() == ev.Broke(2)


def test_a_server_in_plain_text_is_found_out_by_a_robot_with_tls(toy: ToyServer, tmp_path: Path) -> None:
    """A connection that was turned away is looked into, and what cannot pass by waiting is an error."""
    rig = Rig(toy.address, robot(key_set(tmp_path / "keys")).read())
    rig.connector.connect(ev.Connect(1))
    assert isinstance(rig.next(), ev.TurnedAway)
    rig.connector.look(ev.Look(1, NS_PER_S))
    event = rig.next()
    assert isinstance(event, ev.Diagnosed)
    assert isinstance(event.error, AuthenticationError)
    assert "it speaks plain text" in str(event.error)
    rig.connector.close()


def test_a_server_that_is_away_is_found_to_be_just_that() -> None:
    """Nobody at the address may come back: the look finds no reason to end."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    rig = Rig(f"127.0.0.1:{port}")
    rig.connector.look(ev.Look(1, NS_PER_S))
    assert rig.next() == ev.Diagnosed(1, None)
