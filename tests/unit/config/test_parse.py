"""Whatever is written, it loads or is refused; nothing else happens."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.config import RunConfig, ServeConfig, load_run, load_serve
from segue.config.parse import parse
from segue.config.refusal import Refused
from segue.config.schema import leaves, rooms
from segue.errors import ConfigError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=8)
    | st.dates()
    | st.sampled_from(
        ["sim_so101", "rtc", "127.0.0.1:1", "1e999", "0x1f", "9" * 5000, "<<", "\ud800", "\0", "="]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(SCALARS, below, max_size=3),
    max_leaves=6,
)
RUN_KEYS = [
    *(leaf.key for leaf in leaves(RunConfig)),
    *rooms(RunConfig),
    "robot.cameras.front",
    "no.such",
    "",
]
SERVE_KEYS = [*(leaf.key for leaf in leaves(ServeConfig)), *rooms(ServeConfig)]


def nested(key: str, value: Any) -> dict[str, Any]:
    tree: dict[str, Any] = {"robot": {"type": "sim_so101"}}
    *path, last = key.split(".")
    place = tree
    for name in path:
        place = place.setdefault(name, {})
    place[last] = value
    return tree


@settings(max_examples=300, deadline=None)
@given(key=st.sampled_from(RUN_KEYS), value=VALUES)
def test_any_yaml_value_at_any_key_loads_or_is_refused(key: str, value: Any) -> None:
    """A file with any value at any key loads or raises ConfigError with one short line."""
    try:
        text = yaml.safe_dump(nested(key, value), allow_unicode=False)
    except (yaml.YAMLError, UnicodeError):
        return  # not a YAML file at all
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.yaml"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        assert_loads_or_refuses(load_run, [f"--config_path={path}"])


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_a_file_that_loads_or_is_refused(text: str) -> None:
    """A file of any text loads or raises ConfigError with one short line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "serve.yaml"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        assert_loads_or_refuses(load_serve, [f"--config_path={path}"])


@settings(max_examples=300, deadline=None)
@given(key=st.sampled_from(RUN_KEYS) | st.text(max_size=10), value=st.text(max_size=30))
def test_any_flag_loads_or_is_refused(key: str, value: str) -> None:
    """Any text as key or value of a flag loads or raises ConfigError with one short line."""
    if key == "config_path":
        return
    assert_loads_or_refuses(load_run, ["--robot.type=sim_so101", f"--{key}={value}"])
    if key in SERVE_KEYS:
        assert_loads_or_refuses(load_serve, [f"--{key}={value}"])


def assert_loads_or_refuses(load: Any, argv: list[str]) -> None:
    try:
        load(argv)
    except ConfigError as error:
        message = str(error)
        assert len(message) < 900
        assert "\n" not in message
        message.encode()


def test_an_unknown_key_of_a_tree_is_named_with_those_that_are_known() -> None:
    """Where no known key is near, all that are known at that place are listed."""
    with pytest.raises(Refused, match="known here are device, path") as caught:
        parse(ServeConfig, {"policy": {"weights": "x"}})
    assert caught.value.key == "policy.weights"


def test_a_room_may_be_left_empty() -> None:
    """An empty room in the file takes its defaults."""
    assert parse(ServeConfig, {"policy": ""}) == ServeConfig()
