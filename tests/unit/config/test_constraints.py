"""Addresses are told from what only looks like them."""

from __future__ import annotations

import pytest

from segue.config.constraints import is_address


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "gpu-box.local:1", "localhost:65535", "[::1]:8080"])
def test_an_address_is_a_host_and_a_port(text: str) -> None:
    """Names, IPv4 and bracketed IPv6 with a port are addresses."""
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "host",
        "host:",
        ":80",
        "host:0",
        "host:65536",
        "host:99999999999",
        "::1:80",
        "a b:80",
        "h:８0",
        "[x]:",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    """A missing or impossible host or port is seen before anything is dialled."""
    assert not is_address(text)
