from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from segue.client.channel import Call, PolicyChannel, answer_of
from segue.client.security import LinkSecurity
from segue.clock import NS_PER_S
from segue.core.link.heard import Heard
from segue.wire import policy_pb2 as pb
from segue.wire.refusal import Reason
from tests.unit.client.toyserver import No, ToyServer

Code = grpc.StatusCode
WAIT_S = 20.0


class Ears:
    """Remembers what a channel says of its connection."""

    def __init__(self) -> None:
        self.heard: queue.Queue[str] = queue.Queue()

    def connected(self) -> None:
        self.heard.put("connected")

    def turned_away(self) -> None:
        self.heard.put("turned away")

    def broke(self) -> None:
        self.heard.put("broke")

    def next(self) -> str:
        return self.heard.get(timeout=WAIT_S)


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def channel(toy: ToyServer, ears: Ears) -> Iterator[PolicyChannel]:
    """Makes a channel to the toy server."""
    made = PolicyChannel(toy.address, ears)
    yield made
    made.close()


def end_of(call: Call) -> bytes | Heard:
    done: queue.Queue[Call] = queue.Queue()
    call.add_done_callback(done.put)
    done.get(timeout=WAIT_S)
    return answer_of(call)


def infer(channel: PolicyChannel, timeout_ns: int = 5 * NS_PER_S) -> bytes | Heard:
    return end_of(channel.infer(pb.InferRequest(number=1).SerializeToString(), timeout_ns))


def test_a_server_that_listens_is_connected_to(channel: PolicyChannel, ears: Ears) -> None:
    """The listener hears that the connection stands, once."""
    channel.connect()
    assert ears.next() == "connected"
    assert ears.heard.empty()


def test_nobody_listening_is_noticed_at_once(ears: Ears) -> None:
    """A refused connection is told, and not waited for."""
    channel = PolicyChannel("127.0.0.1:1", ears)
    channel.connect()
    assert ears.next() == "turned away"
    channel.close()


def test_a_connection_that_breaks_between_two_calls_is_noticed(
    toy: ToyServer, channel: PolicyChannel, ears: Ears
) -> None:
    """Nobody has to ask to learn that the server is gone."""
    channel.connect()
    assert ears.next() == "connected"
    toy.stop()
    assert ears.next() == "broke"


def test_all_three_calls_are_answered_in_bytes(channel: PolicyChannel) -> None:
    """Description, session and chunk come back as the bytes that travelled."""
    description = end_of(channel.describe(5 * NS_PER_S))
    assert isinstance(description, bytes)
    assert pb.DescribeReply.FromString(description).ready
    welcome = end_of(channel.open(pb.OpenRequest().SerializeToString(), 5 * NS_PER_S))
    assert isinstance(welcome, bytes)
    assert pb.OpenReply.FromString(welcome).session_id == "session-1"
    reply = infer(channel)
    assert isinstance(reply, bytes)
    assert pb.InferReply.FromString(reply).request_number == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (Code.UNAVAILABLE, Reason.DRAINING),
        (Code.FAILED_PRECONDITION, Reason.UNKNOWN_SESSION),
        (Code.UNAUTHENTICATED, Reason.UNSPECIFIED),
        (Code.RESOURCE_EXHAUSTED, Reason.FULL),
        (Code.INTERNAL, Reason.POLICY_FAILED),
    ],
)
def test_a_no_is_heard_with_status_text_and_reason(
    toy: ToyServer, channel: PolicyChannel, code: grpc.StatusCode, reason: Reason
) -> None:
    """What the server says arrives whole: gRPC's status, one printable line, and the reason if any."""
    toy.infers = [No(code, reason, ("pan: deg, rad",))]
    expected = "" if reason is Reason.UNSPECIFIED else reason.value
    assert infer(channel) == Heard(code.name, "no, says the toy", expected, ("pan: deg, rad",))


def test_a_silent_server_misses_the_deadline(toy: ToyServer, channel: PolicyChannel) -> None:
    """Without an answer a call ends at its deadline and says so."""
    toy.stuck.set()
    heard = infer(channel, NS_PER_S // 5)
    assert isinstance(heard, Heard)
    assert heard.status == "DEADLINE_EXCEEDED"


def test_a_call_that_was_given_up_is_a_failed_one(toy: ToyServer, channel: PolicyChannel) -> None:
    """A cancelled call ends as a no, and not as an exception of gRPC's own."""
    toy.stuck.set()
    call = channel.infer(pb.InferRequest().SerializeToString(), 20 * NS_PER_S)
    call.cancel()
    assert end_of(call) == Heard("CANCELLED", "given up")


def test_calls_under_way_end_with_their_channel(toy: ToyServer, channel: PolicyChannel) -> None:
    """A channel that is closed gives its calls up at once."""
    toy.stuck.set()
    call = channel.infer(pb.InferRequest().SerializeToString(), 20 * NS_PER_S)
    channel.close()
    assert end_of(call) == Heard("CANCELLED", "given up")


class SlowLook:
    """gRPC's inner channel, whose state takes a while to look at."""

    def __init__(self, inner: Any) -> None:
        self.looks: queue.Queue[threading.Thread] = queue.Queue()
        self.watch_connectivity_state = inner.watch_connectivity_state
        self._inner = inner

    def check_connectivity_state(self, connects: bool) -> Any:
        found = self._inner.check_connectivity_state(connects)
        self.looks.put(threading.current_thread())
        time.sleep(0.05)
        return found


def test_a_channel_that_is_closed_while_grpc_looks_at_it_ends_in_silence(
    ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes between two looks of gRPC's own thread gets no traceback of that thread."""
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    channel = PolicyChannel("127.0.0.1:1", ears)
    state = channel._channel._connectivity_state  # type: ignore[attr-defined]
    state.channel = slow = SlowLook(state.channel)
    channel.connect()
    looks = slow.looks.get(timeout=WAIT_S)
    channel.close()
    looks.join(WAIT_S)
    assert not raised


def test_a_long_text_of_the_server_is_cut(toy: ToyServer, channel: PolicyChannel) -> None:
    """A server that has much to say does not fill the terminal."""
    toy.says = "no " * 2000
    toy.infers = [No(Code.INTERNAL)]
    heard = infer(channel)
    assert isinstance(heard, Heard)
    assert len(heard.text) < 310


@pytest.mark.parametrize("token", ["t" * 40, ""])
def test_every_call_brings_the_token(toy: ToyServer, ears: Ears, token: str) -> None:
    """Handshake and requests carry the token in their metadata, and without a token nothing of the kind."""
    channel = PolicyChannel(toy.address, ears, LinkSecurity(token=token))
    end_of(channel.describe(5 * NS_PER_S))
    end_of(channel.open(pb.OpenRequest().SerializeToString(), 5 * NS_PER_S))
    infer(channel)
    channel.close()
    brought = f"Bearer {token}" if token else None
    assert [each.get("authorization") for each in toy.metadata] == [brought] * 3
