"""What a policy server can be told, and on which addresses it may listen.

Until connections are encrypted and clients prove who they are, anybody who
reaches the port may drive the policy: an address other than loopback therefore
needs an explicit word.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from segue.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The server's configuration.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        policy_path: what to load, such as ``builtin:belt`` or a folder.
        device: ``auto``, ``cpu``, ``cuda`` …
        inference_latency_s: every request takes at least this long, to rehearse slow policies.
        max_robots: sessions at a time.
        max_batch: requests in one call of the policy.
        insecure: allows an address other than loopback although nothing is encrypted.
        drain_s: how long requests in flight may still take when the server is told to stop.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    policy_path: str = "builtin:belt"
    device: str = "auto"
    inference_latency_s: float = 0.0
    max_robots: int = 16
    max_batch: int = 8
    insecure: bool = False
    drain_s: float = 5.0

    def __post_init__(self) -> None:
        _check(self, "port", 0, 65_535)
        _check(self, "inference_latency_s", 0.0, 60.0)
        _check(self, "max_robots", 1, 1_000)
        _check(self, "max_batch", 1, 1_000)
        _check(self, "drain_s", 0.0, 60.0)


def check_bind(config: ServerConfig) -> str | None:
    """Returns a warning when the server would listen beyond this host, None when it would not.

    Raises:
        ConfigError: it would, and `insecure` does not allow it.
    """
    if _is_loopback(config.host):
        return None
    if not config.insecure:
        raise ConfigError(
            f"host: {config.host} can be reached from elsewhere, and nothing is encrypted or authenticated; "
            "allowed are 127.0.0.1, ::1 and localhost, or any address together with --insecure"
        )
    return (
        f"listening on {config.host} without encryption or authentication: "
        "whoever reaches this port may use the policy"
    )


def bind_address(config: ServerConfig) -> str:
    """Returns host and port as gRPC takes them, IPv6 in brackets."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{host}:{config.port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may resolve to anything


def _check(config: ServerConfig, key: str, low: float, high: float) -> None:
    value = getattr(config, key)
    if not low <= value <= high:
        raise ConfigError(f"{key}: {value} is not allowed; allowed is {low} to {high}")
