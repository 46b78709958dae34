"""What is heard when two servos of one id answer the same question.

Both think that they were asked, and the wire carries both answers. They may
fall on each other bit by bit, where a line that one of them pulls low is low;
equal bytes are then heard as if one had spoken. They may come byte by byte in
turn, or one after the other when one of them waits longer. Which it is depends
on two clocks that nobody has set, so a driver is tried with each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import reduce
from itertools import groupby, zip_longest
from operator import and_
from typing import NamedTuple


class Overlap(StrEnum):
    """How answers of servos with one id meet on the wire."""

    COLLIDE = "collide"
    INTERLEAVE = "interleave"
    IN_TURN = "in_turn"


class Turn(NamedTuple):
    """One servo's turn to answer.

    Attributes:
        servo: its id; None for one that is not there.
        answer: its bytes, or as many as its gap is long.
        delay_ns: between the end of what was before and its first byte.
    """

    servo: int | None
    answer: bytes
    delay_ns: int


def met(turns: Iterable[Turn], how: Overlap, byte_ns: int) -> Iterator[Turn]:
    """Yields what is heard of `turns`, of which those of one id that follow each other meet on the wire.

    Args:
        turns: in their order.
        how: they meet.
        byte_ns: time that a byte takes.
    """
    for servo, group in groupby(turns, key=lambda turn: turn.servo):
        same = list(group)
        if servo is None or len(same) == 1 or how is Overlap.IN_TURN:
            yield from same
        else:
            slots = _interleaved(same) if how is Overlap.INTERLEAVE else _collided(same, byte_ns)
            heard = bytes(reduce(and_, slot) for slot in slots if slot)
            yield Turn(servo, heard, (len(slots) - len(heard)) * byte_ns)


def _interleaved(turns: list[Turn]) -> list[list[int]]:
    """Returns a byte of each in turn."""
    columns = zip_longest(*(turn.answer for turn in turns))
    return [[byte] for column in columns for byte in column if byte is not None]


def _collided(turns: list[Turn], byte_ns: int) -> list[list[int]]:
    """Returns by time, in bytes, what is on the wire at once; a slot is empty where nobody speaks."""
    starts = [turn.delay_ns // byte_ns for turn in turns]
    ends = [start + len(turn.answer) for start, turn in zip(starts, turns, strict=True)]
    slots: list[list[int]] = [[] for _ in range(max(ends))]
    for start, turn in zip(starts, turns, strict=True):
        for slot, byte in enumerate(turn.answer, start):
            slots[slot].append(byte)
    return slots
