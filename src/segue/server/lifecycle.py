"""A policy server from bind to drain.

The port is bound first and health says NOT_SERVING, so that clients find a
server that is loading rather than none; it says SERVING when the policy is
loaded and warm. Told to stop, health says so first, new requests are answered
UNAVAILABLE, what is in flight may finish, and only then the port closes.
"""

from __future__ import annotations

import logging
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from typing import Any

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection, reflection_pb2

from segue.clock import NS_PER_S, AwakeClock, Clock
from segue.errors import ConfigError, Overloaded
from segue.policies.base import Policy
from segue.server.arrivals import Arrivals
from segue.server.auth import TokenCheck, TokenInterceptor
from segue.server.batcher import Batcher
from segue.server.health import Health
from segue.server.rate import Rate
from segue.server.service import SERVICE_NAME, PolicyService
from segue.server.session import SessionLimits, Sessions
from segue.server.settings import ServerConfig, bind_address, check_bind
from segue.server.store import PolicyStore
from segue.server.traffic import MAX_CALLS_PER_ROBOT, Phase, Traffic
from segue.server.watchdog import HangJudge, HangLimits, Watchdog, end_process, last_resort
from segue.server.worker import PolicyWorker
from segue.signals import heeded
from segue.wire import policy_pb2  # noqa: F401  (registers the service for reflection)
from segue.wire.channel import server_options

_log = logging.getLogger("segue.server")

# Threads for handshakes, health and refusals, beyond those that wait for the policy.
_SPARE_THREADS = 8
# One host may open this many times the sessions that there are, at once: all robots may come back
# from one address at the same moment. Afterwards as many as there are in so many seconds.
_OPENS_AT_ONCE = 4
_REFILL_S = 4.0
# Replies already handed to gRPC get this long to leave.
_FLUSH_S = 0.5
# The kernel may hand a signal to any thread, and Python obeys it on the main one: which therefore
# never waits without an end.
_LOOK_S = 0.2
# What did not finish within the grace is ended at once, so that the process ends within a second of it.
_CUT_OFF_S = 0.1


