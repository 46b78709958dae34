"""The server's files go together or are refused, and what keeps strangers out is counted right."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.errors import ConfigError
from segue.server.security import SecurityFiles, ServerSecurity, bind_objection
from segue.wire.keyfiles import Token
from tests.key_sets import key_set, mutual_tls, tls

TOKEN = "t" * 40


def test_the_files_say_what_the_server_does(tmp_path: Path) -> None:
    """A certificate encrypts; an authority for clients, or a token, guards."""
    keys = key_set(tmp_path / "keys")
    nothing, alone, both = SecurityFiles().read(), tls(keys).read(), mutual_tls(keys).read()
    assert (nothing.encrypted, nothing.guarded) == (False, False)
    assert (alone.encrypted, alone.guarded) == (True, False)
    assert (both.encrypted, both.guarded) == (True, True)
    token = SecurityFiles(environment_token=TOKEN).read()
    assert (token.encrypted, token.guarded, token.tokens) == (False, True, (Token(TOKEN),))
    assert TOKEN not in repr(token) + repr(SecurityFiles(environment_token=TOKEN))


def test_an_authority_for_clients_needs_a_certificate_of_the_server(tmp_path: Path) -> None:
    """Mutual TLS without TLS is refused by key."""
    keys = key_set(tmp_path / "keys")
    with pytest.raises(ConfigError, match=r"^tls\.client_ca_file: .* allowed only beside tls\.cert_file"):
        SecurityFiles(client_ca_file=keys.ca).read()


def test_exposed_secrets_are_warned_about(tmp_path: Path) -> None:
    """A key and a token that others may read make one warning each."""
    keys = key_set(tmp_path / "keys")
    files = SecurityFiles(keys.server_cert, keys.server_key, token_file=keys.token)
    assert files.read().warnings == ()
    keys.server_key.chmod(0o644)
    keys.token.chmod(0o640)
    assert [each.partition(":")[0] for each in files.read().warnings] == ["tls.key_file", "auth.token_file"]


@pytest.mark.parametrize(
    ("encrypted", "guarded", "asked_for"),
    [
        (False, False, ("--tls.cert_file and --tls.key_file", "--auth.token_file or --tls.client_ca_file")),
        (True, False, ("--auth.token_file or --tls.client_ca_file",)),
        (False, True, ("--tls.cert_file and --tls.key_file",)),
    ],
)
def test_what_is_missing_is_said_exactly(encrypted: bool, guarded: bool, asked_for: tuple[str, ...]) -> None:
    """The sentence names the flags that are missing and no others, `segue keys`, and the other ways out."""
    objection = bind_objection("0.0.0.0", encrypted=encrypted, guarded=guarded)
    assert objection is not None
    flags = ("--tls.cert_file and --tls.key_file", "--auth.token_file or --tls.client_ca_file")
    assert tuple(each for each in flags if each in objection) == asked_for
    assert all(each in objection for each in ("`segue keys`", "--insecure", "127.0.0.1"))


def test_with_encryption_and_a_guard_every_address_is_fine() -> None:
    """TLS and proof allow any address, and loopback needs neither."""
    assert bind_objection("0.0.0.0", encrypted=True, guarded=True) is None
    assert bind_objection("127.0.0.1", encrypted=False, guarded=False) is None
    assert ServerSecurity() == SecurityFiles().read()
