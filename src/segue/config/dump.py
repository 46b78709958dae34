"""From a configuration back to YAML that loads to the same configuration.

Every run writes this beside its records, so that ``--config_path`` on that file
repeats the run. Keys are those of the flags; nothing is left out, defaults
included, since a later version may have others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segue.config.schema import Field, Flat, Named, Variants, fields_of


def to_yaml(config: object) -> str:
    """Returns `config` as YAML text."""
    import yaml

    return str(yaml.safe_dump(as_tree(config), sort_keys=False, allow_unicode=True))


def as_tree(config: object) -> dict[str, Any]:
    """Returns `config` as nested maps of plain values, with the flags' keys."""
    tree: dict[str, Any] = {}
    for field in fields_of(type(config)):
        value = getattr(config, field.name)
        if field.mark(Flat):
            tree.update(as_tree(value))
        else:
            tree[field.name] = _plain(field, value)
    return tree


def _plain(field: Field, value: Any) -> object:
    if field.mark(Named):
        return {name: as_tree(each) for name, each in value.items()}
    if field.mark(Variants) or field.is_room:
        return as_tree(value)
    return str(value) if isinstance(value, Path) else value
