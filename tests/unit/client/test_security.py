"""The robot's files go together or are refused, and its token travels encrypted or stays here."""

from __future__ import annotations

import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from segue.client.proxies import proxy_use
from segue.client.security import LinkFiles, LinkSecurity, check_proxy, check_token
from segue.errors import ConfigError
from tests.key_sets import key_set, robot

TOKEN, SECOND = "t" * 40, "u" * 40


def test_the_files_say_what_the_robot_does(tmp_path: Path) -> None:
    """An authority turns TLS on, a certificate goes with it, and of several tokens the first is used."""
    keys = key_set(tmp_path / "keys")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n{SECOND}\n")
    tokens.chmod(0o600)
    security = replace(robot(keys, keys), token_file=tokens).read("gpu-box")
    assert security.authorities == keys.ca.read_bytes()
    assert security.identity is not None
    assert security.identity.certificate == keys.client_cert.read_bytes()
    assert (security.token, security.server_name, security.warnings) == (TOKEN, "gpu-box", ())
    assert isinstance(security.context, ssl.SSLContext)
    assert LinkFiles().read() == LinkSecurity()


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    """Neither token nor private key is in the debugging view of anything that holds them."""
    keys = key_set(tmp_path / "keys")
    files = replace(robot(keys, keys), environment_token=TOKEN)
    security = files.read()
    assert security.token == TOKEN
    assert TOKEN not in repr(files) + repr(security)
    assert "PRIVATE" not in repr(security)


@pytest.mark.parametrize("name", ["", "gpu-box"])
def test_what_means_nothing_without_tls_is_refused(tmp_path: Path, name: str) -> None:
    """A certificate of the robot, or a name for the server, without an authority is a slip."""
    keys = key_set(tmp_path / "keys")
    files = LinkFiles() if name else LinkFiles(cert_file=keys.client_cert, key_file=keys.client_key)
    with pytest.raises(ConfigError, match=r"means nothing without TLS; allowed beside tls\.ca_file"):
        files.read(name)


def test_an_exposed_key_is_warned_about(tmp_path: Path) -> None:
    """A private key that others may read is told to the person who starts the run."""
    keys = key_set(tmp_path / "keys")
    keys.client_key.chmod(0o644)
    (warning,) = robot(keys, keys).read().warnings
    assert str(keys.client_key) in warning


@pytest.mark.parametrize(
    ("address", "insecure", "leaves"),
    [
        ("127.0.0.1:8080", False, True),
        ("[::1]:8080", False, True),
        ("localhost:8080", False, True),
        ("LocalHost.:8080", False, True),
        ("10.0.0.7:8080", False, False),
        ("gpu-box:8080", False, False),
        ("gpu-box:8080", True, True),
    ],
)
def test_a_token_in_plain_text_stays_here(tmp_path: Path, address: str, insecure: bool, leaves: bool) -> None:
    """To another machine a token goes encrypted, or by an explicit word, or not at all."""
    plain = LinkSecurity(token=TOKEN)
    encrypted = replace(robot(key_set(tmp_path / "keys")), environment_token=TOKEN).read()
    assert check_token(address, encrypted, insecure=False) == ()
    assert check_token(address, LinkSecurity(), insecure=False) == ()
    if leaves:
        warnings = check_token(address, plain, insecure=insecure)
        assert [address in each and TOKEN not in each for each in warnings] == [True] * insecure
        return
    with pytest.raises(ConfigError, match=r"^server_address: .*--tls\.ca_file.*--insecure") as refused:
        check_token(address, plain, insecure=insecure)
    assert TOKEN not in str(refused.value)


def test_a_token_in_plain_text_goes_through_no_proxy(tmp_path: Path) -> None:
    """Through a proxy a token goes encrypted, or by an explicit word and said, even to this machine."""
    use = proxy_use("127.0.0.1:1", {"http_proxy": "http://me:secret@cache:3128"}, wanted=True)
    plain = LinkSecurity(token=TOKEN, proxy=use)
    encrypted = replace(robot(key_set(tmp_path / "keys")), environment_token=TOKEN).read()
    assert check_proxy(replace(encrypted, proxy=use), insecure=False) == ()
    assert check_proxy(LinkSecurity(token=TOKEN), insecure=False) == ()
    with pytest.raises(
        ConfigError, match=r"^use_proxy: cache:3128 \(http_proxy\): .*--tls\.ca_file"
    ) as refused:
        check_proxy(plain, insecure=False)
    (warning,) = check_proxy(plain, insecure=True)
    (without,) = check_proxy(LinkSecurity(proxy=use), insecure=False)
    assert "token" in warning
    assert "token" not in without
    for said in (str(refused.value), warning, without):
        assert "cache:3128" in said
        assert "secret" not in said
        assert TOKEN not in said


def test_neither_end_needs_the_package_that_makes_keys() -> None:
    """Robot and server run where cryptography is not installed."""
    code = (
        "import sys; sys.modules['cryptography'] = None; "
        "import segue.client.launch, segue.server.lifecycle, segue.cli.plans"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
