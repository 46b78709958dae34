"""From a tree of texts to a configuration, or one refusal that names key, value and what is allowed.

The tree comes from YAML read without types (every scalar is a text) and from
flags, so a value means the same in a file and on the command line: ``007`` is
a fine robot id, ``no`` a fine task, and only a field of type bool reads ``no``
as false. pydantic judges each leaf; the walk over rooms is ours, because the
keys are flat where LeRobot's flags are. Nothing here reads files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any, Literal, TypeVar, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from segue.config.refusal import Refused, nearest, shown
from segue.config.schema import TAG, Field, Flat, Named, Variants, allowed, fields_of

C = TypeVar("C")

Tree = Mapping[str, object]  # values are str, list or another tree

NULLS = frozenset({"", "null", "~", "none"})
FINITE = ConfigDict(allow_inf_nan=False)
NAME = re.compile(r"[A-Za-z0-9_\-]{1,64}")


def parse(cls: type[C], tree: Tree, prefix: str = "") -> C:
    """Returns the configuration of class `cls` that `tree` describes, defaults filled in.

    Raises:
        Refused: a key is unknown or missing, or its value is not allowed.
    """
    fields = fields_of(cls)
    _refuse_unknown(tree, keys_at(cls), prefix)
    values: dict[str, object] = {}
    for field in fields:
        if field.mark(Flat):
            lent = keys_at(field.base)
            values[field.name] = parse(field.base, {k: tree[k] for k in tree if k in lent}, prefix)
        elif field.name in tree:
            values[field.name] = _value(field, tree[field.name], prefix + field.name)
        elif field.is_room:
            values[field.name] = parse(field.base, {}, f"{prefix}{field.name}.")
        elif field.default is MISSING:
            raise _missing(field, prefix + field.name)
    return cls(**values)


def keys_at(cls: type) -> frozenset[str]:
    """Returns the keys that a map for `cls` may have, those lent by flat rooms included."""
    own = {f.name for f in fields_of(cls) if not f.mark(Flat)}
    return frozenset(own.union(*(keys_at(f.base) for f in fields_of(cls) if f.mark(Flat))))


def _refuse_unknown(tree: Tree, known: frozenset[str], prefix: str) -> None:
    for key in tree:
        if key not in known:
            hint = nearest(key, known) or _known(known)
            raise Refused(prefix + key, f"no such key{hint}")


def _known(known: frozenset[str]) -> str:
    listed = f"; known here are {', '.join(sorted(known))}"
    # The top level has thirty keys, which is no longer a line that anybody reads.
    return listed if len(listed) <= 200 else "; --help lists all"


def _missing(field: Field, key: str) -> Refused:
    variants = field.mark(Variants)
    if variants:
        return Refused(f"{key}.{TAG}", f"is required: one of {', '.join(variants.classes)}")
    return Refused(key, f"is required: {allowed(field)}")


def _value(field: Field, raw: object, key: str) -> object:
    variants, named = field.mark(Variants), field.mark(Named)
    if variants:
        return _variant(variants, raw, key)
    if named:
        maps = _names(raw, key, field)
        return {name: _variant(named, each, f"{key}.{name}") for name, each in maps}
    if field.is_room:
        return parse(field.base, _map(raw, key), f"{key}.")
    return _leaf(field, raw, key)


def _names(raw: object, key: str, field: Field) -> list[tuple[str, object]]:
    tree = _map(raw, key, allowed(field))
    for name in tree:
        if not NAME.fullmatch(name):
            raise Refused(key, f"{shown(name)} is no name: expected letters, digits, - and _, up to 64")
    return list(tree.items())


def _variant(kinds: Variants | Named, raw: object, key: str) -> object:
    tree, choices = _map(raw, key), ", ".join(kinds.classes)
    if TAG not in tree:
        raise Refused(f"{key}.{TAG}", f"is required: one of {choices}")
    tag = tree[TAG]
    if not isinstance(tag, str) or tag not in kinds.classes:
        expected = f"expected one of {choices}" if len(kinds.classes) > 1 else f"expected {choices}"
        why = kinds.absent.get(tag) if isinstance(tag, str) else None
        raise Refused(f"{key}.{TAG}", f"{expected}; {why}" if why else expected, shown(tag))
    return parse(kinds.classes[tag], tree, f"{key}.")


def _map(raw: object, key: str, expected: str = "a map such as {key: value}") -> Tree:
    if isinstance(raw, Mapping):
        return raw
    if isinstance(raw, str) and raw.strip().lower() in NULLS:
        return {}
    raise Refused(key, f"expected {expected}", shown(raw))


def _leaf(field: Field, raw: object, key: str) -> object:
    if isinstance(raw, str):
        if field.optional and raw.strip().lower() in NULLS:
            return None
        if get_origin(field.base) is Literal:
            raw = raw.lower()  # LeRobot writes some choices in capitals
    try:
        return _adapter(field).validate_python(raw)
    # A lone surrogate, which a command line may hold, makes pydantic raise the second one.
    except (ValidationError, UnicodeError):
        raise Refused(key, f"expected {allowed(field)}", shown(raw)) from None


_adapters: dict[object, TypeAdapter[Any]] = {}


def _adapter(field: Field) -> TypeAdapter[Any]:
    if field.annotation not in _adapters:
        _adapters[field.annotation] = TypeAdapter(field.annotation, config=FINITE)
    return _adapters[field.annotation]
