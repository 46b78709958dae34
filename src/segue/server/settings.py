"""What a policy server can be told, and on which addresses it may listen.

Unless connections are encrypted and clients prove who they are, anybody who
reaches the port may use the policy: an address other than loopback then needs
an explicit word.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.errors import ConfigError
from segue.server.security import ServerSecurity, bind_objection


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The server's configuration.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        inference_latency_s: every request takes at least this long, to rehearse slow policies.
        max_robots: sessions at a time.
        max_batch: requests in one call of the policy.
        watchdog_s: a policy that is inside one batch for longer, and for ten warm inferences, has hung.
        requests_per_s: of one robot; a quarter of it may come at once.
        drain_s: how long requests in flight may still take when the server is told to stop.
        security: what the server proves, and what it wants proved.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    inference_latency_s: float = 0.0
    max_robots: int = 16
    max_batch: int = 8
    drain_s: float = 5.0
    watchdog_s: float = 5.0
    requests_per_s: float = 200.0
    security: ServerSecurity = field(default_factory=ServerSecurity)

    def __post_init__(self) -> None:
        _check(self, "port", 0, 65_535)
        _check(self, "inference_latency_s", 0.0, 60.0)
        _check(self, "max_robots", 1, 1_000)
        _check(self, "max_batch", 1, 1_000)
        _check(self, "drain_s", 0.0, 60.0)
        _check(self, "requests_per_s", 1.0, 10_000.0)
        _check(self, "watchdog_s", 0.1, 3_600.0)


def check_bind(config: ServerConfig) -> str | None:
    """Returns a warning when strangers may use or overhear the server, None when they may not.

    Raises:
        ConfigError: they may, and `security.insecure` does not allow it.
    """
    security = config.security
    objection = bind_objection(config.host, encrypted=security.encrypted, guarded=security.guarded)
    if objection is None:
        return None
    if not security.insecure:
        raise ConfigError(f"host: {config.host}: {objection}")
    if security.encrypted:
        return f"listening on {config.host} with TLS alone: whoever reaches this port may use the policy"
    who = "whoever overhears the token" if security.guarded else "whoever reaches this port"
    return f"listening on {config.host} without encryption: {who} may use the policy"


def bind_address(config: ServerConfig) -> str:
    """Returns host and port as gRPC takes them, IPv6 in brackets."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{host}:{config.port}"


def _check(config: ServerConfig, key: str, low: float, high: float) -> None:
    value = getattr(config, key)
    if not low <= value <= high:
        raise ConfigError(f"{key}: {value} is not allowed; allowed is {low} to {high}")
