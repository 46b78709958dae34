"""A few numbers in memory that both processes of a run see: written at once, read at once, never waited for.

A message may find its mailbox full and a signal may come late or twice; a number
that stands in memory is there, is the newest, and reading it again changes
nothing. The process that makes a page hands its descriptor to the other one.
"""

from __future__ import annotations

import mmap
import os

_CELL = 8  # one aligned store of eight bytes: a reader sees the old number or the new one


class Page:
    """A row of numbers, all zero in the beginning."""

    def __init__(self, name: str, cells: int, descriptor: int | None = None) -> None:
        """Makes a page of its own, or shares the one behind an inherited `descriptor`."""
        made = os.memfd_create(f"segue-{name}") if descriptor is None else descriptor
        self._file = os.fdopen(made, "r+b", buffering=0)
        if descriptor is None:
            self._file.truncate(cells * _CELL)
        self._page = mmap.mmap(made, cells * _CELL)
        self.cells = memoryview(self._page).cast("q")

    def __repr__(self) -> str:
        return f"<Page {list(self.cells)}>"

    @property
    def descriptor(self) -> int:
        """The page's file descriptor, for a process that inherits it."""
        return self._file.fileno()

    def close(self) -> None:
        """Gives the page back; may be called twice."""
        self.cells.release()
        self._page.close()
        self._file.close()


class StopRelay:
    """How the link process tells the control process that the end was asked for."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Makes a page of its own, or shares the one behind an inherited `descriptor`."""
        self._page = Page("stop", 3, descriptor)

    def __repr__(self) -> str:
        return f"<StopRelay {self._page!r}>"

    @property
    def descriptor(self) -> int:
        """The page's file descriptor, for a process that inherits it."""
        return self._page.descriptor

    def put(self, asked: int, number: int, at_ns: int) -> None:
        """Tells how often the end was asked for so far, by which signal last, and when."""
        # The count last: who sees a new one is to see what belongs to it.
        self._page.cells[1], self._page.cells[2] = number, at_ns
        self._page.cells[0] = asked

    def get(self) -> tuple[int, int, int]:
        """Returns what was told last: how often, by which signal, and when."""
        asked = self._page.cells[0]
        return asked, self._page.cells[1], self._page.cells[2]

    def close(self) -> None:
        """Gives the page back; may be called twice."""
        self._page.close()
