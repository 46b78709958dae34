"""The server's configuration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.errors import ConfigError
from segue.server.security import ServerSecurity
from segue.server.settings import ServerConfig, bind_address, check_bind
from segue.wire.keyfiles import Identity, Token


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_word(host: str) -> None:
    """An address of this host alone is bound without a warning."""
    assert check_bind(ServerConfig(host=host)) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "robots.example"])
def test_another_address_needs_insecure_and_warns(host: str) -> None:
    """An address that others can reach is refused without `insecure`, and warned about with it."""
    with pytest.raises(ConfigError, match="--insecure") as refused:
        check_bind(ServerConfig(host=host))
    assert host in str(refused.value)
    warning = check_bind(ServerConfig(host=host, security=ServerSecurity(insecure=True)))
    assert warning is not None
    assert host in warning


@pytest.mark.parametrize(
    ("security", "warns"),
    [
        (ServerSecurity(), "without encryption: whoever reaches this port"),
        (ServerSecurity(tokens=(Token("t" * 40),)), "without encryption: whoever overhears the token"),
        (ServerSecurity(Identity(b"", b"")), "with TLS alone: whoever reaches this port"),
    ],
)
def test_half_of_what_is_needed_is_not_enough(security: ServerSecurity, warns: str) -> None:
    """TLS without proof, and proof without TLS, need the word too, and the warning says what is open."""
    with pytest.raises(ConfigError, match="--insecure"):
        check_bind(ServerConfig(host="0.0.0.0", security=security))
    warning = check_bind(ServerConfig(host="0.0.0.0", security=replace(security, insecure=True)))
    assert warning is not None
    assert warns in warning


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize(
    "security",
    [
        ServerSecurity(Identity(b"", b""), tokens=(Token("t" * 40),)),
        ServerSecurity(Identity(b"", b""), client_ca=b"ca"),
    ],
)
def test_tls_with_a_token_or_mutual_tls_needs_no_word(security: ServerSecurity, insecure: bool) -> None:
    """Encrypted and guarded, any address is bound without a warning, whatever else was said."""
    assert check_bind(ServerConfig(host="0.0.0.0", security=replace(security, insecure=insecure))) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("port", 65_536), ("port", -1), ("inference_latency_s", -0.1), ("max_robots", 0), ("max_batch", 0)],
)
def test_a_value_out_of_range_is_refused_by_key(key: str, value: float) -> None:
    """A value out of range is refused with key, value and what is allowed."""
    with pytest.raises(ConfigError, match=rf"{key}: {value} is not allowed; allowed is \d"):
        ServerConfig(**{key: value})


def test_an_ipv6_address_is_put_in_brackets() -> None:
    """Host and port are joined as gRPC takes them."""
    assert bind_address(ServerConfig(host="::1", port=5)) == "[::1]:5"
    assert bind_address(ServerConfig(port=5)) == "127.0.0.1:5"
