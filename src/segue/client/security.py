"""What the robot proves to the server, and how it knows the server: read from files once, at the start.

gRPC gets the bytes; beside them stands an `ssl.SSLContext` with the same
certificates, for `diagnose` to find out what gRPC does not say. A token never
leaves in plain text for another machine unless a person insists.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from segue.client.proxies import DIRECT, ProxyUse
from segue.client.proxies import KEY as USE_PROXY
from segue.errors import ConfigError
from segue.wire.hosts import is_loopback, split_address
from segue.wire.keyfiles import (
    CERT,
    KEY,
    TOKEN,
    Identity,
    exposed,
    load_identity,
    read_authorities,
    read_identity,
    read_tokens,
)

CA, NAME = "tls.ca_file", "tls.server_name"
PLAIN_TOKEN = (
    f"the token would travel in plain text to another machine; add --{CA}, or allow it by --insecure, "
    "or connect to 127.0.0.1"
)

PROXIED_TOKEN = (
    f"the token would travel in plain text through this proxy; add --{CA}, or allow it by --insecure, "
    f"or leave --{USE_PROXY} out"
)


@dataclass(frozen=True, slots=True)
class LinkSecurity:
    """The robot's security; by default it speaks plain text and has no token.

    Attributes:
        authorities: who may have signed the server's certificate, PEM; turns TLS on.
        identity: for a server that asks for a certificate.
        server_name: expected in the server's certificate; empty means the host that is dialled.
        token: goes with every call; empty means none.
        proxy: whether somebody is on the way who may read what is not encrypted.
        context: the same, as Python's `ssl` takes it; None without TLS.
        warnings: what a person should be told, a sentence each.
    """

    authorities: bytes | None = None
    identity: Identity | None = None
    server_name: str = ""
    token: str = field(default="", repr=False)
    proxy: ProxyUse = DIRECT
    context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    warnings: tuple[str, ...] = ()


PLAIN = LinkSecurity()


@dataclass(frozen=True, slots=True)
class LinkFiles:
    """Where the robot's secrets lie; see `LinkSecurity`.

    Attributes:
        environment_token: value of ``SEGUE_TOKEN``.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    token_file: Path | None = None
    environment_token: str | None = field(default=None, repr=False)

    def read(self, server_name: str = "") -> LinkSecurity:
        """Returns what the files say.

        Args:
            server_name: expected in the server's certificate; empty means the host that is dialled.

        Raises:
            ConfigError: a file is missing, unreadable or wrong, or does not go with the others.
        """
        identity = read_identity(self.cert_file, self.key_file)
        tokens = read_tokens(self.token_file, self.environment_token)
        if self.ca_file is None and (identity or server_name):
            raise ConfigError(f"{CERT if identity else NAME}: means nothing without TLS; allowed beside {CA}")
        authorities = read_authorities(CA, self.ca_file) if self.ca_file else None
        return LinkSecurity(
            authorities=authorities,
            identity=identity,
            server_name=server_name,
            token=tokens[0].text if tokens else "",
            context=None if authorities is None else self._context(authorities),
            warnings=exposed(KEY, self.key_file) + exposed(TOKEN, self.token_file),
        )

    def _context(self, authorities: bytes) -> ssl.SSLContext:
        # Not Python's default context: it may be stricter than gRPC, and is to judge as gRPC does.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.hostname_checks_common_name = False
        context.load_verify_locations(cadata=authorities.decode("ascii", "ignore"))
        if self.cert_file is not None and self.key_file is not None:
            load_identity(context, self.cert_file, self.key_file)
        context.set_alpn_protocols(["h2"])
        return context


def check_token(address: str, security: LinkSecurity, *, insecure: bool) -> tuple[str, ...]:
    """Refuses to send a token in plain text to another machine; returns a warning where that is allowed.

    Args:
        address: of the server, ``host:port``.
        security: of the robot.
        insecure: allows it.

    Raises:
        ConfigError: it would happen, and `insecure` does not allow it.
    """
    if not security.token or security.authorities is not None or is_local(address):
        return ()
    if not insecure:
        raise ConfigError(f"server_address: {address}: {PLAIN_TOKEN}")
    return (f"the token travels to {address} in plain text: whoever overhears it may use the policy",)


def check_proxy(security: LinkSecurity, *, insecure: bool) -> tuple[str, ...]:
    """Refuses to send a token in plain text through a proxy; returns a warning of what one may read.

    Args:
        security: of the robot.
        insecure: allows it.

    Raises:
        ConfigError: it would happen, and `insecure` does not allow it.
    """
    proxy = security.proxy.proxy
    if proxy is None or security.authorities is not None:
        return ()
    if not security.token:
        return (f"the proxy {proxy} can read and change every picture and action: there is no --{CA}",)
    if not insecure:
        raise ConfigError(f"{USE_PROXY}: {proxy}: {PROXIED_TOKEN}")
    return (f"the proxy {proxy} can read the token, and read and change every picture and action",)


def is_local(address: str) -> bool:
    """Returns whether what is sent to ``host:port`` stays on this machine."""
    return is_loopback(split_address(address)[0])
