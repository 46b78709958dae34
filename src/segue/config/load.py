"""Flags over file over defaults: one resolved configuration, or one precise error.

``--config_path`` names a YAML file with the same keys as the flags; a flag wins
over the file. A wrong flag is a `UsageError` (exit 64), a wrong file or value in
it a `ConfigError` (exit 78); either way the message is one line. Names that
LeRobot taught and that mean nothing here are taken with a note that says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

from segue.config import lerobot
from segue.config.flags import pairs
from segue.config.refusal import Refused, nearest, shown
from segue.config.run import RunConfig, check_flags, idle_flags
from segue.config.schema import Leaf, leaves, rooms
from segue.config.serve import ServeConfig
from segue.errors import ConfigError, UsageError

FILE_FLAG = "config_path"
MAX_FILE_BYTES = 128 * 1024
NOTHING_FOREIGN = lerobot.Foreign()


class Resolvable(Protocol):
    """A configuration that can check itself as a whole."""

    def resolve(self, given: frozenset[str]) -> Self:
        """Returns itself made whole and checked; `given` are the keys that the user set."""
        ...


C = TypeVar("C", bound=Resolvable)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[C]):
    """A configuration, and where it came from.

    Attributes:
        notes: what the user should be told about it, one line each.
        flags: the keys that were given as flags.
    """

    config: C
    notes: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()

    @contextmanager
    def blaming_flags(self) -> Iterator[None]:
        """Turns a `ConfigError` that begins with the key of a flag into a `UsageError` about that flag.

        What a room refuses later than the loader would otherwise end with the code of a wrong file.
        """
        try:
            yield
        except ConfigError as error:
            keys = str(error).partition(":")[0].split(", ")
            if isinstance(error, UsageError) or self.flags.isdisjoint(keys):
                raise
            raise UsageError(f"--{error}") from error


def load_run(argv: Sequence[str]) -> Loaded[RunConfig]:
    """Returns the configuration of `segue run`.

    Raises:
        ConfigError: the file or a value in it is wrong.
        UsageError: a flag is wrong.
    """
    loaded = load(RunConfig, argv, lerobot.RUN)
    try:
        check_flags(loaded.config, loaded.flags)
    except Refused as refused:
        raise _error(refused, set(loaded.flags), None, lerobot.RUN) from None
    return replace(loaded, notes=loaded.notes + idle_flags(loaded.config, loaded.flags))


def load_serve(argv: Sequence[str]) -> Loaded[ServeConfig]:
    """Returns the configuration of `segue serve`.

    Raises:
        ConfigError: the file or a value in it is wrong.
        UsageError: a flag is wrong.
    """
    return load(ServeConfig, argv, lerobot.SERVE)


def load(
    cls: type[C],
    argv: Sequence[str],
    foreign: lerobot.Foreign = NOTHING_FOREIGN,
    of_an_arm: bool = False,
) -> Loaded[C]:
    """Returns the configuration of a verb.

    Args:
        cls: what the verb can be told.
        argv: the words after the verb.
        foreign: LeRobot's flags that the verb knows and does not have.
        of_an_arm: the file may be the one that the arm is run with: what a run alone needs is passed over.

    Raises:
        ConfigError: the file or a value in it is wrong.
        UsageError: a flag is wrong.
    """
    from segue.config.parse import parse  # brings pydantic, which --help does without

    known = {leaf.key: leaf for leaf in leaves(cls)}
    switches = {key for key, leaf in known.items() if leaf.field.base is bool}
    flags = pairs(argv, switches | foreign.absent.keys())
    _refuse_twice([key for key, _ in flags])
    path = next((text for key, text in flags if key == FILE_FLAG), None)
    tree = {} if path is None else _read(path)
    if of_an_arm:
        tree = _without(tree, _keys(RunConfig) - _keys(cls))
    taken = [key for key in foreign.ignored if tree.pop(key, None) is not None]
    notes = [f"{path}: {key} {foreign.ignored[key]}" for key in taken]
    from_flags: set[str] = set()
    for key, text in flags:
        if key in foreign.ignored:
            notes.append(f"--{key} {foreign.ignored[key]}")
        elif key != FILE_FLAG:
            _overlay(tree, key, _meaning(cls, key, text, known, foreign))
            from_flags.add(key)
    try:
        config = parse(cls, tree).resolve(frozenset(_flat(tree)))
        return Loaded(config, tuple(notes), frozenset(from_flags))
    except Refused as refused:
        raise _error(refused, from_flags, path, foreign) from None


def _keys(cls: type) -> set[str]:
    return {leaf.key for leaf in leaves(cls)} | set(rooms(cls))


def _without(tree: Mapping[str, Any], keys: set[str], prefix: str = "") -> dict[str, Any]:
    """Returns `tree` less what stands at one of the dotted `keys`."""
    kept = {name: value for name, value in tree.items() if f"{prefix}{name}" not in keys}
    return {
        name: _without(value, keys, f"{prefix}{name}.") if isinstance(value, Mapping) else value
        for name, value in kept.items()
    }


def _refuse_twice(keys: Sequence[str]) -> None:
    for key, count in Counter(keys).items():
        if count > 1:
            raise UsageError(f"--{shown(key)}: given {count} times; expected once")


def _meaning(cls: type, key: str, text: str, known: Mapping[str, Leaf], foreign: lerobot.Foreign) -> object:
    """Returns the text of a leaf as it is and that of a map as the map that it writes."""
    if key in foreign.absent:
        raise UsageError(f"--{key}: {foreign.absent[key]}")
    is_map = key in set(rooms(cls)) or (key in known and _is_map(known[key]))
    if not is_map and key not in known:
        raise UsageError(f"--{shown(key)}: no such flag{nearest(key, known, '--') or '; --help lists all'}")
    if not is_map:
        return text
    value = _yaml(text, UsageError, f"--{key}={shown(text)}")
    return text if value is None else value


def _is_map(leaf: Leaf) -> bool:
    return not leaf.field.is_leaf


def _overlay(tree: MutableMapping[str, Any], key: str, value: object) -> None:
    *path, last = key.split(".")
    for name in path:
        below = tree.get(name)
        if not isinstance(below, MutableMapping):
            # What the file or an earlier flag wrote here is no map; the flag wins.
            below = tree[name] = {}
        tree = below
    tree[last] = value


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in tree.items():
        keys.append(prefix + key)
        if isinstance(value, Mapping):
            keys += _flat(value, f"{prefix}{key}.")
    return keys


def _error(refused: Refused, from_flags: set[str], path: str | None, foreign: lerobot.Foreign) -> ConfigError:
    key = refused.key
    says = foreign.absent.get(key, refused.says)
    if path is None or any(key == flag or key.startswith(f"{flag}.") for flag in from_flags):
        value = f"={refused.value}" if refused.value else ""
        return UsageError(f"--{shown(key)}{value}: {says}")
    value = f": {refused.value}" if refused.value else ""
    return ConfigError(f"{shown(path)}: {shown(key)}{value}: {says}")


def _read(path: str) -> dict[str, Any]:
    where = f"--{FILE_FLAG}={shown(path)}"
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file in UTF-8"
        raise ConfigError(f"{where}: expected a readable YAML file: {reason}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{where}: expected a file of at most 128 KiB")
    tree = _yaml(text, ConfigError, where)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: expected a map of keys and values at the top, not {shown(tree)}")
    return tree


def _yaml(text: str, error: type[ConfigError], where: str) -> Any:
    """Returns what `text` says with every scalar left as text."""
    import yaml

    try:
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise error(f"{where}: not valid YAML{line}") from None
    except (RecursionError, ValueError):
        raise error(f"{where}: expected YAML that is less deeply nested") from None
