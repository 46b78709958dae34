"""Idle connections and what is sent on them: judged by the frames on the wire, not by names of options."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from segue.server import lifecycle
from segue.wire.channel import Keepalive, Options, client_options, server_options
from tests.unit.server.thin_client import Client

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1


def frame(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    """Returns an HTTP/2 frame of the connection itself."""
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + bytes(4) + body


class Frames:
    """Cuts a stream of bytes into HTTP/2 frames, each its kind, its flags and its body."""

    def __init__(self, skip: int = 0) -> None:
        self.seen: list[tuple[int, int, bytes]] = []
        self._rest = b""
        self._skip = skip

    def feed(self, data: bytes) -> None:
        """Takes what came next."""
        self._rest += data
        if len(self._rest) < self._skip:
            return
        self._rest, self._skip = self._rest[self._skip :], 0
        while len(self._rest) >= 9 and len(self._rest) >= 9 + (size := int.from_bytes(self._rest[:3], "big")):
            self.seen.append((self._rest[3], self._rest[4], self._rest[9 : 9 + size]))
            self._rest = self._rest[9 + size :]

    def pings(self, flags: int = 0) -> int:
        """Returns how many pings there were, or acknowledgements of pings."""
        return sum((kind, each) == (PING, flags) for kind, each, _ in self.seen)

    def goaways(self) -> list[bytes]:
        """Returns the reason of each GOAWAY."""
        return [body[8:] for kind, _, body in self.seen if kind == GOAWAY]


class Tap:
    """Passes one connection on to `address` and looks at its frames."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.up, self.down = Frames(len(PREFACE)), Frames()
        self._door = socket.create_server(("127.0.0.1", 0))
        self._target = (host, int(port))
        self._ends: list[socket.socket] = []
        self.address = "{}:{}".format(*self._door.getsockname())
        threading.Thread(target=self._let_in, daemon=True).start()

    def close(self) -> None:
        """Ends the connection."""
        for each in (self._door, *self._ends):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _let_in(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._door.accept()
            server = socket.create_connection(self._target)
            self._ends += [client, server]
            for source, sink, frames in ((client, server, self.up), (server, client, self.down)):
                threading.Thread(target=self._carry, args=(source, sink, frames), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, frames: Frames) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                frames.feed(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Client]) -> Callable[[int], Client]:
    """Starts servers whose keepalive is quickened."""

    def start(keepalive_ms: int, **changed: int) -> Client:
        def options(max_connections: int) -> Options:
            made = dict(server_options(max_connections, Keepalive(keepalive_ms)))
            return list((made | {f"grpc.{name}": value for name, value in changed.items()}).items())

        monkeypatch.setattr(lifecycle, "server_options", options)
        return serve()

    return start


class Idle:
    """A robot's channel that makes one call and then rests."""

    def __init__(self, address: str, options: Options) -> None:
        self.states: list[str] = []
        self._channel = grpc.insecure_channel(address, options=options)
        self._channel.subscribe(lambda state: self.states.append(state.name), try_to_connect=True)
        ready = grpc.channel_ready_future(self._channel)
        ready.result(timeout=10)
        self._channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)

    def close(self) -> None:
        self._channel.close()


@contextlib.contextmanager
def resting(server: Client, options: Options) -> Iterator[tuple[Tap, Idle]]:
    """Makes a robot's idle connection to `server`, with a look at its frames."""
    tap = Tap(server.address)
    idle = Idle(tap.address, options)
    try:
        yield tap, idle
    finally:
        idle.close()
        tap.close()


