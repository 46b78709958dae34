"""Words and numbers that came over the wire."""

from __future__ import annotations

import math

import pytest

from segue.errors import RemoteProtocolError
from segue.wire.checks import check_name, check_range, check_text, check_unique


@pytest.mark.parametrize("good", ["", "lift the cubes", "拿起方块\u3000慢", "größer — 3 µm"])
def test_a_line_of_any_language_passes(good: str) -> None:
    """Text of one line passes, whatever its language."""
    assert check_text(good, "task") == good


@pytest.mark.parametrize("bad", ["a\0b", "a\nb", "a\rb", "a\x1b[2Jb", "a\u2028b", "a" * 129])
def test_text_that_would_break_a_log_is_refused(bad: str) -> None:
    """NUL, line ends, escapes and long text are refused, and the refusal holds none of them."""
    with pytest.raises(RemoteProtocolError, match="task") as refusal:
        check_text(bad, "task")
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 500


def test_a_name_is_not_empty() -> None:
    """An empty name is refused."""
    with pytest.raises(RemoteProtocolError, match="robot_id: empty"):
        check_name("", "robot_id")


def test_a_name_appears_once() -> None:
    """A list that holds a name twice is refused, and the name is named."""
    check_unique(["a", "b"], "joints")
    with pytest.raises(RemoteProtocolError, match="joints: b appears more than once"):
        check_unique(["a", "b", "b"], "joints")


@pytest.mark.parametrize("bad", [-1, 11, math.nan, math.inf])
def test_numbers_outside_their_range_are_refused(bad: float) -> None:
    """A number outside its range is refused, and so is NaN."""
    with pytest.raises(RemoteProtocolError, match=r"delay: .* is outside 0\.\.10"):
        check_range(bad, "delay", 0, 10)
    check_range(0, "delay", 0, 10)
    check_range(10, "delay", 0, 10)
