"""The judge of the link: what it lets pass, and what it must not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from segue.testing.linkjudge import LinkJudge, Wire, WireNote

MS = 1_000_000
Row = tuple[float, Wire, int, dict[str, object]]


def judged(rows: Sequence[Row]) -> list[str]:
    """Returns the findings in messages, each with its time in ms."""
    notes = [WireNote(int(t_ms * MS), what, channel, **fields) for t_ms, what, channel, fields in rows]
    return LinkJudge().judge(notes)


def session(t_ms: float, channel: int) -> list[Row]:
    """A dial that ends in a session 10 ms later."""
    return [
        (t_ms, Wire.DIAL, channel, {}),
        (t_ms + 1, Wire.ACCEPTED, channel, {}),
        (t_ms + 1, Wire.GREET, channel, {}),
        (t_ms + 8, Wire.OPEN, channel, {}),
        (t_ms + 10, Wire.OPENED, channel, {}),
    ]


def asked(t_ms: float, channel: int, number: int, named: str = "a", epoch: int = 1) -> Row:
    deadline_ns = int((t_ms + 500) * MS)
    fields = {"number": number, "session": named, "deadline_ns": deadline_ns, "epoch": epoch}
    return (t_ms, Wire.REQUEST, channel, fields)


def refused(t_ms: float, channel: int, number: int, reason: str) -> Row:
    return (t_ms, Wire.REFUSAL, channel, {"number": number, "reason": reason})


def answered(t_ms: float, channel: int, number: int) -> Row:
    return (t_ms, Wire.ANSWER, channel, {"number": number})


GOOD = [
    *session(0, 1),
    asked(20, 1, 1),
    answered(40, 1, 1),
    (60, Wire.RESET, 1, {}),
    *session(60, 2),
    asked(80, 2, 2),
    refused(90, 2, 2, "draining"),
    *session(190, 3),
]


def test_a_link_that_does_as_it_should_is_found_in_order() -> None:
    """One loss is dialled at once, the second without an answer between after 100 ms."""
    assert judged(GOOD) == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*GOOD[:15], *session(120, 3)], "after the second session in a row"),
        ([(0, Wire.DIAL, 1, {}), (5, Wire.RESET, 1, {}), (50, Wire.DIAL, 2, {})], "after a dial that failed"),
        ([(0, Wire.DIAL, 1, {}), (300, Wire.DIAL, 2, {})], "after a dial that failed"),
        ([(0, Wire.DIAL, 1, {}), (600, Wire.DIAL, 3, {})], "no fresh one"),
        ([*session(0, 1), (500, Wire.DIAL, 2, {})], "nothing spoke against was thrown away"),
        ([(0, Wire.DIAL, 1, {}), (5, Wire.OPEN, 1, {})], "does not stand"),
        (
            [*session(0, 1), asked(20, 1, 1), refused(30, 1, 1, "unknown_session"), asked(40, 1, 2)],
            "names a session that the server does not know",
        ),
        (
            [*session(0, 1), asked(20, 1, 1), asked(520, 1, 2), asked(1020, 1, 3)],
            "after 2 misses in a row",
        ),
        (
            [
                *session(0, 1),
                *(row for k in range(3) for row in (asked(20 + k, 1, k), refused(20.5 + k, 1, k, "full"))),
                asked(24, 1, 3),
            ],
            "after 3 refusals in a row",
        ),
    ],
)
def test_what_breaks_a_rule_is_a_sentence(rows: list[Row], said: str) -> None:
    """Each rule that is broken is found, once."""
    found = judged(rows)
    assert [text for text in found if said in text] == found
    assert len(found) == 1


def test_a_new_epoch_may_ask_at_once() -> None:
    """After a reset what was refused before counts no more."""
    rows = [row for k in range(4) for row in (asked(20 + k, 1, k, epoch=k), refused(20.5 + k, 1, k, "full"))]
    assert judged([*session(0, 1), *rows]) == []