def until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Waits for `condition`; returns whether it came about."""
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_an_idle_robot_pings_for_ever_and_is_never_cut_off(quick: Callable[[int], Client]) -> None:
    """Ping after ping goes out without data in between, both ways, and no GOAWAY comes for it."""
    # gRPC's clients ping at most once a second; at the third strike the server would hang up.
    with resting(quick(1000), client_options(Keepalive(1000))) as (tap, idle):
        assert until(lambda: tap.up.pings() >= 5, 20.0), f"{tap.up.pings()} pings"
        assert tap.down.pings() >= 3
        assert tap.down.goaways() == []
        assert idle.states[-1] == "READY"


def test_pings_as_often_as_a_robots_are_answered(quick: Callable[[int], Client]) -> None:
    """Twenty raw pings at the rate of keepalive are all acknowledged, and no GOAWAY comes."""
    seen, acknowledged = pinged(quick(100).address, every_s=0.1, count=20)
    assert seen == []
    assert acknowledged == 20


def test_a_flood_of_pings_is_cut_off(quick: Callable[[int], Client]) -> None:
    """Who pings far more often than any robot is told to go."""
    seen, _ = pinged(quick(2000).address, every_s=0.02, count=20)
    assert seen == [b"too_many_pings"]


def pinged(address: str, every_s: float, count: int) -> tuple[list[bytes], int]:
    """Sends `count` pings at that rate; returns the reasons of what GOAWAYs came, and the answers."""
    host, _, port = address.rpartition(":")
    frames = Frames()
    with socket.create_connection((host, int(port)), timeout=5.0) as line, contextlib.suppress(OSError):
        line.sendall(PREFACE + frame(SETTINGS) + frame(SETTINGS, flags=ACK))
        listening = threading.Thread(target=listen, args=(line, frames), daemon=True)
        listening.start()
        began = time.monotonic()
        for k in range(count):
            time.sleep(max(0.0, began + k * every_s - time.monotonic()))
            line.sendall(frame(PING, k.to_bytes(8, "big")))
        until(lambda: bool(frames.goaways()) or frames.pings(ACK) == count, 5.0)
    return frames.goaways(), frames.pings(ACK)


def listen(line: socket.socket, frames: Frames) -> None:
    """Reads frames until the end."""
    with contextlib.suppress(OSError):
        while data := line.recv(65536):
            frames.feed(data)


@pytest.mark.parametrize("end", ["client", "server"])
def test_the_options_that_end_an_idle_connection_are_the_ones_that_are_set(
    end: str, quick: Callable[..., Client]
) -> None:
    """Shortened to a second, either end's idle limit ends the connection: so it is what keeps it."""
    ours, theirs = (
        ({"client_idle_timeout_ms": 1000}, {}) if end == "client" else ({}, {"max_connection_idle_ms": 1000})
    )
    options = dict(client_options()) | {f"grpc.{name}": value for name, value in ours.items()}
    with resting(quick(10_000, **theirs), list(options.items())) as (_, idle):
        assert until(lambda: idle.states[-1] == "IDLE", 10.0), idle.states


@contextlib.contextmanager
def peer_of_server(quick: Callable[..., Client], changed: dict[str, int]) -> Iterator[socket.socket]:
    """Makes a bare connection to a server that is told `changed`."""
    host, _, port = quick(200, **changed).address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10.0) as line:
        line.sendall(PREFACE)
        yield line


@contextlib.contextmanager
def peer_of_client(quick: Callable[..., Client], changed: dict[str, int]) -> Iterator[socket.socket]:
    """Takes a bare connection from a robot's channel that is told `changed`."""
    options = dict(client_options(Keepalive(1000))) | {
        f"grpc.{name}": value for name, value in changed.items()
    }
    with socket.create_server(("127.0.0.1", 0)) as door:
        address = "{}:{}".format(*door.getsockname())
        with grpc.insecure_channel(address, options=list(options.items())) as channel:
            channel.subscribe(lambda state: None, try_to_connect=True)
            line, _ = door.accept()
            line.settimeout(10.0)
            with line:
                yield line


@pytest.mark.parametrize("peer", [peer_of_client, peer_of_server])
def test_a_peer_that_takes_bytes_and_says_nothing_is_let_go(
    peer: Callable[..., contextlib.AbstractContextManager[socket.socket]], quick: Callable[..., Client]
) -> None:
    """A connection on which pings are not answered ends after the time that stands for it, at either end."""
    began = time.monotonic()
    with peer(quick, {"http2.ping_timeout_ms": 500}) as line, contextlib.suppress(ConnectionResetError):
        line.sendall(frame(SETTINGS) + frame(SETTINGS, flags=ACK))
        while line.recv(65536):
            continue
    assert time.monotonic() - began >= 0.6
