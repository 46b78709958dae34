"""The small questions asked of everything that came over the wire, about length, text and range.

A name or a task ends up in logs, file names and on terminals; control
characters in it are refused here once, so nobody has to escape them later.
Every refusal names the field as policy.proto does.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from segue.errors import RemoteProtocolError
from segue.wire.version import MAX_NAME_CHARS

# Controls, halves of surrogate pairs, and the two Unicode line ends.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def check_text(value: str, field: str, max_chars: int = MAX_NAME_CHARS) -> str:
    """Returns `value` when it has at most `max_chars` characters and is one line of text.

    Raises:
        RemoteProtocolError: it is longer or holds NUL, a newline or another control character.
    """
    if len(value) > max_chars:
        raise RemoteProtocolError(f"{field}: {len(value)} characters, at most {max_chars} are allowed")
    if any(unicodedata.category(char) in _FORBIDDEN_CATEGORIES for char in value):
        raise RemoteProtocolError(f"{field}: holds a control character: {value[:80]!a}")
    return value


def check_name(value: str, field: str) -> str:
    """Returns `value` when it is a name: not empty, short, one line.

    Raises:
        RemoteProtocolError: it is not.
    """
    if not value:
        raise RemoteProtocolError(f"{field}: empty")
    return check_text(value, field)


def check_unique(names: Sequence[str], field: str) -> None:
    """Refuses a list that holds a name twice.

    Raises:
        RemoteProtocolError: it does.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RemoteProtocolError(f"{field}: {', '.join(twice)} appears more than once")


def check_range(value: float, field: str, low: float, high: float) -> None:
    """Refuses a number outside `low`..`high`, both included; NaN is outside of everything.

    Raises:
        RemoteProtocolError: it is outside.
    """
    if not low <= value <= high:
        raise RemoteProtocolError(f"{field}: {value} is outside {low}..{high}")
