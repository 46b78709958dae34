"""Why a connection was refused, where that is certain: a short second look with Python's `ssl`.

gRPC says of a wrong certificate, a missing one and a server that is away the
same: no connection. The first two will not pass by waiting, and the arm should
not wait for them. So after a dial that failed at once (not by its timeout) the
handshake is repeated here, in the open. Only a reason that cannot be anything
else is returned; whatever might be a server that comes and goes is None, and
is waited for. Nothing but greetings is sent: no token, no observation.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

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


def certain_refusal(address: str, security: LinkSecurity, timeout_ns: int) -> str | None:
    """Returns why the server at `address` and this robot will never get together, or None.

    Args:
        address: ``host:port``.
        security: what was tried.
        timeout_ns: for each look; there are at most two.
    """
    timeout_s = timeout_ns / NS_PER_S
    if security.context is None:
        why = _TLS_SERVER if _speaks_tls(address, timeout_s) else None
    else:
        name = security.server_name or split_address(address)[0]
        try:
            # Once may be a server that was killed just then; it would not answer the second time.
            hung_up = all(_hangs_up(address, security.context, name, timeout_s) for _ in range(2))
            why = _own_fault(security) if hung_up else None
        except ssl.SSLCertVerificationError as error:
            why = _about_certificate(error, name)
        except ssl.SSLError as error:
            why = _about_alert(error.reason or "", security)
        except (OSError, ValueError):  # the latter for names that no resolver takes
            why = None
    return f"{address}: {why}" if why else None


def _hangs_up(address: str, context: ssl.SSLContext, name: str, timeout_s: float) -> bool:
    """Returns whether the server completes the handshake and then leaves without a word.

    In TLS 1.3 the client is through before the server has looked at its certificate, and a gRPC
    server that does not like it says nothing. One that does sends its settings at once.
    """
    with _greeted(address, context, name, timeout_s) as connection:
        try:
            return not connection.recv(1)
        except ConnectionResetError:
            return True


def _speaks_tls(address: str, timeout_s: float) -> bool:
    """Returns whether the server at `address` answers a TLS greeting in TLS."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    anybody.set_alpn_protocols(["h2"])
    try:
        with _greeted(address, anybody, "", timeout_s):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _greeted(address: str, context: ssl.SSLContext, name: str, timeout_s: float) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(split_address(address), timeout=timeout_s) as bare,
        context.wrap_socket(bare, server_hostname=name or None) as connection,
    ):
        yield connection


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
