"""How a refusal is worded: the key, the value on one short line, and a guess at what was meant.

Values come from files and command lines and may be megabytes, control
characters or broken Unicode; a message shows them short and harmless.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches

MAX_SHOWN = 80
_MAX_QUOTED = 200


class Refused(Exception):
    """One key is wrong.

    Attributes:
        key: dotted.
        value: what it was set to, as text for a person; empty when that does not matter.
        says: what is wrong, and what is allowed.
    """

    def __init__(self, key: str, says: str, value: str = "") -> None:
        super().__init__(f"{key}: {says}")
        self.key = key
        self.says = says
        self.value = value


def shown(value: object) -> str:
    """Returns `value` on one short line: bare when it is plain text, else quoted and cut."""
    if isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_SHOWN:
        return value
    short = reprlib.Repr()
    short.maxstring = short.maxother = MAX_SHOWN
    short.maxlevel = 2
    # A list of six such texts, or one of escapes alone, is still a page.
    text = short.repr(value)
    return text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 1] + "…"


def nearest(word: str, known: Iterable[str], dashes: str = "") -> str:
    """Returns a half sentence that proposes the known key most like `word`, or nothing."""
    # Longer words would be compared at quadratic cost, and no key is that long.
    close = get_close_matches(word.replace("-", "_")[:MAX_SHOWN], list(known), n=1, cutoff=0.65)
    return f"; did you mean {dashes}{close[0]}?" if close else ""
