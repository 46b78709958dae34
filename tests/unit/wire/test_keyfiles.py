"""Certificates, keys and tokens in files: what is taken, and what is said of the rest."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from segue.errors import ConfigError
from segue.wire.keyfiles import Token, exposed, read_authorities, read_identity, read_tokens
from tests.key_sets import key_set

GOOD = "a" * 40
OTHER = "b" * 32


def tokens_in(path: Path, text: str) -> tuple[Token, ...]:
    path.write_text(text)
    return read_tokens(path, None)


def test_a_pair_is_read_as_it_is(tmp_path: Path) -> None:
    """A certificate and its own key come back byte for byte, and the key is not shown."""
    keys = key_set(tmp_path / "keys")
    identity = read_identity(keys.server_cert, keys.server_key)
    assert identity is not None
    assert identity.certificate == keys.server_cert.read_bytes()
    assert identity.key == keys.server_key.read_bytes()
    assert "PRIVATE" not in repr(identity)
    assert read_identity(None, None) is None


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    """A certificate without its key, and a key without its certificate, name what is missing."""
    with pytest.raises(ConfigError, match=r"tls\.key_file is missing"):
        read_identity(tmp_path / "a", None)
    with pytest.raises(ConfigError, match=r"tls\.cert_file is missing"):
        read_identity(None, tmp_path / "a")


def test_a_wrong_pair_is_refused_by_key_and_file(tmp_path: Path) -> None:
    """Another's key, a file of something else, one that is not there and a folder are each said."""
    keys = key_set(tmp_path / "keys")
    text, none = tmp_path / "text", tmp_path / "none"
    text.write_text("hello")
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----\n")
    locked = tmp_path / "locked"
    locked.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nhello\n-----END ENCRYPTED PRIVATE KEY-----\n")
    cases = [
        (keys.server_cert, keys.client_key, rf"^tls\.key_file: {keys.client_key} is not the key of"),
        (text, keys.server_key, rf"^tls\.cert_file: {text} has no certificate"),
        (keys.server_cert, text, rf"^tls\.key_file: {text} has no private key"),
        (keys.server_key, keys.server_key, r"^tls\.cert_file: .* has no certificate"),
        (none, keys.server_key, rf"^tls\.cert_file: {none} is no file"),
        (keys.server_cert, tmp_path, r"^tls\.key_file: .* is no file"),
        (broken, keys.server_key, r"^tls\.cert_file, tls\.key_file: .* is broken"),
        (keys.server_cert, locked, r"^tls\.key_file: .* has a password"),
    ]
    for cert, key, says in cases:
        with pytest.raises(ConfigError, match=says) as refused:
            read_identity(cert, key)
        assert "allowed" in str(refused.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A file that this user may not read is named with the reason."""
    keys = key_set(tmp_path / "keys")
    keys.server_key.chmod(0)
    with pytest.raises(ConfigError, match=r"^tls\.key_file: .* cannot be read: Permission denied"):
        read_identity(keys.server_cert, keys.server_key)


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    """A device is no file, and a file of more than 1 MiB is not read to its end."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * ((1 << 20) + 1))
    for path, says in ((Path("/dev/zero"), "is no file"), (large, "too large")):
        with pytest.raises(ConfigError, match=says):
            read_tokens(path, None)


def test_authorities_are_certificates(tmp_path: Path) -> None:
    """An authority is read as it is; a broken one is refused under the key that named it."""
    keys = key_set(tmp_path / "keys")
    assert read_authorities("tls.ca_file", keys.ca) == keys.ca.read_bytes()
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----\n")
    with pytest.raises(ConfigError, match=rf"^tls\.client_ca_file: {broken} has a broken certificate"):
        read_authorities("tls.client_ca_file", broken)


def test_a_token_file_has_one_token_a_line(tmp_path: Path) -> None:
    """Comments and empty lines are left out, the order is kept, a second word says when a token expires."""
    text = f"# robots\n\n{GOOD}  expires=2027-01-31T00:00:00Z # the old one\n{OTHER}\n"
    tokens = tokens_in(tmp_path / "token", text)
    assert tokens == (Token(GOOD, datetime(2027, 1, 31, tzinfo=UTC)), Token(OTHER))
    assert GOOD not in repr(tokens)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no token"),
        ("# nothing\n", "has no token"),
        ("a" * 31, "line 1: this is no token; allowed are 32 to 512"),
        ("a" * 513, "line 1: this is no token"),
        ("secret-but-with-ü-in-it-which-is-wrong", "line 1: this is no token"),
        (f"{GOOD}\nsecret, with a comma and long enough\n", "line 2: this is no token"),
        (f"{GOOD} expires=tomorrow", "line 1: what follows the token is wrong; allowed is expires=2027"),
        (f"{GOOD} expires=2027-01-31T00:00:00", "line 1: what follows the token is wrong"),
        (f"{GOOD} 2027-01-31T00:00:00Z", "line 1: what follows the token is wrong"),
        (f"{GOOD} {OTHER}", "line 1: what follows the token is wrong"),
        (f"{GOOD} expires=2027-01-31T00:00:00Z {OTHER}", "line 1: what follows the token is wrong"),
    ],
)
def test_a_wrong_token_file_is_refused_without_being_shown(tmp_path: Path, text: str, says: str) -> None:
    """The message names key, file and line and what is allowed, and holds nothing of a token."""
    path = tmp_path / "token"
    with pytest.raises(ConfigError, match=re.escape(says)) as refused:
        tokens_in(path, text)
    sentence = str(refused.value)
    assert sentence.startswith(f"auth.token_file: {path}")
    assert GOOD not in sentence
    assert OTHER not in sentence
    assert "secret" not in sentence


def test_the_environment_serves_instead_of_a_file(tmp_path: Path) -> None:
    """SEGUE_TOKEN is the token when there is no file, is checked like one in a file, and is not shown."""
    assert read_tokens(None, f"{GOOD}\n") == (Token(GOOD),)
    assert read_tokens(None, None) == read_tokens(None, "") == ()
    with pytest.raises(ConfigError, match=r"^SEGUE_TOKEN: this is no token") as refused:
        read_tokens(None, "short-secret")
    assert "short" not in str(refused.value)
    path = tmp_path / "token"
    path.write_text(OTHER)
    assert read_tokens(path, GOOD) == (Token(OTHER),)


@pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_secret_that_others_may_read_is_warned_about(tmp_path: Path, mode: int, warns: bool) -> None:
    """A private file is fine, one that group or others may read is told in a sentence."""
    path = tmp_path / "key"
    path.write_text("secret")
    path.chmod(mode)
    warnings = exposed("tls.key_file", path)
    assert bool(warnings) is warns
    assert all(str(path) in each and "chmod 600" in each for each in warnings)
    assert exposed("tls.key_file", None) == ()
