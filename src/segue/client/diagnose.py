"""Why a connection was refused, where that is certain: a short second look with Python's `ssl`.

gRPC says of a wrong certificate, a missing one and a server that is away the
same: no connection. The first two will not pass by waiting, and the arm should
not wait for them. So after a dial that failed at once (not by its timeout) the
handshake is repeated here, in the open. Only a reason that cannot be anything
else is returned; whatever might be a server that comes and goes is None, and
is waited for. Nothing but greetings is sent: no token, no observation. The way
is the dial's own, through the same proxy if there is one.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator

from segue.client.names import NoRoute, Route, Router
from segue.client.proxies import KEY as USE_PROXY
from segue.client.proxies import Proxy
from segue.client.security import LinkSecurity
from segue.clock import NS_PER_S
from segue.wire.hosts import split_address

# X.509 verification results, from OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
_OTHER_NAME = frozenset({62, 64})

_PLAIN_SERVER = (
    "it speaks plain text, and tls.ca_file asks for TLS; give the server --tls.cert_file and "
    "--tls.key_file, or leave --tls.ca_file out here"
)
_TLS_SERVER = "it speaks TLS, and this robot plain text; add --tls.ca_file with the CA of the server"
_NO_CERTIFICATE = "it asks for a certificate of this robot; add --tls.cert_file and --tls.key_file"
_BAD_CERTIFICATE = (
    "it does not accept the certificate in tls.cert_file; give one that has not expired and that the "
    "server's --tls.client_ca_file signed"
)
# What a proxy answers that will not have us: it wants a password, or it connects to no such port.
_PROXY_REFUSALS = (403, 405, 407)
_WANTS_PASSWORD = "it wants a password; set {}=http://user:password@host:port"
_WANTS_NOBODY = "it connects nobody to this server and port; have it allow that"
_MOST_HEADER_BYTES = 16 * 1024


class _ProxyRefuses(Exception):
    """The proxy on the way connects us to nobody; says why."""


def certain_refusal(address: str, security: LinkSecurity, timeout_ns: int) -> str | None:
    """Returns why the server at `address` and this robot will never get together, or None.

    Args:
        address: ``host:port``.
        security: what was tried.
        timeout_ns: for each look, and for looking the name up; there are at most two looks.
    """
    route = Router(address, security.proxy.proxy).find(timeout_ns)
    if isinstance(route, NoRoute):
        return None
    try:
        why = _refusal(route, security, timeout_ns / NS_PER_S)
    except _ProxyRefuses as error:
        why = str(error)
    return f"{address}: {why}" if why else None


def _refusal(route: Route, security: LinkSecurity, timeout_s: float) -> str | None:
    if security.context is None:
        return _TLS_SERVER if _speaks_tls(route, timeout_s) else None
    name = security.server_name or split_address(route.server)[0]
    try:
        # Once may be a server that was killed just then; it would not answer the second time.
        hung_up = all(_hangs_up(route, security.context, name, timeout_s) for _ in range(2))
        return _own_fault(security) if hung_up else None
    except ssl.SSLCertVerificationError as error:
        return _about_certificate(error, name)
    except ssl.SSLError as error:
        return _about_alert(error.reason or "", security)
    except (OSError, ValueError):  # the latter for names that TLS does not take
        return None


def _hangs_up(route: Route, context: ssl.SSLContext, name: str, timeout_s: float) -> bool:
    """Returns whether the server completes the handshake and then leaves without a word.

    In TLS 1.3 the client is through before the server has looked at its certificate, and a gRPC
    server that does not like it says nothing. One that does sends its settings at once.
    """
    with _greeted(route, context, name, timeout_s) as connection:
        try:
            return not connection.recv(1)
        except ConnectionResetError:
            return True


def _speaks_tls(route: Route, timeout_s: float) -> bool:
    """Returns whether the server at the end of `route` answers a TLS greeting in TLS."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    anybody.set_alpn_protocols(["h2"])
    try:
        with _greeted(route, anybody, "", timeout_s):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _greeted(route: Route, context: ssl.SSLContext, name: str, timeout_s: float) -> Iterator[ssl.SSLSocket]:
    with (
        _connected(route, timeout_s) as bare,
        context.wrap_socket(bare, server_hostname=name or None) as connection,
    ):
        yield connection


def _connected(route: Route, timeout_s: float) -> socket.socket:
    """Returns a connection to the first endpoint that takes one, and through the proxy if it is one.

    Raises:
        OSError: there is none.
    """
    for endpoint in route.endpoints[:-1]:
        with contextlib.suppress(OSError):
            return _through(socket.create_connection(endpoint, timeout=timeout_s), route, timeout_s)
    return _through(socket.create_connection(route.endpoints[-1], timeout=timeout_s), route, timeout_s)


def _through(line: socket.socket, route: Route, timeout_s: float) -> socket.socket:
    """Returns `line` when it leads to the server: at once, or when the proxy has connected it."""
    if route.proxy is None:
        return line
    try:
        _ask(route.proxy, line, route.server, timeout_s)
        line.settimeout(timeout_s)
    except BaseException:
        line.close()
        raise
    return line


def _ask(proxy: Proxy, line: socket.socket, server: str, timeout_s: float) -> None:
    """Asks the proxy at the end of `line` to connect it to the server.

    Raises:
        _ProxyRefuses: it will not have us.
        OSError: it does not, this time.
    """
    until_s = time.monotonic() + timeout_s
    secret = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    line.sendall(f"CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n{secret}\r\n".encode())
    said = b""
    while b"\r\n\r\n" not in said and len(said) < _MOST_HEADER_BYTES:
        line.settimeout(max(0.001, until_s - time.monotonic()))
        byte = line.recv(1)  # what follows is the server's
        if not byte:
            raise ConnectionResetError(f"the proxy {proxy} hung up")
        said += byte
    words = said.split(None, 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    if status in _PROXY_REFUSALS:
        wrong = _WANTS_PASSWORD.format(proxy.variable) if status == 407 else _WANTS_NOBODY
        raise _ProxyRefuses(f"the proxy {proxy} answers {status}: {wrong}, or leave --{USE_PROXY} out")
    if status != 200:
        raise ConnectionRefusedError(f"the proxy {proxy} answers {status}")


def _own_fault(security: LinkSecurity) -> str:
    return _NO_CERTIFICATE if security.identity is None else _BAD_CERTIFICATE


def _about_certificate(error: ssl.SSLCertVerificationError, name: str) -> str:
    code = error.verify_code
    if code in _UNKNOWN_AUTHORITY:
        return "the CA in tls.ca_file did not sign its certificate; give the CA of this server"
    if code == _EXPIRED:
        return "its certificate has expired; give the server a new one, or set this machine's date right"
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet; set this machine's date right"
    if code in _OTHER_NAME:
        return (
            f"its certificate is not for {name}; make one by `segue keys --host={name}`, or give a name "
            "that it is for as --tls.server_name"
        )
    return f"its certificate is not accepted: {error.verify_message}"


def _about_alert(reason: str, security: LinkSecurity) -> str | None:
    if reason == "WRONG_VERSION_NUMBER":  # what came back is no TLS at all
        return _PLAIN_SERVER
    # Servers that do say what they do not like: every such alert is about our certificate.
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return _own_fault(security)
    return None
