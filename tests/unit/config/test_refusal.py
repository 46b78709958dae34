"""How a wrong value is shown."""

from __future__ import annotations

import pytest

from segue.config.refusal import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [("gpu-box", "gpu-box"), ("", "''"), ("a\nb", r"'a\nb'"), (30, "30"), ([1, "x"], "[1, 'x']")],
)
def test_a_short_value_is_shown_as_it_is(value: object, text: str) -> None:
    """Plain text is bare, everything else in quotes or as Python writes it."""
    assert shown(value) == text


LONG: tuple[object, ...] = (
    "x" * 10**6,
    "\x1f" * 80,
    ["x" * 80] * 6,
    {"\U00018cd6" * 9: ["\x1f" * 80] * 9},
    [[[["x"]]]] * 99,
)


@pytest.mark.parametrize("value", LONG)
def test_a_long_value_is_shown_on_one_short_line(value: object) -> None:
    """Megabytes, escapes and trees in a file are at most two lines of the terminal, and printable."""
    assert len(shown(value)) <= 200
    assert shown(value).isprintable()
