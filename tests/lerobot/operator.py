"""A person who calibrates the emulated arm, at LeRobot's terminal or at Segue's.

Both show the joints each time they have read them. The hand moves on when it
sees that, so nothing depends on how fast anything is.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence

import pytest

from segue.testing import FeetechBus
from segue.tools.calibrate import Way
from tests.lerobot.arms import place

Pose = Mapping[str, int]


class Hand:
    """Moves the arm through poses, one at a time."""

    def __init__(self, bus: FeetechBus, middle: Pose, ways: Sequence[Pose]) -> None:
        """Plans the moves.

        Args:
            bus: of the arm.
            middle: where to hold the arm when its middle is asked for, counts as they are reported then.
            ways: through which poses, when its ranges are.
        """
        self._bus, self._middle, self._ways = bus, middle, list(ways)

    def hold_middle(self) -> None:
        """Holds the arm in its middle."""
        place(self._bus, self._middle)

    def move_on(self) -> bool:
        """Moves to the next pose and returns True, or False when it has been in all of them."""
        if not self._ways:
            return False
        place(self._bus, self._ways.pop(0))
        return True


class AtLeRobot(io.StringIO):
    """Stands for a terminal: what LeRobot prints comes in here, and ENTER goes to its standard input."""

    def __init__(self, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
        """Becomes this process's terminal until `monkeypatch` ends."""
        super().__init__()
        self._hand = hand
        keyboard, self._key = os.pipe()
        monkeypatch.setattr(sys, "stdout", self)
        monkeypatch.setattr(sys, "stdin", os.fdopen(keyboard))

    def leave(self) -> None:
        """Closes the keyboard."""
        os.close(self._key)
        sys.stdin.close()

    def write(self, text: str) -> int:
        """Reads what is printed, and does what it asks for."""
        if "middle of its range" in text:
            self._hand.hold_middle()
            self._press_enter()
        elif text.startswith("NAME ") and not self._hand.move_on():
            self._press_enter()
        return super().write(text)

    def _press_enter(self) -> None:
        os.write(self._key, b"\n")


class AtSegue:
    """The `Person` of Segue's calibration."""

    def __init__(self, hand: Hand) -> None:
        self._hand = hand
        self._is_done = False

    def tell(self, text: str) -> None:
        """Takes a sentence and does nothing."""

    def ask(self, text: str) -> str:
        """Holds the arm in its middle, if that is asked for, and presses ENTER."""
        if "middle of its range" in text:
            self._hand.hold_middle()
        return ""

    def show(self, ways: Sequence[Way]) -> None:
        """Sees where the joints are, and moves on."""
        self._is_done = not self._hand.move_on()

    def pressed(self) -> bool:
        """Presses ENTER once the arm has been everywhere."""
        return self._is_done
