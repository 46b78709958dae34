"""`argv` becomes pairs, in order, uninterpreted."""

from __future__ import annotations

import pytest

from segue.config.flags import pairs
from segue.errors import UsageError


def test_all_forms_of_a_flag_are_split() -> None:
    """The three forms may be mixed; a value may hold spaces, equals signs and a minus."""
    argv = ["--a=1", "--b", "2", "--switch", "--c=x=y z", "--d", "-5", "--e="]
    expected = [("a", "1"), ("b", "2"), ("switch", "true"), ("c", "x=y z"), ("d", "-5"), ("e", "")]
    assert pairs(argv, {"switch"}) == expected


@pytest.mark.parametrize("argv", [["word"], ["-x"], ["--"], ["--=3"], ["--a"], ["--a", "--b=1"]])
def test_what_is_no_flag_is_refused(argv: list[str]) -> None:
    """A bare word, a short flag, an empty key and a missing value are refused."""
    with pytest.raises(UsageError):
        pairs(argv, set())
