"""The scene on a shared page, so that cameras may look at it from another process.

One writer (the robot) replaces a short row of numbers at every tick; any number
of readers (cameras) copy the newest row. Nobody waits: a *seqlock* counts up
before and after each write, and a reader that saw an odd count, or two
different ones, looks again. Python offers no memory barrier, therefore a
checksum must agree as well.

The page is a file in memory (/dev/shm where there is one), found by its name, a
plain string that can be handed to a process however that was started. It is not
`multiprocessing.shared_memory`, whose clean-up before Python 3.13 takes pages
away from under processes that are no children of each other. This file does
not know what the numbers mean.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segue.core.types import FloatArray
from segue.errors import LocalProtocolError, RobotFault

_COUNT = struct.Struct("@q")
_HEAD = struct.Struct("@qqqq")  # number, stamp, bytes in the row, checksum
_ROW_AT = _COUNT.size + _HEAD.size
_PAGE_BYTES = 4096  # 500 numbers; a scene of 7 cubes has 56
_LOOKS = 200
_IN_MEMORY = Path("/dev/shm")


def scene_name() -> str:
    """Returns a fresh name for a page, unlike any other on this host."""
    return f"segue_{secrets.token_hex(6)}"


def forget_scene(name: str) -> None:
    """Takes away a page whose writer is gone; one that is not there is no error."""
    _path(name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Scene:
    """One snapshot.

    Attributes:
        number: counts the writes, from 1.
        tick_ns: the writer's stamp.
        numbers: the row, the reader's own copy.
    """

    number: int
    tick_ns: int
    numbers: FloatArray


class SceneWriter:
    """The one who writes: it makes the page and takes it away."""

    def __init__(self, name: str) -> None:
        """Makes the page.

        Raises:
            LocalProtocolError: there is one of this name already.
        """
        self.name = name
        try:
            page = os.open(_path(name), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except FileExistsError as error:
            raise LocalProtocolError(f"the scene {name} exists already") from error
        os.truncate(page, _PAGE_BYTES)
        self._page = mmap.mmap(page, _PAGE_BYTES)
        os.close(page)
        self._number = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<SceneWriter {self.name} number={self._number}>"

    def publish(self, tick_ns: int, numbers: FloatArray) -> None:
        """Replaces the row.

        Raises:
            LocalProtocolError: more numbers than the page holds, or it was closed.
        """
        row = np.ascontiguousarray(numbers, dtype=np.float64).tobytes()
        if _ROW_AT + len(row) > _PAGE_BYTES:
            raise LocalProtocolError(f"a scene has no room for {len(numbers)} numbers")
        page = _open(self._page, self.name)
        self._number += 1
        _COUNT.pack_into(page, 0, 2 * self._number - 1)
        checksum = _checksum(self._number, tick_ns, row)
        _HEAD.pack_into(page, _COUNT.size, self._number, tick_ns, len(row), checksum)
        page[_ROW_AT : _ROW_AT + len(row)] = row
        _COUNT.pack_into(page, 0, 2 * self._number)

    def close(self) -> None:
        """Takes the page away; a reader that has it keeps the last row. May be called twice."""
        if not self._closed:
            self._closed = True
            self._page.close()
            forget_scene(self.name)


class SceneReader:
    """One who looks."""

    def __init__(self, name: str) -> None:
        """Finds the page.

        Raises:
            RobotFault: there is none of this name.
        """
        try:
            page = os.open(_path(name), os.O_RDONLY)
        except FileNotFoundError as error:
            raise RobotFault(f"there is no scene {name}") from error
        if os.fstat(page).st_size < _PAGE_BYTES:  # between being made and being given its size
            os.close(page)
            raise RobotFault(f"there is no scene {name} yet")
        self.name = name
        self._page = mmap.mmap(page, _PAGE_BYTES, access=mmap.ACCESS_READ)
        os.close(page)
        self._last: Scene | None = None

    def latest(self) -> Scene | None:
        """Returns the newest snapshot; None before the first. Never blocks.

        When every look falls into a write (or the writer died in one), it is the
        snapshot returned before: to a reader the scene is then simply frozen.

        Raises:
            LocalProtocolError: the reader was closed.
        """
        shared = _open(self._page, self.name)
        for _ in range(_LOOKS):
            page = shared[:]
            (before,) = _COUNT.unpack_from(page)
            (after,) = _COUNT.unpack_from(shared)
            if before == 0:
                return None
            number, tick_ns, length, checksum = _HEAD.unpack_from(page, _COUNT.size)
            row = page[_ROW_AT : _ROW_AT + length]
            if before % 2 == 0 and before == after and checksum == _checksum(number, tick_ns, row):
                self._last = Scene(number, tick_ns, np.frombuffer(row, dtype=np.float64))
                break
        return self._last

    def close(self) -> None:
        """Lets the page go; may be called twice."""
        self._page.close()


def _path(name: str) -> Path:
    folder = _IN_MEMORY if _IN_MEMORY.is_dir() else Path(tempfile.gettempdir())
    return folder / name


def _open(page: mmap.mmap, name: str) -> mmap.mmap:
    if page.closed:
        raise LocalProtocolError(f"the scene {name} was closed")
    return page


def _checksum(number: int, tick_ns: int, row: bytes) -> int:
    return zlib.crc32(row, number ^ (tick_ns & 0xFFFFFFFF))
