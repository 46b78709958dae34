"""Sets of keys for tests: one that both ends share, and ones that are wrong in one way each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from segue.client.security import LinkFiles
from segue.server.security import SecurityFiles
from segue.tools.keys import KeyFolder, make_keys

HOSTS = ("localhost", "127.0.0.1", "::1")


def key_set(folder: Path, *hosts: str, begin: datetime | None = None) -> KeyFolder:
    """Returns a set for loopback, or for `hosts`, good for a day from `begin`."""
    return make_keys(folder, hosts or HOSTS, days=1, begin=begin)


def expired_set(folder: Path) -> KeyFolder:
    """Returns a set that was good until yesterday."""
    return key_set(folder, begin=datetime.now(UTC) - timedelta(days=2))


def future_set(folder: Path) -> KeyFolder:
    """Returns a set that will be good in a week."""
    return key_set(folder, begin=datetime.now(UTC) + timedelta(days=7))


def tls(keys: KeyFolder) -> SecurityFiles:
    """Returns the files of a server that proves who it is and asks for nothing."""
    return SecurityFiles(keys.server_cert, keys.server_key)


def mutual_tls(keys: KeyFolder) -> SecurityFiles:
    """Returns the files of a server that asks for a certificate."""
    return SecurityFiles(keys.server_cert, keys.server_key, keys.ca)


def robot(keys: KeyFolder, own: KeyFolder | None = None) -> LinkFiles:
    """Returns the files of a robot that trusts the authority of `keys`, and has a certificate of `own`."""
    if own is None:
        return LinkFiles(keys.ca)
    return LinkFiles(keys.ca, own.client_cert, own.client_key)
