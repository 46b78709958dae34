"""Words and their numbers in policy.proto."""

from __future__ import annotations

import pytest

from segue.errors import RemoteProtocolError
from segue.wire.enums import ENCODINGS, JACOBIANS, KINDS, MODES, SCHEDULES, STRATEGIES, EnumTable
from segue.wire.records import Encoding

TABLES = [KINDS, STRATEGIES, MODES, SCHEDULES, JACOBIANS, ENCODINGS]


def test_every_word_keeps_its_number() -> None:
    """A word comes back from its number."""
    for word in Encoding:
        assert ENCODINGS.decode(ENCODINGS.encode(word), "encoding") is word


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("number", [0, -1, 99])
def test_a_number_without_a_word_is_refused(table: EnumTable, number: int) -> None:
    """A number that is not set or unknown is refused, and the refusal lists what is allowed."""
    with pytest.raises(RemoteProtocolError, match=rf"field: unknown value {number}, allowed are 1 \("):
        table.decode(number, "field")
