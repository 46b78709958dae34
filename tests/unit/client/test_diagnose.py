"""A second look at a refused connection: certain reasons, and none where waiting may help."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from segue.client.diagnose import certain_refusal
from segue.client.proxies import proxy_use
from segue.client.security import LinkFiles
from segue.clock import NS_PER_S
from segue.server.lifecycle import PolicyServer
from segue.server.security import SecurityFiles
from segue.server.settings import ServerConfig
from segue.tools.keys import KeyFolder
from tests.http_proxy import HttpProxy
from tests.key_sets import expired_set, future_set, key_set, mutual_tls, robot, tls
from tests.unit.server.toy_policy import ToyPolicy

Start = Callable[[SecurityFiles], str]
TIMEOUT_NS = 2 * NS_PER_S


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts policy servers with the given files, and stops them all."""
    servers: list[PolicyServer] = []

    def started(files: SecurityFiles) -> str:
        servers.append(PolicyServer(ServerConfig(port=0, security=files.read()), ToyPolicy()))
        return servers[-1].start()

    yield started
    for server in servers:
        server.stop(0.0)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    """The set that both ends share."""
    return key_set(tmp_path / "keys")


def look(address: str, files: LinkFiles, name: str = "") -> str | None:
    why = certain_refusal(address, files.read(name), TIMEOUT_NS)
    assert why is None or why.startswith(f"{address}: it")
    return why


def test_nothing_is_wrong_with_a_server_that_would_answer(start: Start, keys: KeyFolder) -> None:
    """Whoever fits is never told that it does not, whatever failed before."""
    assert look(start(SecurityFiles()), LinkFiles()) is None
    assert look(start(tls(keys)), robot(keys)) is None
    assert look(start(mutual_tls(keys)), robot(keys, keys)) is None


def test_plain_text_and_tls_are_told_apart(start: Start, keys: KeyFolder) -> None:
    """The sentence says which side speaks what, and the flags that change it."""
    plain = look(start(SecurityFiles()), robot(keys))
    assert plain is not None
    assert "it speaks plain text, and tls.ca_file asks for TLS" in plain
    for files in (tls(keys), mutual_tls(keys)):
        encrypted = look(start(files), LinkFiles())
        assert encrypted is not None
        assert "it speaks TLS, and this robot plain text; add --tls.ca_file" in encrypted


def test_a_certificate_of_another_authority_is_none(start: Start, keys: KeyFolder, tmp_path: Path) -> None:
    """A server that another authority vouches for is a stranger."""
    why = certain_refusal(start(tls(keys)), robot(key_set(tmp_path / "other")).read(), TIMEOUT_NS)
    assert why is not None
    assert "the CA in tls.ca_file did not sign its certificate" in why


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (expired_set, "has expired; give the server a new one"),
        (future_set, "not valid yet; set this machine's date"),
    ],
)
def test_a_certificate_out_of_its_time_is_none(
    start: Start, tmp_path: Path, make: Callable[[Path], KeyFolder], says: str
) -> None:
    """Expired or not valid yet, the sentence says which, and what to change."""
    keys = make(tmp_path / "keys")
    why = look(start(tls(keys)), robot(keys))
    assert why is not None
    assert says in why


def test_another_name_is_said_and_can_be_overruled(start: Start, tmp_path: Path) -> None:
    """A certificate for another host is refused by the name that was looked for."""
    keys = key_set(tmp_path / "keys", "gpu-box")
    address = start(tls(keys))
    why = look(address, robot(keys))
    assert why is not None
    assert "its certificate is not for 127.0.0.1; make one by `segue keys --host=127.0.0.1`" in why
    assert look(address, robot(keys), "gpu-box") is None
    other = look(address, robot(keys), "cpu-box")
    assert other is not None
    assert "not for cpu-box" in other


def test_a_missing_and_an_unknown_certificate_are_told_apart(
    start: Start, keys: KeyFolder, tmp_path: Path
) -> None:
    """Under mutual TLS the sentence asks for a certificate, or for another one."""
    address = start(mutual_tls(keys))
    missing, unknown = look(address, robot(keys)), look(address, robot(keys, key_set(tmp_path / "other")))
    assert missing is not None
    assert "it asks for a certificate of this robot; add --tls.cert_file and --tls.key_file" in missing
    assert unknown is not None
    assert "it does not accept the certificate in tls.cert_file" in unknown


def test_a_server_that_says_what_it_does_not_like_is_understood(keys: KeyFolder) -> None:
    """An alert about our certificate, from a server that sends one, means the same as gRPC's silence."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.server_cert, keys.server_key)
    context.load_verify_locations(keys.ca)
    context.verify_mode = ssl.CERT_REQUIRED

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    with listening(answer) as address:
        why = look(address, robot(keys))
    assert why is not None
    assert "it asks for a certificate" in why


def test_a_server_that_hangs_up_once_is_waited_for(keys: KeyFolder) -> None:
    """One handshake that ends without a word may be a server that was killed: no reason is certain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.server_cert, keys.server_key)
    answered: list[None] = []

    def answer(connection: socket.socket) -> None:
        answered.append(None)
        if len(answered) == 1:
            context.wrap_socket(connection, server_side=True).close()

    with listening(answer) as address:
        assert look(address, robot(keys)) is None
    assert len(answered) == 2