class PolicyServer:
    """A server with one policy store, in this process."""

    def __init__(
        self,
        config: ServerConfig,
        policy: Policy | PolicyStore,
        clock: Clock | None = None,
        on_hang: Callable[[str], None] = end_process,
    ) -> None:
        """Prepares a server; nothing is bound or loaded yet.

        Args:
            config: where to listen, and the limits.
            policy: one that is already there, or a store that loads it on `start`.
            clock: of this host.
            on_hang: what to do, with the reason, about a policy that never comes back, once all
                that wait were refused; ends the process with 70 unless told otherwise.

        Raises:
            ConfigError: the address is not loopback and `insecure` is not set.
        """
        check_bind(config)
        self._config = config
        self._store = policy if isinstance(policy, PolicyStore) else PolicyStore.of(policy)
        opens = Rate(config.max_robots / _REFILL_S, _OPENS_AT_ONCE * config.max_robots)
        self._traffic = Traffic(opens)
        # Nothing here ages: while this computer sleeps nobody asks, waits, or hangs.
        clock = clock or AwakeClock()
        self._worker = PolicyWorker(self._store, Batcher(config.max_batch), clock)
        self._watchdog = self._make_watchdog(clock, on_hang)
        self._health = Health()
        self._arrivals = Arrivals(clock, per_connection=max(_SPARE_THREADS, _threads(config) // 4))
        self._grpc = self._make_grpc(clock)
        self._ready: Future[None] = Future()
        self._stopped = threading.Event()

    @property
    def warning(self) -> str | None:
        """What a person should know of the address; None when there is nothing."""
        return check_bind(self._config)

    def start(self, on_ready: Callable[[str], None] | None = None) -> str:
        """Binds, loads, warms up, and returns when the server is serving.

        Args:
            on_ready: called with the address just before the return.

        Returns:
            The address, ``host:port``, with the port that was really bound.

        Raises:
            ConfigError: the port cannot be bound, or the policy cannot be loaded.
            Overloaded: `stop` was called meanwhile.
        """
        address = self._bind()
        for warning in filter(None, (self.warning, *self._config.security.warnings)):
            _log.warning("%s", warning)
        self._grpc.start()
        self._arrivals.start()
        self._worker.start(self._store.load, self._ready)
        while not self._ready.done():
            wait((self._ready,), _LOOK_S)
        try:
            self._ready.result()
        except CancelledError:
            raise Overloaded("the server was stopped before its policy was loaded") from None
        except BaseException:
            self.stop(0.0)
            raise
        self._traffic.enter(Phase.SERVING)
        self._health.serve()
        self._watchdog.start()
        if on_ready is not None:
            on_ready(address)
        return address

    def wait(self) -> None:
        """Returns when the server was stopped."""
        while not self._stopped.wait(_LOOK_S):
            continue

    def stop(self, grace_s: float | None = None) -> None:
        """Drains and closes the server; may be called more than once, from any thread.

        Args:
            grace_s: how long what is in flight may take; the configuration's `drain_s` by default.
        """
        grace_s = self._config.drain_s if grace_s is None else grace_s
        self._health.leave()
        self._traffic.enter(Phase.DRAINING)
        self._ready.cancel()
        idle = self._traffic.wait_idle(grace_s)
        if not idle:
            _log.warning("requests were still in flight after %.1f s", grace_s)
        self._close(_FLUSH_S if idle else _CUT_OFF_S)
        self._stopped.set()

    def use_last_resort(self) -> None:
        """Has a policy that hangs with Python's lock in its hand end this process, too; see `watchdog`.

        For a server that has a process of its own.
        """
        if sys.stderr is None:  # closed by whoever started us; the timer would have nowhere to print to
            return
        limits = HangLimits(warm_s=self._config.watchdog_s)
        self._worker.guard = lambda call: last_resort(call, limits)

    def _close(self, flush_s: float) -> None:
        self._watchdog.stop()
        self._arrivals.stop()
        self._worker.stop(flush_s)
        self._grpc.stop(flush_s).wait()

    def _make_watchdog(self, clock: Clock, on_hang: Callable[[str], None]) -> Watchdog:
        judge = HangJudge(HangLimits(warm_s=self._config.watchdog_s))

        def give_up(sentence: str) -> None:
            _log.error("the policy hangs: %s; the server ends", sentence)
            self._health.leave()
            self._traffic.enter(Phase.DRAINING)
            self._worker.abandon()
            self._traffic.wait_idle(_FLUSH_S)
            self._close(_CUT_OFF_S)
            # Before anybody who waits for the stop: the process must end with the code of a hang.
            on_hang(sentence)
            self._stopped.set()

        return Watchdog(lambda: self._worker.under_way, judge, clock, give_up)

    def _bind(self) -> str:
        wanted = bind_address(self._config)
        try:
            port = self._add_port(wanted)
        except RuntimeError:
            port = 0
        if port == 0:
            raise ConfigError(f"host, port: {wanted} cannot be bound; allowed is a free port of this host")
        return f"{wanted.rpartition(':')[0]}:{port}"

    def _add_port(self, address: str) -> int:
        security = self._config.security
        if security.identity is None:
            return self._grpc.add_insecure_port(address)
        credentials = grpc.ssl_server_credentials(
            [(security.identity.key, security.identity.certificate)],
            root_certificates=security.client_ca,
            require_client_auth=security.client_ca is not None,
        )
        return self._grpc.add_secure_port(address, credentials)

    def _make_grpc(self, clock: Clock) -> grpc.Server:
        config = self._config
        facts = {
            "max_batch": str(config.max_batch),
            "inference_latency_s": f"{config.inference_latency_s:g}",
        }
        rate = Rate(config.requests_per_s, max(1, round(config.requests_per_s / 4)))
        sessions = Sessions(
            SessionLimits(config.max_robots, requests=rate), lambda: secrets.token_hex(16), facts
        )
        latency_ns = round(config.inference_latency_s * NS_PER_S)
        service = PolicyService(
            self._store,
            sessions,
            self._worker,
            self._traffic,
            clock,
            latency_ns=latency_ns,
        )
        tokens = config.security.tokens
        calls = _threads(config)
        server = grpc.server(
            ThreadPoolExecutor(calls, thread_name_prefix="segue-call"),
            interceptors=[TokenInterceptor(TokenCheck(tokens))] if tokens else [],
            options=server_options(max_connections=2 * calls),
            # More would only wait for a thread: it is better to say so at once.
            maximum_concurrent_rpcs=calls,
        )
        server.add_generic_rpc_handlers((service.handler(self._arrivals),))
        server.add_generic_rpc_handlers((self._health.handler(),))
        server.add_generic_rpc_handlers((_reflection(self._arrivals),))
        return server


def _reflection(arrivals: Arrivals) -> grpc.GenericRpcHandler[Any, Any]:
    """Returns what tells tools which services there are; its streams wait no longer than calls do."""
    names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
    servicer: Any = reflection.ReflectionServicer(names)  # its stubs know of no answer

    def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        answers: Iterator[Any] = servicer.ServerReflectionInfo(arrivals.messages(requests, context), context)
        return answers

    method = grpc.stream_stream_rpc_method_handler(
        answer,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(reflection.SERVICE_NAME, {"ServerReflectionInfo": method})


def _threads(config: ServerConfig) -> int:
    """Returns how many calls may be in flight, each on a thread of its own."""
    return config.max_robots * MAX_CALLS_PER_ROBOT + _SPARE_THREADS


def run_until_signalled(server: PolicyServer, on_ready: Callable[[str], None] | None = None) -> int:
    """Runs `server` until HUP, INT or TERM, drains it, and returns the signal's number.

    Must be called on the main thread, where Python delivers signals.

    Args:
        server: not yet started.
        on_ready: called with the address once the policy is warm.

    Raises:
        ConfigError: the port cannot be bound, or the policy cannot be loaded.
    """
    received: list[int] = []

    def drain(number: int, frame: object) -> None:
        received.append(number)
        # Not here: a handler may interrupt a lock's holder, which `stop` would then wait for.
        threading.Thread(target=server.stop, name="segue-drain").start()

    server.use_last_resort()
    before = {number: signal.signal(number, drain) for number in heeded()}
    try:
        server.start(on_ready)
        server.wait()
    except Overloaded:
        server.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return received[0] if received else 0
