"""Loopback is told from all that others may reach."""

from __future__ import annotations

import pytest

from segue.wire.hosts import is_loopback, split_address


@pytest.mark.parametrize(
    ("host", "safe"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("LocalHost", True),
     ("localhost.", True), ("localhost.evil", False), ("0.0.0.0", False),
     ("192.168.0.2", False), ("::", False), ("gpu-box", False)],
)  # fmt: skip
def test_only_this_machine_reaches_loopback(host: str, safe: bool) -> None:
    """What others may reach is never taken for loopback, a name of unknown meaning included."""
    assert is_loopback(host) is safe


@pytest.mark.parametrize(
    ("address", "parts"),
    [("gpu:8080", ("gpu", 8080)), ("[::1]:1", ("::1", 1)), ("h.local:2", ("h.local", 2))],
)
def test_an_address_is_taken_apart(address: str, parts: tuple[str, int]) -> None:
    """Host and port come out as a socket takes them, IPv6 without brackets."""
    assert split_address(address) == parts
