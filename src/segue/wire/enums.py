"""Enumerations on the wire: each word of the core has one number in policy.proto.

The tables are built from the names, so a word without a number fails at import
and not on a robot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from segue.core.resize import Fit
from segue.core.specs import Kind
from segue.core.types import Jacobian, RtcMode, Schedule, Strategy
from segue.wire import policy_pb2 as pb
from segue.wire.checks import wrong
from segue.wire.records import Encoding

Word = TypeVar("Word", bound=StrEnum)
Number = TypeVar("Number", bound=int)


class EnumTable(Generic[Word, Number]):
    """Words and their numbers."""

    def __init__(self, words: type[Word], number_of: Callable[[str], Number], prefix: str) -> None:
        self._number: Mapping[Word, Number] = {word: number_of(f"{prefix}_{word.name}") for word in words}
        self._word: Mapping[int, Word] = {number: word for word, number in self._number.items()}

    def encode(self, word: Word) -> Number:
        """Returns the number of `word`."""
        return self._number[word]

    def decode(self, number: int, field: str) -> Word:
        """Returns the word of `number`.

        Raises:
            RemoteProtocolError: there is none; 0 (not set) has none either.
        """
        word = self._word.get(number)
        if word is None:
            allowed = ", ".join(f"{n} ({w})" for n, w in self._word.items())
            raise wrong(field, f"unknown value {number}, allowed are {allowed}")
        return word

    def find(self, number: int) -> Word | None:
        """Returns the word of `number`; None when it is not set, or of a newer peer."""
        return self._word.get(number)


FITS = EnumTable(Fit, pb.Fit.Value, "FIT")
KINDS = EnumTable(Kind, pb.Kind.Value, "KIND")
STRATEGIES = EnumTable(Strategy, pb.Strategy.Value, "STRATEGY")
MODES = EnumTable(RtcMode, pb.RtcMode.Value, "RTC_MODE")
SCHEDULES = EnumTable(Schedule, pb.Schedule.Value, "SCHEDULE")
JACOBIANS = EnumTable(Jacobian, pb.Jacobian.Value, "JACOBIAN")
ENCODINGS = EnumTable(Encoding, pb.Encoding.Value, "ENCODING")
