"""The small questions asked of everything that came over the wire, about length, text and range.

A name or a task ends up in logs, file names and on terminals; control
characters in it are refused here once, so nobody has to escape them later.
Every refusal names the field as policy.proto does, says the value and what is
allowed, and is one short line: a person reads it as the reason why the arm
does not move.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from segue.errors import RemoteProtocolError
from segue.wire.version import MAX_NAME_CHARS

MAX_SENTENCE_CHARS = 200
_SHOWN_CHARS = 40

# Controls, halves of surrogate pairs, and the two Unicode line ends.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# They turn around how the rest of a line is shown: a person would read what is not there.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def wrong(field: str, says: str) -> RemoteProtocolError:
    """Returns the refusal of `field`: one printable line, whatever a peer put into it."""
    return RemoteProtocolError(one_line(f"{field}: {says}", MAX_SENTENCE_CHARS))


def one_line(text: str, most: int) -> str:
    """Returns at most `most` characters of `text`, fit for a terminal."""
    line = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: most + 1])
    return line if len(line) <= most else line[: most - 1] + "…"


def brief(text: str) -> str:
    """Returns a peer's name so short that the rest of a sentence has room."""
    return one_line(text, _SHOWN_CHARS)


def quoted(text: str) -> str:
    """Returns a peer's text in quotes, escaped and short."""
    shown = f"{text[:_SHOWN_CHARS]!a}"
    return shown if len(text) <= _SHOWN_CHARS else f"{shown} and more"


def check_text(value: str, field: str, max_chars: int = MAX_NAME_CHARS) -> str:
    """Returns `value` when it has at most `max_chars` characters and is one line of text.

    Raises:
        RemoteProtocolError: it is longer or holds NUL, a newline or another control character.
    """
    if len(value) > max_chars:
        raise wrong(field, f"{len(value)} characters, at most {max_chars} are allowed")
    # Nearly all text is printable throughout, and that is asked a hundred times faster.
    if not value.isprintable() and any(_forbidden(char) for char in value):
        raise wrong(field, f"holds a control character: {quoted(value)}")
    return value


def _forbidden(char: str) -> bool:
    return char in _TURNING or unicodedata.category(char) in _FORBIDDEN_CATEGORIES


def check_name(value: str, field: str) -> str:
    """Returns `value` when it is a name: not empty, short, one line.

    Raises:
        RemoteProtocolError: it is not.
    """
    if not value:
        raise wrong(field, "empty, expected a name")
    return check_text(value, field)


def check_unique(names: Sequence[str], field: str) -> None:
    """Refuses a list that holds a name twice.

    Raises:
        RemoteProtocolError: it does; the first such name is named.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise wrong(field, f"{brief(name)} appears more than once")
        seen.add(name)


def check_range(value: float, field: str, low: float, high: float) -> None:
    """Refuses a number outside `low`..`high`, both included; NaN is outside of everything.

    Raises:
        RemoteProtocolError: it is outside.
    """
    if not low <= value <= high:
        raise wrong(field, f"{value} is outside {low}..{high}")
