"""Words and numbers that came over the wire."""

from __future__ import annotations

import math

import pytest

from segue.errors import RemoteProtocolError
from segue.wire.checks import (
    MAX_SENTENCE_CHARS,
    brief,
    check_name,
    check_range,
    check_text,
    check_unique,
    one_line,
    quoted,
    wrong,
)


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


@pytest.mark.parametrize("turning", ["\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2069"])
def test_text_that_turns_the_rest_of_a_line_around_is_refused(turning: str) -> None:
    """A name that a terminal would show in another order than it has is refused."""
    with pytest.raises(RemoteProtocolError, match="policy: holds a control character"):
        check_text(f"safe{turning}live", "policy")


@pytest.mark.parametrize("field", ["x", "x" * 500, "pan\n\x1b[2J\u202e"])
def test_a_refusal_is_one_short_line_whatever_is_in_it(field: str) -> None:
    """Field and words of a peer are cut and made printable, and the line says so where it was cut."""
    said = str(wrong(field, "y" * 500))
    assert len(said) == MAX_SENTENCE_CHARS
    assert said.endswith("…")
    assert said.isprintable()
    assert str(wrong("horizon", "0 is outside 1..4096")) == "horizon: 0 is outside 1..4096"


def test_a_peers_text_is_shown_escaped_and_short() -> None:
    """What is quoted in a refusal is at most a line, and says that there was more."""
    assert quoted("a\nb") == r"'a\nb'"
    assert quoted("x" * 41) == f"'{'x' * 40}' and more"
    assert brief("größer") == "größer"
    assert brief("x" * 41) == "x" * 39 + "…"
    assert one_line("a\tb", 9) == "a\ufffdb"
