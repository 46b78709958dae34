"""Certificates, private keys and tokens as they lie in files: read, checked, never shown.

Both ends read the same kinds of file, and both must say at the start what is
wrong with one, not at the first connection. What is read is checked with
Python's `ssl`; gRPC gets the same bytes. Messages name the key and the file;
no line of a secret ever gets into one.
"""

from __future__ import annotations

import re
import ssl
import stat
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from segue.errors import ConfigError

CERT, KEY, TOKEN = "tls.cert_file", "tls.key_file", "auth.token_file"
TOKEN_VARIABLE = "SEGUE_TOKEN"
MIN_TOKEN_CHARS = 32
MAX_TOKEN_CHARS = 512

_MAX_BYTES = 1 << 20
# What a bearer token may be made of, RFC 6750 section 2.1.
_TOKEN = re.compile(rf"(?=.{{{MIN_TOKEN_CHARS},{MAX_TOKEN_CHARS}}}\Z)[A-Za-z0-9\-._~+/]+=*")
_TOKEN_WORDS = f"{MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} letters, digits and -._~+/="
_EXPIRES = "expires=2027-01-31T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Token:
    """A token.

    Attributes:
        text: the secret.
        expires: when it stops being good; None means never.
    """

    text: str = field(repr=False)
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def read_identity(cert_file: Path | None, key_file: Path | None) -> Identity | None:
    """Returns a certificate and its key; None when neither is given.

    Raises:
        ConfigError: one is missing or unreadable, or they are not each other's.
    """
    if cert_file is None or key_file is None:
        if cert_file or key_file:
            missing = KEY if cert_file else CERT
            raise ConfigError(f"{CERT}, {KEY}: {missing} is missing; allowed is both or neither")
        return None
    certificate, key = read_pem(CERT, cert_file, "CERTIFICATE"), read_pem(KEY, key_file, "PRIVATE KEY")
    if b"ENCRYPTED" in key:
        raise ConfigError(f"{KEY}: {key_file} has a password; allowed is a key without one")
    load_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert_file, key_file)
    return Identity(certificate, key)


def load_identity(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    """Puts a certificate and its key into `context`.

    Raises:
        ConfigError: they are not each other's, or cannot be read.
    """
    try:
        context.load_cert_chain(cert_file, key_file)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            says = f"{KEY}: {key_file} is not the key of {cert_file}; allowed is its own"
        else:
            says = (
                f"{CERT}, {KEY}: {cert_file} with {key_file} is broken; allowed are a certificate and its key"
            )
        raise ConfigError(says) from None


def read_authorities(key: str, path: Path) -> bytes:
    """Returns the certificates of authorities in `path`, PEM.

    Args:
        key: of the configuration, for messages.
        path: the file.

    Raises:
        ConfigError: it cannot be read, or holds no certificate.
    """
    data = read_pem(key, path, "CERTIFICATE")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data.decode("ascii", "ignore"))
    except ssl.SSLError:
        raise ConfigError(f"{key}: {path} has a broken certificate; allowed is PEM, such as ca.pem") from None
    return data


def read_tokens(path: Path | None, environment: str | None) -> tuple[Token, ...]:
    """Returns the tokens of a file, or the one in the environment, or none.

    Args:
        path: one token a line, a second word says when it expires, ``#`` begins a comment.
        environment: value of ``SEGUE_TOKEN``; a file wins over it.

    Raises:
        ConfigError: the file cannot be read or has no token, or one is not of the right form.
    """
    if path is None:
        return (_token([environment.strip()], TOKEN_VARIABLE),) if environment else ()
    lines = enumerate(_read(TOKEN, path).decode("utf-8", "replace").splitlines(), start=1)
    words = ((number, line.partition("#")[0].split()) for number, line in lines)
    tokens = tuple(_token(found, f"{TOKEN}: {path} line {number}") for number, found in words if found)
    if not tokens:
        raise ConfigError(f"{TOKEN}: {path} has no token; allowed is one a line (`segue keys` makes one)")
    return tokens


def exposed(key: str, path: Path | None) -> tuple[str, ...]:
    """Returns a warning when others on this machine may read the secret in `path`, else nothing."""
    if path is None or not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return ()
    return (f"{key}: others on this machine may read {path}; `chmod 600` it",)


def read_pem(key: str, path: Path, kind: str) -> bytes:
    """Returns the content of a PEM file.

    Args:
        key: of the configuration, for messages.
        path: the file.
        kind: what must be in it, such as ``CERTIFICATE``.

    Raises:
        ConfigError: it cannot be read, or is something else.
    """
    data = _read(key, path)
    if not re.search(rb"-----BEGIN [A-Z ]*%b-----" % kind.encode(), data):
        raise ConfigError(f"{key}: {path} has no {kind.lower()} in it; allowed is a PEM file with one")
    return data


def _read(key: str, path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe could be read once only, and might never end
            raise ConfigError(f"{key}: {path} is no file; allowed is a readable file")
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        says = f"{key}: {path} cannot be read: {error.strerror}; allowed is a readable file"
        raise ConfigError(says) from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{key}: {path} is too large; allowed is at most 1 MiB")
    return data


def _token(words: list[str], where: str) -> Token:
    if not _TOKEN.fullmatch(words[0]):
        raise ConfigError(f"{where}: this is no token; allowed are {_TOKEN_WORDS}")
    if len(words) == 1:
        return Token(words[0])
    expires = _moment(words[1].removeprefix("expires=")) if len(words) == 2 else None
    if expires is None or not words[1].startswith("expires="):
        raise ConfigError(f"{where}: what follows the token is wrong; allowed is {_EXPIRES}, or nothing")
    return Token(words[0], expires)


def _moment(text: str) -> datetime | None:
    """Returns the moment that `text` names; None when it names none, or leaves the time zone open."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
