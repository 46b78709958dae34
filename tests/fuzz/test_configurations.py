"""Configurations drawn from the dataclasses themselves: every leaf with values that fit and that do not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.config import RunConfig, ServeConfig, load_run, load_serve
from segue.config.dump import as_tree, to_yaml
from segue.config.schema import Leaf, leaves
from segue.errors import ConfigError

from .targets import config

# Keys whose values are held against other keys, or that hold maps: a value alone says nothing of them.
TOGETHER = {
    "min_execution_steps", "actions_per_chunk", "fps", "control_hz", "record_camera", "episodes", "host",
    "tls.cert_file", "tls.key_file", "robot.cameras", "robot.type", "episode_time_s", "reset_time_s",
    "return_to_initial_position",
}  # fmt: skip
# The least that each kind of robot wants to be told.
ROBOTS: dict[str, dict[str, Any]] = {
    "fake": {"robot": {"type": "fake"}},
    "sim_so101": {"robot": {"type": "sim_so101"}},
    "so101_follower": {"robot": {"type": "so101_follower", "port": "/dev/ttyACM0"}},
    "so100_follower": {"robot": {"type": "so100_follower", "port": "/dev/ttyACM0"}},
}
PLACES = {
    "server_address": st.sampled_from(["localhost:1", "127.0.0.1:8080", "[::1]:65535", "a-b.c:9"]),
    "tls.server_name": st.sampled_from(["a.example.org", "::1"]),
}
# A path of blanks alone is none.
PATHS = st.text("abc/._- ä", max_size=20).map(lambda text: str(Path(f"p{text}")))


def alone(cls: type) -> list[Leaf]:
    """Returns the leaves that may have any value of their type, whatever the others are."""
    folded = ("inference.", "robot.belt.", "robot.park_pose.")
    return [leaf for leaf in leaves(cls) if leaf.key not in TOGETHER and not leaf.key.startswith(folded)]


def fitting(leaf: Leaf) -> st.SearchStrategy[Any]:
    """Returns values that `leaf` allows."""
    if leaf.field.base is Path:
        return PATHS
    return PLACES[leaf.key] if leaf.key in PLACES else st.from_type(leaf.field.annotation)


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["", "null", "nan", "1e999", "0x10", "~", "\x1b[2J", "a\nb", "\u2028", "9" * 5000])
)  # fmt: skip
trees = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=9), below, max_size=3),
)
run_keys = st.sampled_from([leaf.key for leaf in leaves(RunConfig)]) | st.text(max_size=12)
serve_keys = st.sampled_from([leaf.key for leaf in leaves(ServeConfig)]) | st.text(max_size=12)


@pytest.mark.parametrize("cls", [RunConfig, ServeConfig])
def test_every_leaf_takes_what_it_allows_and_writes_it_back(cls: type, tmp_path: Path) -> None:
    """A value that a leaf allows is loaded as it is, from a file, and survives the way through the dump."""
    load = load_run if cls is RunConfig else load_serve
    path = tmp_path / "config.yaml"

    @settings(max_examples=150)
    @given(st.sampled_from(alone(cls)).flatmap(lambda leaf: st.tuples(st.just(leaf), fitting(leaf))))
    def try_one(drawn: tuple[Leaf, Any]) -> None:
        leaf, value = drawn
        base = ROBOTS[leaf.variant or "fake"] if cls is RunConfig else {}
        path.write_text(yaml.safe_dump(nested(base, leaf.key, value), allow_unicode=True))
        loaded = load([f"--config_path={path}"]).config  # type: ignore[operator]
        assert leaf_of(as_tree(loaded), leaf.key) == value
        path.write_text(to_yaml(loaded))
        assert load([f"--config_path={path}"]).config == loaded  # type: ignore[operator]

    try_one()


@settings(max_examples=250)
@given(st.sampled_from(list(ROBOTS.values())), st.dictionaries(run_keys, trees, max_size=4))
def test_any_tree_is_a_run_or_one_line(base: dict[str, Any], tree: dict[str, Any]) -> None:
    """Known and unknown keys with values of any type and depth resolve, or end in one short line."""
    config.check(b"run\0\0" + written(base, tree))


@settings(max_examples=150)
@given(st.dictionaries(serve_keys, trees, max_size=4))
def test_any_tree_is_a_server_or_one_line(tree: dict[str, Any]) -> None:
    """The same holds for the server's configuration."""
    config.check(b"serve\0\0" + written({}, tree))


@settings(max_examples=150)
@given(st.dictionaries(run_keys, st.text(max_size=30) | trees.map(yaml.safe_dump), max_size=4))
def test_any_flags_are_a_run_or_one_line(flags: dict[str, str]) -> None:
    """Known and unknown flags with any text resolve, or end in one short line."""
    argv = [f"--{key}={text}".replace("\0", "") for key, text in flags.items()]
    head = "\0".join(["run", "--robot.type=fake", *argv])
    config.check(os.fsencode(head.encode(errors="replace").decode()) + b"\0\0")


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=20), max_size=4))
def test_words_of_any_kind_are_refused_in_one_line(argv: list[str]) -> None:
    """A command line of random words is a usage error that can be printed."""
    with pytest.raises(ConfigError) as refused:
        load_run([*argv, "word"])
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < config.MAX_LINE


def nested(base: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """Returns `base` with `value` at the dotted `key`; what stands in the way is replaced."""
    tree = {name: dict(each) if isinstance(each, dict) else each for name, each in base.items()}
    below, (*rooms, last) = tree, key.split(".")
    for room in rooms:
        if not isinstance(below.get(room), dict):
            below[room] = {}
        below = below[room]
    below[last] = value
    return tree


def leaf_of(tree: dict[str, Any], key: str) -> object:
    """Returns the value at the dotted `key`."""
    found: Any = tree
    for name in key.split("."):
        found = found[name]
    return found


def written(base: dict[str, Any], tree: dict[str, Any]) -> bytes:
    """Returns `tree` on top of `base` as the bytes of a file."""
    for key, value in tree.items():
        base = nested(base, key, value)
    return yaml.safe_dump(base, allow_unicode=True).encode(errors="replace")
