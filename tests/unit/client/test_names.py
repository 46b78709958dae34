"""From a name to what gRPC dials: what this computer knows, in bounded time, and what is said of the rest."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from segue.client.names import MOST_ENDPOINTS, NoRoute, NoRouteKind, Route, Router
from segue.client.proxies import Proxy
from segue.clock import NS_PER_MS, NS_PER_S

STREAM = (socket.SOCK_STREAM, 6, "")


def v4(host: str, port: int) -> tuple[Any, ...]:
    """Returns an answer as `getaddrinfo` gives it."""
    return (socket.AF_INET, *STREAM, (host, port))


def v6(host: str, port: int, zone: int = 0) -> tuple[Any, ...]:
    """Returns an answer as `getaddrinfo` gives it."""
    return (socket.AF_INET6, *STREAM, (host, port, 0, zone))


class Resolver:
    """Stands for `getaddrinfo`: answers from a list, the last for ever, and counts what it was asked."""

    def __init__(self, *answers: Sequence[tuple[Any, ...]] | Exception) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._answers = list(answers)

    def __call__(self, host: str, port: int, **wishes: object) -> Sequence[tuple[Any, ...]]:
        self.asked.append(host)
        self.may_answer.wait(10.0)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def unknown(number: int = socket.EAI_NONAME) -> socket.gaierror:
    return socket.gaierror(number, "Name or service not known")


def found(router: Router, timeout_ns: int = 5 * NS_PER_S) -> Route:
    """Returns the route that there must be."""
    route = router.find(timeout_ns)
    assert isinstance(route, Route), route
    return route


def missed(router: Router, timeout_ns: int = 5 * NS_PER_S) -> NoRoute:
    """Returns why there is no route."""
    route = router.find(timeout_ns)
    assert isinstance(route, NoRoute), route
    return route


@pytest.mark.parametrize(
    ("address", "target", "called"),
    [
        ("127.0.0.1:8080", "ipv4:127.0.0.1:8080", "127.0.0.1:8080"),
        ("[::1]:8080", "ipv6:[::1]:8080", "[::1]:8080"),
        ("[2001:DB8:0:0::1]:1", "ipv6:[2001:db8::1]:1", "[2001:db8::1]:1"),
    ],
)
def test_an_ip_address_is_not_looked_up(address: str, target: str, called: str) -> None:
    """Numbers are dialled as they are, and nobody is asked."""
    resolver = Resolver(unknown())
    route = found(Router(address, look_up=resolver))
    assert (route.target, route.server, resolver.asked) == (target, called, [])


@pytest.mark.parametrize(
    ("answers", "target"),
    [
        ([v4("10.0.0.7", 80)], "ipv4:10.0.0.7:80"),
        ([v4("10.0.0.7", 80), v4("10.0.0.8", 80)], "ipv4:10.0.0.7:80,10.0.0.8:80"),
        ([v4("10.0.0.7", 80), v4("10.0.0.7", 80)], "ipv4:10.0.0.7:80"),
        ([v6("::1", 80), v4("127.0.0.1", 80)], "ipv6:[::1]:80,[::ffff:127.0.0.1]:80"),
        ([v4("127.0.0.1", 80), v6("::1", 80)], "ipv6:[::ffff:127.0.0.1]:80,[::1]:80"),
        ([v6("fe80::1", 80, 3)], "ipv6:[fe80::1%253]:80"),
        ([v6("fe80::1%eth0", 80, 3)], "ipv6:[fe80::1%253]:80"),
        ([(socket.AF_UNIX, *STREAM, "/x"), v4("10.0.0.7", 80)], "ipv4:10.0.0.7:80"),
    ],
)
def test_every_address_of_a_name_is_dialled_in_its_order(answers: list[tuple[Any, ...]], target: str) -> None:
    """Several addresses, of both families and with zones, make one target, each once."""
    assert found(Router("gpu-box.local:80", look_up=Resolver(answers))).target == target


def test_a_name_with_a_hundred_addresses_is_cut_short() -> None:
    """Only the first eight are dialled: a dial has no time for more."""
    many = [v4(f"10.0.0.{k}", 80) for k in range(100)]
    assert len(found(Router("many:80", look_up=Resolver(many))).endpoints) == MOST_ENDPOINTS == 8


@pytest.mark.parametrize(
    ("address", "asked", "called"),
    [
        ("GPU-Box.Local:8080", "GPU-Box.Local", "gpu-box.local:8080"),
        ("gpu-box.:8080", "gpu-box.", "gpu-box:8080"),
        ("[fe80::1%lo]:8080", "fe80::1%lo", "[fe80::1]:8080"),
    ],
)
def test_a_server_is_called_as_its_certificate_has_it(address: str, asked: str, called: str) -> None:
    """What is looked up is what was written; the server's name is lower case, without dot and zone."""
    resolver = Resolver([v4("10.0.0.7", 8080)])
    route = found(Router(address, look_up=resolver))
    assert (resolver.asked, route.server) == ([asked], called)
    assert route.options == [("grpc.default_authority", called)]


