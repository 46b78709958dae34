"""A person at a terminal who is asked, and who presses ENTER when done.

On a terminal the table of a calibration is drawn in place; into a file nothing
of it is written but the last. Whoever has no terminal cannot be asked, and is
told so instead of being waited for.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence

from segue.cli.writer import show
from segue.errors import UsageError
from segue.tools.calibrate import Way

# Often enough that an end of a way is not missed by hand, seldom enough to be read.
_LOOK_S = 0.03


class Terminal:
    """A `Person` at the standard input and output."""

    def __init__(self, verb: str) -> None:
        """Begins its sentences with ``segue VERB``."""
        self._verb = verb
        self._drawn = 0  # lines of the table that stands on the screen

    def __repr__(self) -> str:
        return f"<Terminal {self._verb}>"

    def tell(self, text: str) -> None:
        """Shows a sentence."""
        self._drawn = 0
        show(f"segue {self._verb}: {text}")

    def ask(self, text: str) -> str:
        """Shows a sentence, waits for ENTER, and returns what was typed before it.

        Raises:
            UsageError: there is nobody to ask.
        """
        self.tell(text)
        return self._line()

    def show(self, ways: Sequence[Way]) -> None:
        """Draws how far each joint has been moved, over what was drawn before."""
        if not sys.stdout.isatty():
            return
        up = f"\033[{self._drawn}A" if self._drawn else ""
        lines = way_table(ways)
        show(up + "\n".join(f"\033[2K{line}" for line in lines))
        self._drawn = len(lines)

    def pressed(self) -> bool:
        """Waits for a moment, and returns whether ENTER was pressed in it.

        Raises:
            UsageError: there is nobody who could.
        """
        if not select.select([sys.stdin], [], [], _LOOK_S)[0]:
            return False
        self._line()
        return True

    def _line(self) -> str:
        # Byte by byte: what Python read ahead of a line `select` would no longer see.
        line = b""
        while not line.endswith(b"\n"):
            byte = _byte(sys.stdin.fileno())
            if not byte:
                raise UsageError(f"segue {self._verb} asks questions; run it in a terminal")
            line += byte
        return line.decode("utf-8", "replace").strip()


def _byte(descriptor: int) -> bytes:
    """Waits for the next byte and returns it; none at the end of the input, or when the terminal is gone."""
    try:
        return os.read(descriptor, 1)
    except OSError:
        return b""


def way_table(ways: Sequence[Way]) -> list[str]:
    """Returns the lines of the table, a heading first; a joint that was moved far enough is ticked off."""
    rows = [f"  {way.joint:<14}{way.least:>6}{way.present:>6}{way.most:>6}  {_tick(way)}" for way in ways]
    return [f"  {'joint':<14}{'min':>6}{'pos':>6}{'max':>6}", *(row.rstrip() for row in rows)]


def _tick(way: Way) -> str:
    return "moved" if way.is_moved else ""
