"""A set of keys: whom it convinces, for how long, and what is never overwritten."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from segue.errors import ConfigError
from segue.tools.keys import host_names, make_keys
from segue.wire.keyfiles import read_authorities, read_identity, read_tokens

BEGIN = datetime(2026, 11, 24, 12, tzinfo=UTC)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_set_is_what_both_ends_can_read(tmp_path: Path) -> None:
    """Every file passes the checks of the ends that use it, and the token expires with the certificates."""
    files = make_keys(tmp_path / "new" / "keys", ["localhost"], 30, begin=BEGIN)
    read_authorities("tls.ca_file", files.ca)
    assert read_identity(files.server_cert, files.server_key)
    assert read_identity(files.client_cert, files.client_key)
    (token,) = read_tokens(files.token, None)
    assert len(token.text) >= 43
    assert token.expires == BEGIN + timedelta(days=30)
    for path in (files.ca, files.server_cert, files.client_cert):
        assert certificate(path).not_valid_after_utc == BEGIN + timedelta(days=30)
        assert certificate(path).not_valid_before_utc == BEGIN - timedelta(days=1)


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Private keys and the token have mode 0600, the folder 0700, and there is no key of the authority."""
    files = make_keys(tmp_path / "keys", ["localhost"], 30)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files.path.iterdir()}
    secrets = {name for name, mode in modes.items() if mode == 0o600}
    assert secrets == {"server.key", "client.key", "token"}
    assert set(modes) - secrets == {"ca.pem", "server.pem", "client.pem"}
    assert stat.S_IMODE(files.path.stat().st_mode) == 0o700


def test_a_certificate_is_good_for_one_purpose(tmp_path: Path) -> None:
    """The server's names its hosts and serves, the robot's calls, and neither can sign another."""
    files = make_keys(tmp_path / "keys", ["gpu-box", "10.0.0.7", "::1"], 30)
    server, client = certificate(files.server_cert), certificate(files.client_cert)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gpu-box"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "::1"]
    uses = {
        ExtendedKeyUsageOID.SERVER_AUTH: server,
        ExtendedKeyUsageOID.CLIENT_AUTH: client,
    }
    for purpose, each in uses.items():
        assert list(each.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]
        assert not each.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        each.verify_directly_issued_by(certificate(files.ca))


def test_nothing_is_overwritten_unless_told(tmp_path: Path) -> None:
    """A second set in the same folder is refused before a file is touched, and replaces all with force."""
    files = make_keys(tmp_path, ["localhost"], 30)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    files.ca.unlink()
    with pytest.raises(ConfigError, match=r"^output_dir: .*server\.pem exists; .*--force"):
        make_keys(tmp_path, ["localhost"], 30)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()}.items() <= before.items()
    files.token.chmod(0o644)
    make_keys(tmp_path, ["localhost"], 30, force=True)
    assert all(path.read_bytes() != content for path, content in before.items())
    assert stat.S_IMODE(files.token.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file in the way is named with the key."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^output_dir: .* cannot be written: Not a directory"):
        make_keys(tmp_path / "file" / "keys", ["localhost"], 30)


def test_hosts_are_a_list_with_commas() -> None:
    """Names and addresses come out once each, in order."""
    assert host_names("gpu-box, 10.0.0.7,::1,gpu-box,a.b_c.d") == ("gpu-box", "10.0.0.7", "::1", "a.b_c.d")


@pytest.mark.parametrize("text", ["", ",", "a b", "gpu:8080", "*.example.org", "ü", "a..b", "x" * 300])
def test_what_is_no_host_is_refused(text: str) -> None:
    """A port, a pattern or a slip is named, not signed."""
    with pytest.raises(ConfigError, match=r"^host: .* is no host; allowed are"):
        host_names(text)
