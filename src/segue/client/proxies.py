"""The proxy that the environment names: used when a person asks for it, and named when a dial fails.

gRPC by itself obeys `http_proxy` and its sisters even for 127.0.0.1, and such a
proxy reads token and pictures where there is no TLS. Here they are only looked
at: without the flag nothing is used, and a dial that fails says that there is
one. With the flag gRPC is told host and port of the proxy (see `names`), and
never reads the environment itself. Pure: the environment is an argument.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from segue.errors import ConfigError
from segue.wire.hosts import split_address

KEY = "use_proxy"
# In the order in which they are looked at: gRPC's own, then what others know.
VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")
_HTTP_PORT = 80
_SEPARATORS = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that connects to others by CONNECT.

    Attributes:
        host: name or IP address, an IPv6 address without brackets.
        variable: of the environment, which names it.
        credentials: ``user:password``; empty means none. Never shown.
    """

    host: str
    port: int
    variable: str
    credentials: str = field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} ({self.variable})"

    @property
    def authorization(self) -> str:
        """What its header ``Proxy-Authorization`` says; empty for none."""
        return f"Basic {b64encode(self.credentials.encode()).decode()}" if self.credentials else ""


@dataclass(frozen=True, slots=True)
class ProxyUse:
    """Whether a proxy lies on the way to the server.

    Attributes:
        proxy: it; None when the server is dialled directly.
        note: what to add to the sentence of a dial that failed; empty for nothing.
    """

    proxy: Proxy | None = None
    note: str = ""


DIRECT = ProxyUse()


def proxy_use(address: str, environment: Mapping[str, str], *, wanted: bool) -> ProxyUse:
    """Returns whether the server at `address` is reached through a proxy.

    Args:
        address: ``host:port``.
        environment: may name proxies, in variables of any case.
        wanted: a person asked for it.

    Raises:
        ConfigError: a proxy is wanted, and none is named, or one that cannot be used.
    """
    named = _first(environment, VARIABLES)
    excepted = next((name for name, text in _set(environment, _EXCEPTIONS) if _excepts(text, address)), None)
    if not wanted:
        if named is None or excepted:
            return DIRECT
        return ProxyUse(note=f"{named[0]} is set and not used; --{KEY}=true uses it")
    if named is None:
        allowed = ", ".join(VARIABLES)
        raise ConfigError(
            f"{KEY}: true, and no proxy is named; allowed is true where one of {allowed} is set"
        )
    proxy = _read(*named)
    if excepted:
        return ProxyUse(note=f"the proxy {proxy} is not used, because {excepted} names this server")
    return ProxyUse(proxy, f"dialled through the proxy {proxy}")


def _set(environment: Mapping[str, str], names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yields those of `names` that are set, whatever their case, with their text; lower case goes first."""
    for name in names:
        spelt = sorted((each for each in environment if each.lower() == name), reverse=True)
        yield from ((each, text) for each in spelt if (text := environment[each].strip()))


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str] | None:
    return next(_set(environment, names), None)


def _read(variable: str, text: str) -> Proxy:
    """Returns the proxy in a variable.

    Raises:
        ConfigError: it is none that can be used; the text is not repeated, for a password may be in it.
    """
    parts = _split(text)
    if parts is None or not parts.hostname:
        raise ConfigError(f"{KEY}: {variable} names no proxy that can be read; allowed is http://host:port")
    if parts.scheme != "http":
        says = f"names a proxy of the kind {parts.scheme}; allowed is http://host:port"
        raise ConfigError(f"{KEY}: {variable} {says}")
    secret = "" if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(parts.hostname, parts.port or _HTTP_PORT, variable, secret)


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        usable = parts.port != 0 and text.isprintable() and " " not in text
    except ValueError:
        return None
    return parts if usable else None


def _excepts(text: str, address: str) -> bool:
    """Returns whether `text`, as `no_proxy` has it, excepts `address`."""
    host, port = split_address(address)
    host = host.lower().rstrip(".")
    return any(_matches(entry.lower(), host, port) for entry in _SEPARATORS.split(text) if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    entry = entry.removesuffix(f":{port}") if not _is_ip(entry) else entry
    entry = entry.removeprefix("[").removesuffix("]")
    if _is_ip(host):
        return _is_ip(entry) and ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    name = entry.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_ip(text: str) -> bool:
    """Returns whether `text` is an IP address, or a network such as ``10.0.0.0/8``."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
