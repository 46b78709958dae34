"""The few kinds of value that configurations share, with their bounds.

Every number has two bounds: what lies beyond is a slip of the finger, and a
bound that is never wrong is better than a wait of 10^9 seconds.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import annotated_types as at

Share = Annotated[float, at.Interval(ge=0, le=1)]
Count = Annotated[int, at.Interval(ge=1, le=100_000)]
Steps = Annotated[int, at.Interval(ge=1, le=1000)]
Weight = Annotated[float, at.Interval(gt=0, le=1000)]
Quality = Annotated[int, at.Interval(ge=1, le=100)]
Seed = Annotated[int, at.Interval(ge=0, le=2**32 - 1)]
Duration = Annotated[float, at.Interval(gt=0, le=1_000_000)]
Seconds = Annotated[float, at.Interval(ge=0, le=3600)]
Limit = Annotated[float, at.Interval(gt=0, le=3600)]
Hz = Annotated[float, at.Interval(gt=0, le=1000)]
Pixels = Annotated[int, at.Interval(ge=16, le=4096)]
Port = Annotated[int, at.Interval(ge=0, le=65535)]
MAX_TEXT_CHARS = 1000
Text = Annotated[str, at.Len(0, MAX_TEXT_CHARS), at.Predicate(str.isprintable)]


def is_address(text: str) -> bool:
    """Returns whether `text` is ``host:port``, a host that is an IPv6 address in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) <= 65535:
        return False
    if host.startswith("[") and host.endswith("]"):
        return is_host(host[1:-1])
    return is_host(host) and ":" not in host


def is_host(text: str) -> bool:
    """Returns whether `text` looks like a host name or an IP address."""
    if _is_plain(text) and len(text) <= 253:
        return True
    try:
        zone = getattr(ipaddress.ip_address(text), "scope_id", None)
    except ValueError:
        return False
    return zone is None or _is_plain(zone)


def _is_plain(text: str) -> bool:
    """Returns whether there is a letter or digit in `text`, and nothing beside but dots, dashes and bars."""
    bare = text.replace(".", "").replace("-", "").replace("_", "")
    return bare.isascii() and bare.isalnum()


def is_printable_path(path: Path) -> bool:
    """Returns whether `path` holds no control character, NUL or broken Unicode."""
    return str(path).isprintable()


Address = Annotated[str, at.Predicate(is_address)]
Host = Annotated[str, at.Predicate(is_host)]
PlainPath = Annotated[Path, at.Predicate(is_printable_path)]