def test_each_dial_asks_anew() -> None:
    """A server that moved to another address is found there at the next dial."""
    router = Router("gpu-box:1", look_up=Resolver([v4("10.0.0.1", 1)], [v4("10.0.0.2", 1)]))
    assert [found(router).target for _ in range(2)] == ["ipv4:10.0.0.1:1", "ipv4:10.0.0.2:1"]


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY])
def test_an_unknown_name_is_said_at_once(number: int) -> None:
    """A name that this computer does not know is told in one sentence with the remedy."""
    why = missed(Router("gpu-bok:8080", look_up=Resolver(unknown(number))))
    assert why.kind is NoRouteKind.UNKNOWN
    assert why.sentence.startswith("this computer does not know gpu-bok: ")
    assert "/etc/hosts" in why.sentence


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "x" * 300])
def test_a_name_that_cannot_be_one_is_unknown(host: str) -> None:
    """Empty and overlong labels are unknown names, by the real resolver, and no bug."""
    why = missed(Router(f"{host}:1"))
    assert why.kind is NoRouteKind.UNKNOWN
    assert host in why.sentence


def test_no_address_at_all_is_unknown() -> None:
    """An empty answer, or one of families that cannot be dialled, is an unknown name."""
    assert missed(Router("a:1", look_up=Resolver([]))).kind is NoRouteKind.UNKNOWN
    only = [(socket.AF_UNIX, *STREAM, "/x")]
    assert missed(Router("a:1", look_up=Resolver(only))).kind is NoRouteKind.UNKNOWN


def test_a_local_name_has_a_remedy_of_its_own() -> None:
    """For a name of mDNS the remedy is mDNS, and for a zone it is the interface."""
    assert "libnss-mdns" in missed(Router("arm.local.:1", look_up=Resolver(unknown()))).sentence
    assert (
        "`ip link` lists wlan9" in missed(Router("[fe80::1%wlan9]:1", look_up=Resolver(unknown()))).sentence
    )


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure in name resolution"),
        OSError(24, "Too many open files"),
    ],
)
def test_a_name_server_that_is_away_is_a_failure_that_passes(error: OSError) -> None:
    """A failure of DNS is told apart from an unknown name."""
    why = missed(Router("gpu-box:8080", look_up=Resolver(error)))
    assert why.kind is NoRouteKind.TEMPORARY
    assert why.sentence.startswith("gpu-box cannot be looked up at present (")


def test_a_dot_at_the_end_does_not_hide_a_name_of_this_computer() -> None:
    """A name with a dot that name servers do not know is looked up without it, too."""
    resolver = Resolver(unknown(), [v4("127.0.0.1", 1)])
    assert found(Router("localhost.:1", look_up=resolver)).target == "ipv4:127.0.0.1:1"
    assert resolver.asked == ["localhost.", "localhost"]
    away = Resolver(socket.gaierror(socket.EAI_AGAIN, "later"))
    assert missed(Router("box.:1", look_up=away)).kind is NoRouteKind.TEMPORARY
    assert away.asked == ["box."]


