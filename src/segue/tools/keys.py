"""Keys for a first secure link: a development authority, two certificates that it signed, one token.

The authority's own key is never written: it signs these two certificates and is
forgotten, so nobody can steal it and sign a third. Whoever needs another
certificate makes a new set. Validity begins a day early, since a small
computer without a battery may have its date wrong. This file draws random
numbers and writes files; it prints nothing.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from segue.errors import ConfigError

_EARLY = timedelta(days=1)
_TOKEN_BYTES = 32
_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")
# The longest common name that a certificate may have.
_MOST_NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """The files of one set.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def ca(self) -> Path:
        """The authority's certificate; both ends need it."""
        return self.path / "ca.pem"

    @property
    def server_cert(self) -> Path:
        """The server's certificate."""
        return self.path / "server.pem"

    @property
    def server_key(self) -> Path:
        """The server's private key; it stays on the server."""
        return self.path / "server.key"

    @property
    def client_cert(self) -> Path:
        """The robot's certificate."""
        return self.path / "client.pem"

    @property
    def client_key(self) -> Path:
        """The robot's private key."""
        return self.path / "client.key"

    @property
    def token(self) -> Path:
        """The token, which both ends need."""
        return self.path / "token"


def host_names(text: str) -> tuple[str, ...]:
    """Returns the names and addresses in a list with commas, each once, in order.

    Raises:
        ConfigError: one of them is neither a host name nor an IP address, or there is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    wrong = next((name for name in names if not _HOST_NAME.fullmatch(name) and not _address(name)), None)
    if wrong is not None or not names:
        raise ConfigError(
            f"host: {wrong or text!a} is no host; allowed are host names and IP addresses with commas between"
        )
    return names


def make_keys(
    folder: Path, hosts: Sequence[str], days: int, *, force: bool = False, begin: datetime | None = None
) -> KeyFolder:
    """Makes a set of keys in `folder` and returns where each file is.

    Args:
        folder: made if it is not there.
        hosts: names and IP addresses by which robots call the server.
        days: until the certificates and the token expire.
        force: replaces files that are there.
        begin: of those days, in UTC; None means now.

    Raises:
        ConfigError: a file is there already, or the folder cannot be written.
    """
    files = KeyFolder(folder)
    begin = begin or datetime.now(UTC).replace(microsecond=0)
    contents = _contents(files, hosts, begin, begin + timedelta(days=days))
    there = [path for path in contents if path.exists() or path.is_symlink()]
    if there and not force:
        raise ConfigError(f"output_dir: {there[0]} exists; allowed is another folder, or --force")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in there:
            path.unlink()
        for path, content in contents.items():
            _write(path, content, 0o644 if path.suffix == ".pem" else 0o600)
    except OSError as error:
        raise ConfigError(
            f"output_dir: {folder} cannot be written: {error.strerror}; allowed is a folder of yours"
        ) from None
    return files


def _contents(files: KeyFolder, hosts: Sequence[str], begin: datetime, end: datetime) -> Mapping[Path, bytes]:
    authority = _Authority(begin - _EARLY, end)
    names = [_subject_name(host) for host in hosts]
    server_cert, server_key = authority.issue(hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, names)
    client_cert, client_key = authority.issue("robot", ExtendedKeyUsageOID.CLIENT_AUTH)
    token = f"{secrets.token_urlsafe(_TOKEN_BYTES)} expires={end:%Y-%m-%dT%H:%M:%SZ}\n"
    return {
        files.ca: authority.certificate.public_bytes(Encoding.PEM),
        files.server_cert: server_cert,
        files.server_key: server_key,
        files.client_cert: client_cert,
        files.client_key: client_key,
        files.token: token.encode(),
    }


class _Authority:
    """Signs certificates for as long as it is in memory."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Segue development CA")
        self._begin = begin
        self._end = end
        # It may sign certificates, and those that it signed may not.
        self.certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def issue(
        self, common_name: str, purpose: x509.ObjectIdentifier, names: Sequence[x509.GeneralName] = ()
    ) -> tuple[bytes, bytes]:
        """Returns a certificate and its private key, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(_name(common_name[:_MOST_NAME_CHARS]), key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), private

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        public, own = key.public_key(), self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._begin)
            .not_valid_after(self._end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own), critical=False)
        )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _subject_name(host: str) -> x509.GeneralName:
    address = _address(host)
    return x509.IPAddress(address) if address else x509.DNSName(host)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _write(path: Path, content: bytes, mode: int) -> None:
    # Exclusive, and with its mode from the first moment: a secret is never readable in between.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
