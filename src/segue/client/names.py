"""From ``host:port`` to the addresses that gRPC dials: asked of this computer, anew for each dial.

gRPC's own resolver asks name servers only, and neither `.local` names, nor
`/etc/hosts` behind them, nor what else `getaddrinfo` knows; which resolver it
takes is settled when it is first imported, by whomever. So it is given numbers
(``ipv4:…``, ``ipv6:…``), and told what the server is called, for its
certificate and for whoever reads `:authority`. A look-up may take 20 s and
cannot be broken off: it has a thread of its own, is waited for only so long,
and what comes too late serves the next dial.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from segue.client.proxies import Proxy
from segue.clock import NS_PER_S
from segue.wire.hosts import split_address

# A name may have a hundred addresses; who is not among the first eight would be tried too late.
MOST_ENDPOINTS = 8

Endpoint = tuple[str, int]
LookUp = Callable[..., Sequence[tuple[Any, ...]]]


class NoRouteKind(StrEnum):
    """Why there are no addresses."""

    UNKNOWN = "unknown"  # this computer does not know the name: waiting seldom changes that
    TEMPORARY = "temporary"  # whoever knows it does not answer at present
    TIMEOUT = "timeout"  # no answer yet


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Nobody can be dialled this time.

    Attributes:
        kind: what a caller decides by.
        sentence: what a person is told: the name, what is wrong with it, the remedy.
    """

    kind: NoRouteKind
    sentence: str


@dataclass(frozen=True, slots=True)
class Route:
    """Where one dial goes.

    Attributes:
        endpoints: IP addresses and ports, an IPv6 address with its zone; at least one.
        server: what the server is called, ``host:port``, lower case, without zone and trailing dot.
        proxy: to whom the endpoints belong, if it is not the server.
        stale: the name cannot be looked up at present; these are the addresses of an earlier dial.
    """

    endpoints: tuple[Endpoint, ...]
    server: str
    proxy: Proxy | None = None
    stale: bool = False

    @property
    def target(self) -> str:
        """The endpoints as gRPC takes them; it tries one after the other, a quarter of a second apart."""
        if all(":" not in host for host, _ in self.endpoints):
            return "ipv4:" + ",".join(f"{host}:{port}" for host, port in self.endpoints)
        # A target is of one family: IPv4 has a place in IPv6. A zone's % is escaped, as in any URI.
        return "ipv6:" + ",".join(f"[{_as_ipv6(host)}]:{port}" for host, port in self.endpoints)

    @property
    def options(self) -> list[tuple[str, int | str]]:
        """What gRPC is to know beside the target, as options of the channel."""
        made: list[tuple[str, int | str]] = [("grpc.default_authority", self.server)]
        if self.proxy is not None:
            made.append(("grpc.http_connect_server", self.server))
            if self.proxy.authorization:
                headers = f"Proxy-Authorization:{self.proxy.authorization}"
                made.append(("grpc.http_connect_headers", headers))
        return made


class Router:
    """Finds the way to one server; may be called from any thread, by one at a time."""

    def __init__(self, address: str, proxy: Proxy | None = None, look_up: LookUp | None = None) -> None:
        """Looks nothing up yet.

        Args:
            address: of the server, ``host:port``.
            proxy: on the way there; then the server's name is the proxy's to look up.
            look_up: `socket.getaddrinfo`, or what stands for it.
        """
        host, port = split_address(address)
        self._server = _called(host, port)
        self._proxy = proxy
        self._via: Endpoint = (host, port) if proxy is None else (proxy.host, proxy.port)
        self._look_up = look_up
        self._pending: _LookUp | None = None
        self._known: tuple[Endpoint, ...] = ()

    def __repr__(self) -> str:
        return f"<Router {self._server} known={len(self._known)}>"

    def find(self, timeout_ns: int) -> Route | NoRoute:
        """Returns the way to the server, as it is now, or why there is none.

        A name that was known in an earlier call is never unknown: its old addresses are tried.

        Args:
            timeout_ns: after which the answer is that there is none yet.
        """
        literal = _numeric(*self._via)
        if literal is not None:
            return Route((literal,), self._server, self._proxy)
        pending = self._pending or _LookUp(self._via, self._look_up or socket.getaddrinfo)
        over = pending.wait(timeout_ns)
        found = pending.found if over else None
        # What was not waited for till the end goes on, and the next call has its answer.
        self._pending = None if over else pending
        if isinstance(found, tuple):
            self._known = found
            return Route(found, self._server, self._proxy)
        if self._known:
            return Route(self._known, self._server, self._proxy, stale=True)
        return found or NoRoute(NoRouteKind.TIMEOUT, _unanswered(self._via[0], timeout_ns))