def test_a_slow_name_server_holds_nobody_up_and_answers_the_next_dial() -> None:
    """A look-up is waited for only so long; it goes on alone, and its answer is the next dial's."""
    resolver = Resolver([v4("10.0.0.7", 1)])
    resolver.may_answer.clear()
    router = Router("gpu-box:1", look_up=resolver)
    began = time.monotonic()
    for _ in range(3):
        why = missed(router, 50 * NS_PER_MS)
        assert why.kind is NoRouteKind.TIMEOUT
    assert time.monotonic() - began < 5 * 0.15
    assert "within 0.1 s where gpu-box is" in why.sentence
    assert resolver.asked == ["gpu-box"]  # and not three that wait beside each other
    resolver.may_answer.set()
    assert found(router).target == "ipv4:10.0.0.7:1"
    assert resolver.asked == ["gpu-box"]


@pytest.mark.parametrize("error", [unknown(), socket.gaierror(socket.EAI_AGAIN, "later")])
def test_a_name_that_was_known_is_dialled_where_it_was(error: socket.gaierror) -> None:
    """When DNS fails in mid-run the last addresses are tried, and said to be old."""
    router = Router("gpu-box.local:1", look_up=Resolver([v4("10.0.0.7", 1)], error))
    assert not found(router).stale
    again = found(router)
    assert (again.target, again.stale) == ("ipv4:10.0.0.7:1", True)


def test_a_name_that_was_known_is_not_waited_for_longer() -> None:
    """When DNS is silent in mid-run the last addresses are tried after the same time."""
    resolver = Resolver([v4("10.0.0.7", 1)])
    router = Router("gpu-box:1", look_up=resolver)
    found(router)
    resolver.may_answer.clear()
    assert found(router, 50 * NS_PER_MS).stale
    resolver.may_answer.set()
    assert not found(router).stale


def test_behind_a_proxy_the_proxy_is_looked_up() -> None:
    """A proxy's own address is dialled, and it is told the server's name, which nobody here looks up."""
    resolver = Resolver([v4("10.0.0.99", 3128)])
    proxy = Proxy("cache", 3128, "http_proxy", "me:secret")
    route = found(Router("GPU-Box:8080", proxy, resolver))
    assert (route.target, resolver.asked) == ("ipv4:10.0.0.99:3128", ["cache"])
    assert dict(route.options) == {
        "grpc.default_authority": "gpu-box:8080",
        "grpc.http_connect_server": "gpu-box:8080",
        "grpc.http_connect_headers": "Proxy-Authorization:Basic bWU6c2VjcmV0",
    }
    assert "secret" not in repr(route)
    bare = found(Router("gpu-box:8080", Proxy("10.0.0.99", 3128, "http_proxy"), resolver))
    assert "grpc.http_connect_headers" not in dict(bare.options)


def test_this_computers_own_resolver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless told otherwise `socket.getaddrinfo` is asked, which knows hosts, mDNS and whatever is set up."""
    monkeypatch.setattr(socket, "getaddrinfo", Resolver([v4("10.9.8.7", 1)]))
    assert found(Router("gpu-box.local:1")).target == "ipv4:10.9.8.7:1"


def test_threads_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred dials with a name server that says nothing leave one thread that waits."""
    resolver: Callable[..., Any] = Resolver([v4("10.0.0.7", 1)])
    resolver.may_answer.clear()  # type: ignore[attr-defined]
    before = threading.active_count()
    router = Router("gpu-box:1", look_up=resolver)
    for _ in range(100):
        assert missed(router, NS_PER_MS).kind is NoRouteKind.TIMEOUT
    assert threading.active_count() <= before + 1
    resolver.may_answer.set()  # type: ignore[attr-defined]
