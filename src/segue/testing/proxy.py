"""A bad network between real processes: a TCP proxy on loopback that can be told to misbehave.

    with FaultProxy(server_address, seed=1) as proxy:
        client.connect(proxy.address)
        proxy.delay(100, jitter_ms=20)        # each way
        proxy.swallow(True, down=False)       # only towards the server
        proxy.swallow(False, reset=True)      # healed, but the connections did not survive
        proxy.forget(30)                      # a router that forgets silent connections
        proxy.play(Schedule.random(seed=7, duration_s=600))

Every call may come from any thread and is in effect when it returns. The
proxy's own thread sleeps unless something is to be done, and with the `with`
all of it is gone: thread, sockets, schedules. What is not simulated is loss as
such, since TCP repairs it: its effects, delay and resets, are.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from segue.testing.netfaults import Change, NetFault, Schedule
from segue.testing.relay import LOOPBACK, Counts, Relay

__all__ = ["Change", "Counts", "FaultProxy", "NetFault", "Schedule"]

ANSWER_TIMEOUT_S = 10.0

T = TypeVar("T")


class FaultProxy:
    """Passes TCP connections on to one address, and does to them what it is told."""

    def __init__(self, target: str, seed: int = 0, far: bool = False) -> None:
        """Makes a proxy that is not started.

        Args:
            target: ``host:port`` of the server.
            seed: of jitter and flipped bits; the same bytes in the same order are flipped alike.
            far: a delay acts on TCP's handshake, too, as on a long way: whoever connects is heard by
                the server one round trip and one way later, instead of one way.
        """
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._seed, self._far = seed, far
        self._reserved: socket.socket | None = None
        self._relay: Relay | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._address = ""

    def __repr__(self) -> str:
        return f"<FaultProxy {self._address or 'not started'} to {self._target} {self._relay!r}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        """``host:port`` for clients, the same until the proxy is closed."""
        return self._address

    @property
    def counts(self) -> Counts:
        """What it has done so far."""

        async def look(relay: Relay) -> Counts:
            return relay.snapshot()

        return self._do(look(self._started()))

    def start(self) -> None:
        """Takes a free port of the loopback and begins to pass connections on.

        Raises:
            OSError: it cannot listen there.
            TimeoutError: it did not begin in time.
        """
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # Bound for as long as the proxy lives: nobody else gets the port while it refuses.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((LOOPBACK, 0))
        self._reserved = reserved
        self._address = "{}:{}".format(*reserved.getsockname())
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(reserved, ready)), name="fault-proxy", daemon=True
        )
        self._thread.start()
        try:
            ready.result(ANSWER_TIMEOUT_S)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends every connection and the thread; a second call does nothing."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(ANSWER_TIMEOUT_S)
        if self._reserved is not None:
            self._reserved.close()
        self._loop = self._stop = self._thread = self._reserved = self._relay = None

    def delay(self, delay_ms: float, jitter_ms: float = 0.0, up: bool = True, down: bool = True) -> None:
        """Delivers what comes from now on later: by `delay_ms` and an exponential of mean `jitter_ms`."""
        self.apply(Change(NetFault.DELAY, delay_ms, jitter_ms, up, down))

    def throttle(self, bytes_per_s: float | None, up: bool = True, down: bool = True) -> None:
        """Lets all connections together carry that much each way; None lifts the limit."""
        self.apply(Change(NetFault.THROTTLE, bytes_per_s or 0.0, up=up, down=down))

    def swallow(self, on: bool, up: bool = True, down: bool = True, reset: bool = False) -> None:
        """Delivers nothing from now on, or again; then what was held comes through, unless `reset`."""
        self.apply(Change(NetFault.SWALLOW, float(on), up=up, down=down, reset=reset and not on))

    def forget(self, after_s: float | None, reset: bool = False) -> None:
        """Forgets connections that are silent for that long, for good; None forgets none from now on.

        What is sent on one afterwards is thrown away, or answered by a `reset`. New connections work.
        """
        self.apply(Change(NetFault.FORGET, after_s or 0.0, reset=reset))

    def flip(self, share: float, up: bool = True, down: bool = True) -> None:
        """Flips a bit in that share of the bytes that come from now on, 0..1."""
        self.apply(Change(NetFault.FLIP, share, up=up, down=down))

    def refuse(self, on: bool) -> None:
        """Refuses new connections, or takes them again on the same port; those that are open stay."""
        self.apply(Change(NetFault.REFUSE, float(on)))

    def reset(self) -> None:
        """Resets every connection, on both sides."""
        self.apply(Change(NetFault.RESET))

    def hang_up(self) -> None:
        """Closes every connection in order, on both sides."""
        self.apply(Change(NetFault.CLOSE))

    def apply(self, change: Change) -> None:
        """Carries out `change`; it is in effect when this returns."""
        self._do(self._started().change(change))

    def play(self, schedule: Schedule) -> None:
        """Carries out `schedule` from now on, and returns at once."""
        self._do(self._started().play(schedule))

    def _started(self) -> Relay:
        if self._relay is None:
            raise RuntimeError("the proxy is not running")
        return self._relay

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` on the proxy's loop and returns what it returns."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_TIMEOUT_S)

    async def _run(self, reserved: socket.socket, ready: Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        relay = self._relay = Relay(self._target, self._seed, reserved, self._far)
        stop = self._stop
        try:
            opening = asyncio.ensure_future(_reported(relay.open(), ready))
            await stop.wait()
            opening.cancel()
        finally:
            await relay.close()


async def _reported(work: Coroutine[Any, Any, None], result: Future[None]) -> None:
    """Runs `work` and puts into `result` how it ended."""
    try:
        await work
    except OSError as error:
        result.set_exception(error)
    else:
        result.set_result(None)
