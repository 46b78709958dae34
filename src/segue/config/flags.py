"""From `argv` to pairs of key and text, in order, with nothing interpreted.

``--key=value``, ``--key value`` and, for a switch, a bare ``--key`` are the
same thing. There are no short forms and no positional arguments. What a text
means is decided by the type of its key, in `parse`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from segue.config.refusal import shown
from segue.errors import UsageError


def pairs(argv: Sequence[str], switches: Collection[str]) -> list[tuple[str, str]]:
    """Splits `argv` into (key, text).

    Args:
        argv: what follows the verb.
        switches: keys of type bool, which may stand without a value.

    Raises:
        UsageError: something is no flag, or a flag has no value.
    """
    found: list[tuple[str, str]] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        key, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not key:
            raise UsageError(f"{shown(word)}: expected a flag such as --key=value")
        if not equals:
            text = _following(key, rest, switches)
        found.append((key, text))
    return found


def _following(key: str, rest: list[str], switches: Collection[str]) -> str:
    if rest and not rest[0].startswith("--"):
        return rest.pop(0)
    if key in switches:
        return "true"
    raise UsageError(f"--{shown(key)}: a value is missing; write --{shown(key)}=VALUE")
