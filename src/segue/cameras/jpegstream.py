"""Whole JPEGs out of a stream of bytes: a file of pictures in a row, or what a network camera sends.

The pictures' own markers say where each begins and ends; whatever stands
between them (the headers of a multipart stream, padding) is skipped. So it does
not matter whether a sender states lengths, and a wrong length does no harm. The
buffer never holds more than one picture of the largest size and one read.
"""

from __future__ import annotations

from collections.abc import Callable

from segue.core.jpeg import END, MAX_JPEG_BYTES, START, jpeg_end
from segue.errors import RobotFault

CHUNK_BYTES = 64 * 1024
# The byte behind the start begins the first segment; text and padding rarely look like that.
_BEGIN = START + b"\xff"


class JpegStream:
    """Cuts a stream into pictures."""

    def __init__(self, read: Callable[[int], bytes], max_bytes: int = MAX_JPEG_BYTES) -> None:
        """Reads nothing yet.

        Args:
            read: returns at most that many bytes, at least one unless the stream has ended.
            max_bytes: of one picture.
        """
        self._read = read
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched = 0

    def __repr__(self) -> str:
        return f"<JpegStream buffered={len(self._buffer)}>"

    def next(self) -> bytes | None:
        """Waits for the next whole picture and returns it; None at the end of the stream.

        Raises:
            RobotFault: a picture is larger than allowed.
        """
        while True:
            picture = self._cut()
            if picture is not None:
                return picture
            if len(self._buffer) > self._max_bytes:
                raise RobotFault(f"a picture of more than {self._max_bytes} bytes")
            chunk = self._read(CHUNK_BYTES)
            if not chunk:
                return None
            self._buffer += chunk

    def _cut(self) -> bytes | None:
        """Takes the first picture out of the buffer, if it is there to its end."""
        while self._at_begin():
            # A look for the end mark is much quicker than a walk over the segments.
            if self._buffer.find(END, self._searched) < 0:
                self._searched = max(0, len(self._buffer) - 1)
                return None
            try:
                end = jpeg_end(self._buffer)
            except ValueError:
                self._drop(len(START))
                continue
            if end is None:
                self._searched = max(0, len(self._buffer) - 1)
                return None
            picture = bytes(self._buffer[:end])
            self._drop(end)
            return picture
        return None

    def _at_begin(self) -> bool:
        """Throws away what stands before the next picture; returns whether one begins."""
        start = self._buffer.find(_BEGIN)
        if start != 0:
            self._drop(start if start > 0 else max(0, len(self._buffer) - len(_BEGIN) + 1))
        return start >= 0

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._searched = 0
