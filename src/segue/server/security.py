"""What the server proves, and what it wants proved: read from files once, at the start.

A certificate makes the connection encrypted and tells robots that this is the
server; an authority for clients or a list of tokens tells the server who may
call. Changing any of them takes a restart, which a robot survives: it holds,
dials and opens again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from segue.errors import ConfigError
from segue.wire.hosts import is_loopback
from segue.wire.keyfiles import (
    CERT,
    KEY,
    TOKEN,
    Identity,
    Token,
    exposed,
    read_authorities,
    read_identity,
    read_tokens,
)

CLIENT_CA = "tls.client_ca_file"


@dataclass(frozen=True, slots=True)
class ServerSecurity:
    """The server's security; by default there is none.

    Attributes:
        identity: makes the server speak TLS.
        client_ca: authorities of clients, PEM; clients must then have a certificate (mutual TLS).
        tokens: one of them must come with every call; none means that no token is asked for.
        warnings: what a person should be told, a sentence each.
        insecure: allows an address other than loopback although the rest falls short of what it needs.
    """

    identity: Identity | None = None
    client_ca: bytes | None = None
    tokens: tuple[Token, ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()
    insecure: bool = False

    @property
    def encrypted(self) -> bool:
        """Whether the server speaks TLS."""
        return self.identity is not None

    @property
    def guarded(self) -> bool:
        """Whether callers must prove who they are."""
        return bool(self.tokens) or self.client_ca is not None


@dataclass(frozen=True, slots=True)
class SecurityFiles:
    """Where the server's secrets lie; see `ServerSecurity`.

    Attributes:
        environment_token: value of ``SEGUE_TOKEN``.
    """

    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    token_file: Path | None = None
    environment_token: str | None = field(default=None, repr=False)

    def read(self, *, insecure: bool = False) -> ServerSecurity:
        """Returns what the files say, and whether it may fall short.

        Raises:
            ConfigError: a file is missing, unreadable or wrong, or does not go with the others.
        """
        identity = read_identity(self.cert_file, self.key_file)
        if identity is None and self.client_ca_file is not None:
            raise ConfigError(f"{CLIENT_CA}: {self.client_ca_file} is allowed only beside {CERT} and {KEY}")
        client_ca = read_authorities(CLIENT_CA, self.client_ca_file) if self.client_ca_file else None
        tokens = read_tokens(self.token_file, self.environment_token)
        warnings = exposed(KEY, self.key_file) + exposed(TOKEN, self.token_file)
        return ServerSecurity(identity, client_ca, tokens, warnings, insecure)


def bind_objection(host: str, *, encrypted: bool, guarded: bool) -> str | None:
    """Returns what is missing before a server may listen on `host`; None when nothing is.

    Args:
        host: address to listen on.
        encrypted: the server has a certificate.
        guarded: it asks for a token or for a client's certificate.
    """
    if is_loopback(host) or (encrypted and guarded):
        return None
    tls, proof = f"--{CERT} and --{KEY}", f"--{TOKEN} or --{CLIENT_CA}"
    if encrypted:
        missing = f"whoever reaches this address could use the policy; add {proof}"
    elif guarded:
        missing = f"the token would travel in plain text; add {tls}"
    else:
        missing = f"others could listen in and use the policy; add {tls}, and {proof}"
    return f"{missing} (`segue keys` makes them), or allow it by --insecure, or listen on 127.0.0.1"