@pytest.mark.parametrize("secure", [False, True])
def test_a_server_that_is_away_is_waited_for(keys: KeyFolder, secure: bool) -> None:
    """Nobody listening, and a peer that hangs up at once, are no reason to give up."""
    files = robot(keys) if secure else LinkFiles()
    assert look("127.0.0.1:1", files) is None
    with listening(socket.socket.close) as address:
        assert look(address, files) is None


@pytest.mark.parametrize("secure", [False, True])
def test_a_silent_server_is_left_in_time(keys: KeyFolder, secure: bool) -> None:
    """A server that accepts and says nothing costs the timeout and is waited for."""
    security = (robot(keys) if secure else LinkFiles()).read()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert certain_refusal(address, security, NS_PER_S // 5) is None
        assert 0.15 < time.monotonic() - began < 0.2 * 5


def test_a_name_server_that_is_silent_costs_no_more_than_the_timeout(
    keys: KeyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that cannot be looked up in time is no reason, and the look ends in time."""
    release = threading.Event()

    def silent(*words: object, **wishes: object) -> None:
        release.wait(10.0)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    began = time.monotonic()
    assert certain_refusal("gpu-box:1", robot(keys).read(), NS_PER_S // 5) is None
    assert time.monotonic() - began < 0.2 * 5
    release.set()


def through(proxy: HttpProxy, files: LinkFiles, address: str) -> str | None:
    """Looks at `address` through `proxy`."""
    use = proxy_use(address, {"http_proxy": f"http://me:secret@{proxy.address}"}, wanted=True)
    why = certain_refusal(address, replace(files.read(), proxy=use), TIMEOUT_NS)
    assert "secret" not in str(why)
    return why


def test_the_second_look_goes_through_the_same_proxy(keys: KeyFolder, tmp_path: Path, start: Start) -> None:
    """A certificate is judged behind the proxy, by the name that the proxy was told, and so is plain text."""
    secure, plain = start(tls(keys)), start(SecurityFiles())
    with HttpProxy() as proxy:
        assert through(proxy, robot(keys), secure) is None
        why = through(proxy, robot(key_set(tmp_path / "other")), secure)
        assert why is not None
        assert "did not sign its certificate" in why
        assert "it speaks plain text" in str(through(proxy, robot(keys), plain))
        assert "it speaks TLS" in str(through(proxy, LinkFiles(), secure))
    assert {line.split()[1] for line in proxy.asked_for} == {secure, plain}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(("status", "says"), [(403, "connects nobody"), (407, "it wants a password")])
def test_a_proxy_that_refuses_is_named(keys: KeyFolder, secure: bool, status: int, says: str) -> None:
    """A proxy that will not have us is told with its variable, and without its password."""
    with HttpProxy(status=status) as proxy:
        why = str(through(proxy, robot(keys) if secure else LinkFiles(), "gpu-box:8080"))
    assert why.startswith(f"gpu-box:8080: the proxy {proxy.address} (http_proxy) answers {status}: ")
    assert says in why
    assert "--use_proxy" in why


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_proxy_that_finds_no_server_is_no_reason(keys: KeyFolder, secure: bool, status: int) -> None:
    """A proxy behind which the server is away is dialled again; so is one that is away itself."""
    with HttpProxy(status=status) as proxy:
        assert through(proxy, robot(keys) if secure else LinkFiles(), "gpu-box:8080") is None
    assert through(proxy, robot(keys) if secure else LinkFiles(), "gpu-box:8080") is None


@pytest.mark.parametrize("said", [b"", b"x", b"HTTP/1.1 \r\n\r\n", b"\xff" * 100_000, b"HTTP/1.1 200"])
def test_what_is_no_proxy_is_no_reason(keys: KeyFolder, said: bytes) -> None:
    """Whatever else answers in a proxy's place ends the look, in time."""

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(said)

    with listening(answer) as address:
        use = proxy_use("gpu-box:1", {"http_proxy": address}, wanted=True)
        assert certain_refusal("gpu-box:1", replace(robot(keys).read(), proxy=use), NS_PER_S // 5) is None


@pytest.mark.parametrize("secure", [False, True])
def test_a_name_that_is_none_is_no_reason(keys: KeyFolder, secure: bool) -> None:
    """A host that no resolver takes fails like one that is away, and not like a bug."""
    security = (robot(keys) if secure else LinkFiles()).read()
    assert certain_refusal("a..b:1", security, TIMEOUT_NS) is None


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Hands every connection to `answer` and closes it, while it lasts; yields the address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_accept, args=(server, answer), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _accept(server: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                answer(connection)
