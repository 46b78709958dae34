"""The keys by which either end is told where its certificates and tokens lie.

Only paths stand here. A token is never a value of its own: command lines are
seen by everybody on the machine, and every run writes its configuration down.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import annotated_types as at

from segue.config.constraints import PlainPath, is_host
from segue.config.refusal import Refused, shown
from segue.config.schema import Help

Name = Annotated[str, at.Predicate(is_host)]


@dataclass(frozen=True, kw_only=True)
class ServerTlsConfig:
    """Encryption; `segue keys` makes the files."""

    cert_file: Annotated[PlainPath | None, Help("the server's certificate, PEM; turns TLS on")] = None
    key_file: Annotated[PlainPath | None, Help("its private key, PEM")] = None
    client_ca_file: Annotated[PlainPath | None, Help("CA of robots' certificates, then required")] = None


@dataclass(frozen=True, kw_only=True)
class ClientTlsConfig:
    """Encryption; `segue keys` makes the files."""

    ca_file: Annotated[PlainPath | None, Help("CA of the server's certificate; turns TLS on")] = None
    cert_file: Annotated[PlainPath | None, Help("the robot's certificate, if the server asks for one")] = None
    key_file: Annotated[PlainPath | None, Help("its private key, PEM")] = None
    server_name: Annotated[
        Name | None, Help("expected in the server's certificate; null takes the address", "a host name")
    ] = None


@dataclass(frozen=True, kw_only=True)
class AuthConfig:
    """Tokens; SEGUE_TOKEN in the environment serves instead of a file."""

    token_file: Annotated[PlainPath | None, Help("one token a line; a robot uses the first")] = None


def check_pair(cert_file: Path | None, key_file: Path | None) -> None:
    """Refuses half a pair of certificate and key.

    Raises:
        Refused: one is given without the other.
    """
    if (cert_file is None) != (key_file is None):
        given, missing = ("cert_file", "key_file") if cert_file else ("key_file", "cert_file")
        raise Refused(f"tls.{given}", f"needs tls.{missing} beside it", shown(str(cert_file or key_file)))


def token_given(auth: AuthConfig) -> bool:
    """Returns whether there is a token, in a file or in the environment."""
    from segue.wire.keyfiles import TOKEN_VARIABLE  # brings ssl, which --help does without

    return auth.token_file is not None or bool(os.environ.get(TOKEN_VARIABLE))