class _LookUp:
    """One look-up, on a thread of its own, that ends when it ends."""

    def __init__(self, endpoint: Endpoint, look_up: LookUp) -> None:
        self.found: tuple[Endpoint, ...] | NoRoute | None = None
        self._over = threading.Event()
        self._endpoint = endpoint
        self._look_up = look_up
        # A daemon: a process that ends does not wait for a name server.
        threading.Thread(target=self._run, name="look-up", daemon=True).start()

    def wait(self, timeout_ns: int) -> bool:
        """Waits for the end, for `timeout_ns` at most; returns whether it came, and `found` is settled."""
        return self._over.wait(timeout_ns / NS_PER_S)

    def _run(self) -> None:
        host, port = self._endpoint
        try:
            self.found = self._ask(host, port)
        except socket.gaierror as error:
            self.found = _failed(host, error)
        except ValueError:  # UnicodeError, of a label that is empty or too long; a NUL
            self.found = NoRoute(NoRouteKind.UNKNOWN, _unknown(host))
        except OSError as error:
            self.found = NoRoute(NoRouteKind.TEMPORARY, _unhelped(host, str(error)))
        finally:
            self._over.set()

    def _ask(self, host: str, port: int) -> tuple[Endpoint, ...]:
        try:
            return _endpoints(self._look_up(host, port, type=socket.SOCK_STREAM))
        except socket.gaierror as error:
            # A dot at the end is for name servers; `/etc/hosts` has none.
            if error.errno not in _UNKNOWN or not host.endswith("."):
                raise
        return _endpoints(self._look_up(host.rstrip("."), port, type=socket.SOCK_STREAM))


# Not every system has all of them.
_UNKNOWN = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
)


def _endpoints(answers: Sequence[tuple[Any, ...]]) -> tuple[Endpoint, ...]:
    """Returns the addresses in what `getaddrinfo` answered, in its order, each once.

    Raises:
        gaierror: there are none.
    """
    found: dict[Endpoint, None] = {}
    for family, _, _, _, place in answers:
        zone = place[3] if family is socket.AF_INET6 else 0
        if family in (socket.AF_INET, socket.AF_INET6):
            found[(f"{place[0].partition('%')[0]}%{zone}" if zone else place[0], place[1])] = None
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return tuple(found)[:MOST_ENDPOINTS]


def _numeric(host: str, port: int) -> Endpoint | None:
    """Returns the endpoint when `host` is an IP address already, which nobody need look up."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    zone = getattr(address, "scope_id", None)
    return None if zone else (str(address), port)  # a zone is an interface, whose number is looked up


def _as_ipv6(host: str) -> str:
    return host.replace("%", "%25") if ":" in host else f"::ffff:{host}"


def _called(host: str, port: int) -> str:
    """Returns ``host:port`` as the server knows itself."""
    plain = host.partition("%")[0].rstrip(".").lower()
    with contextlib.suppress(ValueError):  # a name
        plain = str(ipaddress.ip_address(plain))
    return f"[{plain}]:{port}" if ":" in plain else f"{plain}:{port}"


def _failed(host: str, error: socket.gaierror) -> NoRoute:
    if error.errno in _UNKNOWN:
        return NoRoute(NoRouteKind.UNKNOWN, _unknown(host))
    return NoRoute(NoRouteKind.TEMPORARY, _unhelped(host, str(error.strerror)))


def _unknown(host: str) -> str:
    says = f"this computer does not know {host}"
    if "%" in host:
        zone = host.partition("%")[2]
        return f"{says}: see that `ip link` lists {zone}, and that the address is a link-local one (fe80::…)"
    if host.lower().rstrip(".").endswith(".local"):
        return (
            f"{says}: see that the name is spelt right, that the other computer is on and in this network, "
            "and that mDNS is installed here (avahi-daemon, libnss-mdns), or give its IP address"
        )
    return f"{says}: see that the name is spelt right, add it to /etc/hosts, or give the server's IP address"


def _unhelped(host: str, why: str) -> str:
    return f"{host} cannot be looked up at present ({why}): see that this computer is in the network"


def _unanswered(host: str, timeout_ns: int) -> str:
    return f"no name server has said within {timeout_ns / NS_PER_S:.1f} s where {host} is"
