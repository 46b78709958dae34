from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import segue.testing.proxy
from segue.testing.netfaults import Change, NetFault, Schedule
from segue.testing.proxy import FaultProxy
from segue.testing.relay import Relay

pytestmark = pytest.mark.timeout(60)

WAIT_S = 5.0


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.005)


class Echo:
    """A server that sends everything back, or reads and says nothing."""

    def __init__(self) -> None:
        self.silent = False
        self.got = 0
        self._door = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = "{}:{}".format(*self._door.getsockname())
        threading.Thread(target=self._let_in, daemon=True).start()

    def close(self) -> None:
        """Ends the door and every connection."""
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for each in self._open:
            each.close()

    def hang_up(self) -> None:
        """Ends every connection in order."""
        for each in self._open:
            each.shutdown(socket.SHUT_RDWR)

    @property
    def serving(self) -> int:
        """How many connections are open."""
        return sum(each.fileno() >= 0 for each in self._open)

    def _let_in(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._door.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(65536):
                self.got += len(data)
                if not self.silent:
                    connection.sendall(data)


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A running echo server."""
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    """A proxy before it."""
    with FaultProxy(echo.address, seed=5) as made:
        yield made


def _client(proxy: FaultProxy) -> socket.socket:
    host, _, port = proxy.address.rpartition(":")
    made = socket.create_connection((host, int(port)), timeout=WAIT_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _receive(client: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count and (part := client.recv(count - len(parts))):
        parts += part
    return parts


def _echoed(client: socket.socket, data: bytes = b"hello") -> float:
    """Sends `data`, waits for its echo, and returns the seconds that took."""
    began = time.perf_counter()
    client.sendall(data)
    assert _receive(client, len(data)) == data
    return time.perf_counter() - began


def _soonest(client: socket.socket) -> float:
    """Returns the shortest of five echoes, s: a busy machine is not that late five times."""
    return min(_echoed(client) for _ in range(5))


def _silent(client: socket.socket, seconds: float) -> bool:
    client.settimeout(seconds)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(WAIT_S)
    return False


def test_what_goes_in_comes_out(proxy: FaultProxy) -> None:
    """Without a fault bytes arrive whole and in order, at far more than any robot needs, and are counted."""
    data = os.urandom(4_000_000)
    with _client(proxy) as client:
        threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
        began = time.perf_counter()
        assert _receive(client, len(data)) == data
        _say(f"{len(data) / (time.perf_counter() - began) / 1e6:.0f} MB/s both ways")
        _say(f"round trip {min(_echoed(client) for _ in range(50)) * 1e6:.0f} us")
        counts = proxy.counts
    assert (counts.connections, counts.up_bytes, counts.down_bytes) == (1, counts.up_bytes, counts.up_bytes)
    assert counts.up_bytes == len(data) + 50 * len(b"hello")


def test_a_delay_is_added_each_way(proxy: FaultProxy) -> None:
    """A delay of 60 ms makes a round trip 120 ms longer, one way alone 60 ms, and may be lifted."""
    with _client(proxy) as client:
        proxy.delay(60)
        both = _echoed(client)
        proxy.delay(0, down=False)
        one = _echoed(client)
        proxy.delay(0)
        none = _soonest(client)
    _say(f"60 ms each way: {both * 1e3:.1f}; down alone: {one * 1e3:.1f}; none: {none * 1e3:.1f} ms")
    assert 0.12 <= both < 0.6
    assert 0.06 <= one < 0.5
    assert none < 0.06


def test_jitter_varies_and_keeps_the_order(proxy: FaultProxy) -> None:
    """With jitter every message takes another time, and none overtakes."""
    proxy.delay(1, jitter_ms=20)
    with _client(proxy) as client:
        took = [_echoed(client) for _ in range(10)]
        client.sendall(bytes(range(100)))
        assert _receive(client, 100) == bytes(range(100))
    _say(f"from {min(took) * 1e3:.1f} to {max(took) * 1e3:.1f} ms")
    assert max(took) > 2 * min(took)


def test_a_throttled_link_takes_its_time(proxy: FaultProxy) -> None:
    """At 200 kB/s 100 kB take half a second, however they are sent."""
    proxy.throttle(200_000, down=False)
    with _client(proxy) as client:
        took = _echoed(client, b"x" * 100_000)
        proxy.throttle(None)
        assert _echoed(client, b"x" * 100_000) < 0.3
    _say(f"100 kB at 200 kB/s: {took:.3f} s")
    assert 0.45 <= took < 2.0


def test_connections_share_a_slow_link(proxy: FaultProxy) -> None:
    """Two connections of a throttled proxy are together as slow as one."""
    proxy.throttle(200_000, down=False)
    with _client(proxy) as one, _client(proxy) as two:
        began = time.perf_counter()
        for client in (one, two):
            threading.Thread(target=client.sendall, args=(b"x" * 50_000,), daemon=True).start()
        assert len(_receive(one, 50_000)) == len(_receive(two, 50_000)) == 50_000
        took = time.perf_counter() - began
    _say(f"twice 50 kB at 200 kB/s: {took:.3f} s")
    assert 0.45 <= took < 2.0


def test_a_slow_link_is_felt_by_the_sender(echo: Echo, proxy: FaultProxy) -> None:
    """A sender that fills a slow link is stopped: what waits on the way is bounded."""
    echo.silent = True
    proxy.throttle(100_000)
    with _client(proxy) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        client.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 20_000_000:
                sent += client.send(b"x" * 10_000)
        waiting = sent - echo.got
    _say(f"{waiting / 1000:.0f} kB wait when the sender stops")
    assert waiting < 1_000_000


@pytest.mark.parametrize("ways", [{}, {"up": False}, {"down": False}])
def test_a_network_that_swallows_delivers_later(proxy: FaultProxy, ways: dict[str, bool]) -> None:
    """While it swallows, either way or both, nothing comes; when it heals, all of it does."""
    with _client(proxy) as client:
        _echoed(client)
        proxy.swallow(True, **ways)
        client.sendall(b"held")
        assert _silent(client, 0.2)
        proxy.swallow(False)
        assert _receive(client, 4) == b"held"
        _echoed(client)


def test_a_network_that_swallowed_may_reset(proxy: FaultProxy) -> None:
    """When it heals with a reset, nothing of what was held comes and the connection is broken."""
    with _client(proxy) as client:
        proxy.swallow(True)
        client.sendall(b"held")
        assert _silent(client, 0.1)
        proxy.swallow(False, reset=True)
        with pytest.raises(ConnectionResetError):
            client.recv(4)
    with _client(proxy) as client:
        _echoed(client)


def test_connections_that_begin_while_it_swallows_wait(proxy: FaultProxy) -> None:
    """A connection made during an outage works as soon as the outage is over."""
    proxy.swallow(True)
    with _client(proxy) as client:
        client.sendall(b"early")
        assert _silent(client, 0.1)
        proxy.swallow(False)
        assert _receive(client, 5) == b"early"


def test_a_silent_connection_is_forgotten(echo: Echo, proxy: FaultProxy) -> None:
    """After a silence what is sent is thrown away, nobody is told, and a new connection works."""
    proxy.forget(0.3)
    with _client(proxy) as client:
        for _ in range(5):  # together longer than 0.3 s
            _echoed(client)
            time.sleep(0.1)
        assert proxy.counts.forgotten == 0
        time.sleep(0.4)
        got = echo.got
        client.sendall(b"lost")
        assert _silent(client, 0.2)
        proxy.forget(None)
        client.sendall(b"lost")
        assert _silent(client, 0.2)
        assert (echo.got, proxy.counts.forgotten) == (got, 1)
        with _client(proxy) as other:
            _echoed(other)
    _until(lambda: echo.serving == 1, "only the forgotten connection is still open at the server")


def test_a_router_that_forgot_may_reset(proxy: FaultProxy) -> None:
    """After a silence what is sent may be answered by a reset, which comes at once."""
    proxy.forget(0.2, reset=True)
    with _client(proxy) as client:
        _echoed(client)
        assert _silent(client, 0.4)
        client.sendall(b"late")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_forgotten_server_may_speak_in_vain(echo: Echo, proxy: FaultProxy) -> None:
    """What a server sends after the silence does not arrive either, nor that it has gone."""
    proxy.forget(0.2)
    with _client(proxy) as client:
        _echoed(client)
        time.sleep(0.3)
        echo.hang_up()
        assert _silent(client, 0.2)
        client.sendall(b"anybody?")
        assert _silent(client, 0.2)


def test_a_far_server_is_reached_a_round_trip_later(echo: Echo) -> None:
    """With TCP's handshake delayed, too, the first echo takes two round trips, and the next takes one."""
    with FaultProxy(echo.address, far=True) as proxy:
        proxy.delay(60)
        began = time.perf_counter()
        with _client(proxy) as client:
            _echoed(client)
            first = time.perf_counter() - began
            second = _soonest(client)
    _say(f"60 ms each way: first echo {first * 1e3:.1f}, next {second * 1e3:.1f} ms")
    assert 0.24 <= first < 1.0
    assert 0.12 <= second < 0.24


def test_a_reset_breaks_both_ends_at_once(proxy: FaultProxy) -> None:
    """A reset is seen by a waiting client within milliseconds, and a new connection works."""
    with _client(proxy) as client:
        _echoed(client)
        began = time.perf_counter()
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        took = time.perf_counter() - began
    _say(f"reset seen after {took * 1e3:.1f} ms")
    assert took < 0.5
    with _client(proxy) as client:
        _echoed(client)


def test_hanging_up_is_an_orderly_end(proxy: FaultProxy) -> None:
    """After hanging up the client reads an end, no error."""
    with _client(proxy) as client:
        _echoed(client)
        proxy.hang_up()
        assert client.recv(1) == b""


def test_a_refusing_port_comes_back(proxy: FaultProxy) -> None:
    """While it refuses, open connections go on and new ones fail; later the same port takes them again."""
    with _client(proxy) as old:
        _echoed(old)
        address = proxy.address
        proxy.refuse(True)
        _echoed(old)
        with pytest.raises(ConnectionRefusedError):
            _client(proxy)
        proxy.refuse(False)
        assert proxy.address == address
        with _client(proxy) as new:
            _echoed(new)


def test_an_absent_server_is_a_reset(echo: Echo) -> None:
    """When nothing listens at the target, a client's connection is reset, and the proxy lives on."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        target = "{}:{}".format(*unused.getsockname())
    with FaultProxy(target) as proxy:
        for _ in range(2):
            # The reset may come before the client has done with connecting.
            with pytest.raises(ConnectionResetError), _client(proxy) as client:
                client.recv(1)


def test_an_end_of_one_side_reaches_the_other(echo: Echo, proxy: FaultProxy) -> None:
    """A client that has finished sending still gets what is on its way, then the end."""
    with _client(proxy) as client:
        proxy.delay(50)
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert _receive(client, 100) == b"last words"


def _flipped(address: str, seed: int, sizes: list[int]) -> list[int]:
    with FaultProxy(address, seed=seed) as proxy, _client(proxy) as client:
        proxy.flip(0.01, down=False)
        got = b""
        for size in sizes:
            client.sendall(bytes(size))
            got += _receive(client, size)
        hits = [at for at, byte in enumerate(got) if byte]
        assert all(got[at].bit_count() == 1 for at in hits)
        assert proxy.counts.flipped == len(hits)
    return hits


def test_bits_flip_by_seed(echo: Echo) -> None:
    """About the stated share of bytes has one bit flipped, the same ones for a seed however they are sent."""
    first, again = _flipped(echo.address, 1, [10_000]), _flipped(echo.address, 1, [100, 6000, 3900])
    assert first == again
    assert 50 <= len(first) <= 200
    assert first != _flipped(echo.address, 2, [10_000])


def test_a_schedule_is_carried_out_in_time(proxy: FaultProxy) -> None:
    """Each change of a schedule comes at its time, without anybody waiting for it."""
    slow = Change(NetFault.DELAY, 100.0)
    proxy.play(Schedule(((0.0, slow), (0.3, Change(NetFault.RESET)), (0.5, Change(NetFault.DELAY)))))
    began = time.perf_counter()
    with _client(proxy) as client:
        assert _echoed(client) >= 0.2
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        reset_s = time.perf_counter() - began
    _until(lambda: proxy.counts.faults[NetFault.DELAY] == 2, "the delay is lifted")
    ended_s = time.perf_counter() - began
    _say(f"reset at {reset_s:.3f} of 0.3 s, end at {ended_s:.3f} of 0.5 s")
    assert 0.25 <= reset_s < 2.0
    assert 0.45 <= ended_s < 3.0
    with _client(proxy) as client:
        assert _soonest(client) < 0.2


def test_a_drawn_schedule_leaves_the_proxy_well(proxy: FaultProxy) -> None:
    """After a drawn schedule new connections work, and every change was carried out."""
    schedule = Schedule.random(8, 1.5, every_s=0.2)
    proxy.play(schedule)
    _until(lambda: proxy.counts.faults.total() == len(schedule.changes), "the schedule is over")
    with _client(proxy) as client:
        assert _soonest(client) < 0.2


def test_changes_may_come_from_many_threads(proxy: FaultProxy) -> None:
    """Eight threads that change everything at once leave a proxy that works and has counted each change."""

    def change(number: int) -> None:
        for k in range(20):
            proxy.delay(k)
            proxy.refuse(bool((number + k) % 2))
            proxy.reset()

    threads = [threading.Thread(target=change, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    proxy.refuse(False)
    proxy.delay(0)
    assert proxy.counts.faults[NetFault.RESET] == 160
    with _client(proxy) as client:
        _echoed(client)


@pytest.mark.parametrize("error", [OSError("told to fail"), None])
def test_a_proxy_that_cannot_start_says_so(
    error: OSError | None, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy whose door does not open, or not in time, raises at its start and leaves no thread behind."""

    async def fail(relay: Relay) -> None:
        if error is not None:
            raise error
        await asyncio.Event().wait()

    monkeypatch.setattr(Relay, "open", fail)
    monkeypatch.setattr(segue.testing.proxy, "ANSWER_TIMEOUT_S", 0.2)
    threads = threading.active_count()
    with pytest.raises(type(error) if error else TimeoutError, match="told to fail" if error else None):
        FaultProxy(echo.address).start()
    _until(lambda: threading.active_count() <= threads, "its thread is gone")


def _sockets() -> int:
    links = [os.path.join("/proc/self/fd", each) for each in os.listdir("/proc/self/fd")]
    return sum(os.path.islink(each) and "socket" in os.readlink(each) for each in links)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_nothing_is_left_when_it_ends(echo: Echo) -> None:
    """After the end there is no thread and no socket of the proxy, whatever was under way."""
    threads = threading.active_count()
    sockets = _sockets()
    with FaultProxy(echo.address) as proxy:
        proxy.swallow(True, down=False)
        proxy.play(Schedule(((100.0, Change(NetFault.RESET)),)))
        clients = [_client(proxy) for _ in range(5)]
        for client in clients:
            client.sendall(b"x" * 1000)
        _until(lambda: proxy.counts.connections == 5, "all are in")
    for client in clients:
        client.close()
    _until(lambda: threading.active_count() <= threads, "threads are gone")
    _until(lambda: _sockets() <= sockets, "sockets are gone")
    proxy.close()
    with pytest.raises(RuntimeError, match="not running"):
        proxy.reset()


def test_an_idle_proxy_does_not_work(proxy: FaultProxy) -> None:
    """With a connection that swallows and nothing to do, half a second costs next to no processor time."""
    with _client(proxy) as client:
        _echoed(client)
        proxy.swallow(True)
        client.sendall(b"held")
        began = time.process_time()
        time.sleep(0.5)
        used = time.process_time() - began
    _say(f"{used * 1e3:.1f} ms of processor in 500 ms")
    assert used < 0.1
