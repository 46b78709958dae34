"""Help texts, generated from the configuration's dataclasses so that they cannot disagree with them.

Each flag is listed once with what is allowed, its default and its meaning,
under the room that it belongs to. Nothing heavy is imported: the text is on the
screen before numpy would be loaded.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from pathlib import Path

from segue.config.schema import TAG, Field, Leaf, Named, allowed, fields_of, leaves

ASKING = frozenset({"--help", "-h"})


@dataclass(frozen=True, slots=True)
class Page:
    """What stands around the flags of a verb."""

    verb: str
    summary: str
    examples: tuple[str, ...]
    config: type

    def text(self) -> str:
        """Returns the whole help page."""
        usage = f"usage: segue {self.verb} [--key=value …] [--config_path=FILE.yaml]"
        examples = "\n".join(f"  {each}" for each in self.examples)
        sections = [f"{heading}\n{''.join(rows)}" for heading, rows in _sections(self.config).items()]
        return "\n".join((f"segue {self.verb}: {self.summary}", usage, f"{examples}\n", *sections, _THE_FILE))


_THE_FILE = """The file
  --config_path  a path
      YAML with the same keys; a flag wins over the file"""


def _sections(config: type) -> dict[str, list[str]]:
    """Returns the rows of all flags, by heading; what variants share is listed once, before the rest."""
    found = list(leaves(config))
    times = Counter(leaf.key for leaf in found)
    sections: dict[str, list[str]] = {}
    done: set[str] = set()
    for leaf in found:
        if leaf.key in done:
            continue
        done.add(leaf.key)
        having = [each.variant for each in found if each.key == leaf.key]
        shared = leaf.variant != "" and times[leaf.key] == times[_tag_of(leaf)]
        rows = sections.setdefault(_heading(leaf, having, shared), [])
        if shared and leaf.key.endswith(f".{TAG}"):
            rows.insert(0, _tag_row([each for each in found if each.key == leaf.key]))
        else:
            rows.append(_row(leaf))
    return sections


def _heading(leaf: Leaf, having: list[str], shared: bool) -> str:
    """Returns what stands above a leaf that the variants `having` have; `shared` when these are all."""
    about = _about(leaf.room.__mro__[1] if shared else leaf.room)
    if leaf.variant and not shared:
        return f"With --{_tag_of(leaf)}={', '.join(having)}: {about}"
    return about


def _tag_of(leaf: Leaf) -> str:
    return f"{leaf.key.split('.')[0]}.{TAG}"


def _about(cls: type) -> str:
    return (inspect.getdoc(cls) or "").splitlines()[0].rstrip(".")


def _tag_row(variants: list[Leaf]) -> str:
    choices = ", ".join(leaf.variant for leaf in variants)
    lines = "".join(f"      {leaf.variant}: {_about(leaf.room)}\n" for leaf in variants)
    return f"  --{variants[0].key}  one of {choices}  [required]\n{lines}"


def _row(leaf: Leaf) -> str:
    field = leaf.field
    default = "required" if field.default is MISSING else f"default: {_text(field.default)}"
    kinds = "".join(_kinds(field))
    return f"  --{leaf.key}  {allowed(field)}  [{default}]\n      {field.help.text}\n{kinds}"


def _kinds(field: Field) -> Iterator[str]:
    """Yields one line for each variant that a map may hold, with the keys it takes."""
    named = field.mark(Named)
    for tag, cls in (named.classes if named else {}).items():
        keys = (f"{f.name}: {_text(f.default)}" for f in fields_of(cls) if f.name != TAG)
        yield f"      {tag}: {{{', '.join(keys)}}}\n"


def _text(value: object) -> str:
    if value is None:
        return "null"
    if value is MISSING:
        return "…"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str | Path):
        return str(value) or '""'
    return str(value)
