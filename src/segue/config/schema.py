"""What a configuration looks like, read from its dataclasses: the one source of truth.

A configuration is a frozen dataclass whose fields are *rooms* (other
dataclasses) or *leaves* (values). Each leaf says by `Annotated` what it means
and what is allowed; help texts, flag names, validation and error messages are
all derived from that. A key is written with dots, ``safety.hold_grace_s``; a
room marked `Flat` lends its keys to the level above, since LeRobot's flags have
no room names. This file describes; it reads no value and imports no pydantic.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import annotated_types as at

M = TypeVar("M")

TAG = "type"  # the key that chooses among variants, as in LeRobot


@dataclass(frozen=True, slots=True)
class Help:
    """What a leaf means; `allowed` replaces the description that is derived from the type."""

    text: str
    allowed: str = ""


@dataclass(frozen=True, slots=True)
class Flat:
    """Marks a room whose keys stand one level up, without the room's name."""


@dataclass(frozen=True, slots=True)
class Variants:
    """Marks a room that is one of several dataclasses, chosen by its key ``type``.

    Attributes:
        classes: by the value of ``type``.
        absent: values that users bring along and that are not here, with half a sentence each.
    """

    classes: Mapping[str, type]
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Named:
    """Marks a map from names to variants; attributes as those of `Variants`."""

    classes: Mapping[str, type]
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a configuration dataclass.

    Attributes:
        annotation: its type with constraints, without ``None`` and without our own marks.
        base: the bare type.
        optional: None is allowed.
        default: its default, or `dataclasses.MISSING`.
        marks: everything that its `Annotated` carries.
    """

    name: str
    annotation: Any
    base: Any
    optional: bool
    default: Any
    marks: tuple[object, ...]

    def mark(self, kind: type[M]) -> M | None:
        """Returns its mark of class `kind`."""
        return next((m for m in self.marks if isinstance(m, kind)), None)

    @property
    def help(self) -> Help:
        """What it means."""
        return self.mark(Help) or Help("")

    @property
    def is_room(self) -> bool:
        """Whether it holds one dataclass of fixed class."""
        return is_dataclass(self.base) and not any(isinstance(m, Variants) for m in self.marks)

    @property
    def is_leaf(self) -> bool:
        """Whether it holds a value."""
        return not self.is_room and self.mark(Variants) is None and self.mark(Named) is None


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field with its full key, the room that explains it, and the variant it belongs to."""

    key: str
    field: Field
    room: type
    variant: str = ""


_fields: dict[type, tuple[Field, ...]] = {}


def fields_of(cls: type) -> tuple[Field, ...]:
    """Returns the fields of a configuration dataclass, in order."""
    if cls not in _fields:
        hints = get_type_hints(cls, include_extras=True)
        _fields[cls] = tuple(_field(f, hints[f.name]) for f in dataclasses.fields(cls))
    return _fields[cls]


def leaves(cls: type, prefix: str = "", variant: str = "") -> Iterator[Leaf]:
    """Yields every leaf (and every map of variants) below `cls`, those of all variants included."""
    for field in fields_of(cls):
        key = prefix + field.name
        variants = field.mark(Variants)
        if field.mark(Flat):
            yield from leaves(field.base, prefix, variant)
        elif variants:
            for tag, each in variants.classes.items():
                yield from leaves(each, f"{key}.", tag)
        elif field.is_room:
            yield from leaves(field.base, f"{key}.", variant)
        else:
            yield Leaf(key, field, cls, variant)


def rooms(cls: type, prefix: str = "") -> Iterator[str]:
    """Yields the keys of the rooms below `cls`, which take a whole map as their value."""
    for field in fields_of(cls):
        variants = field.mark(Variants)
        below = tuple(variants.classes.values()) if variants else (field.base,) if field.is_room else ()
        if field.mark(Flat):
            yield from rooms(field.base, prefix)
            continue
        if below:
            yield prefix + field.name
        for each in below:
            yield from rooms(each, f"{prefix}{field.name}.")


def allowed(field: Field) -> str:
    """Returns in words what `field` may be."""
    named = field.mark(Named)
    if named:
        return f"a map of names to {{{TAG}: {' | '.join(named.classes)}, …}}"
    words = field.help.allowed or _words(field)
    return f"{words}, or null" if field.optional else words


def _words(field: Field) -> str:
    if get_origin(field.base) is Literal:
        choices = get_args(field.base)
        return f"one of {', '.join(choices)}" if len(choices) > 1 else str(choices[0])
    if field.base is bool:
        return "true or false"
    if field.base is Path:
        return "a path"
    if field.base in (int, float):
        kind = "a whole number" if field.base is int else "a number"
        return f"{kind} {_range(field.mark(at.Interval))}".strip()
    length = field.mark(at.Len)
    return f"one line of text, at most {length.max_length} characters" if length else "text"


def _range(interval: at.Interval | None) -> str:
    if interval is None:
        return ""
    if interval.ge is not None:
        return f"from {interval.ge} to {interval.le}"
    return f"above {interval.gt}, at most {interval.le}"


def _field(field: dataclasses.Field[Any], hint: Any) -> Field:
    base, marks = _unwrapped(hint)
    optional = False
    if get_origin(base) in (Union, types.UnionType):
        optional = True
        base, inner = _unwrapped(next(a for a in get_args(base) if a is not type(None)))
        marks = (*marks, *inner)
    ours = (Help, Flat, Variants, Named)
    constraints = tuple(m for m in marks if not isinstance(m, ours))
    annotation = Annotated[base, *constraints] if constraints else base
    default = field.default
    if field.default_factory is not MISSING:
        default = field.default_factory()
    return Field(field.name, annotation, base, optional, default, marks)


def _unwrapped(hint: Any) -> tuple[Any, tuple[object, ...]]:
    if get_origin(hint) is Annotated:
        base, *marks = get_args(hint)
        return base, tuple(marks)
    return hint, ()
