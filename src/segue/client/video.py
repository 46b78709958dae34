"""Keeps the pictures of one camera, so that a video can be made of the run.

JPEGs one after the other, without anything between them: every picture begins
and ends with its own marker, and a file that was cut off is good up to the cut.
About 15 a second are enough to see an arm move, and cost a hundredth of a core;
nothing where the camera itself delivers JPEG.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from segue.cameras.latest import LatestFrame
from segue.clock import NS_PER_S
from segue.wire.image import encode, pixels

FPS = 15.0
QUALITY = 85


class VideoLog:
    """Writes the frames of one camera to a file, on a thread of its own."""

    def __init__(self, camera: LatestFrame, path: Path, say: Callable[[str], None]) -> None:
        """Opens nothing yet.

        Args:
            camera: already started.
            path: the file to be written.
            say: is told, once and on this object's thread, when that is not possible.
        """
        self.frames = 0
        self.error: OSError | None = None
        self._camera = camera
        self._path = path
        self._say = say
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="video", daemon=True)

    def __repr__(self) -> str:
        return f"<VideoLog {self._path.name} frames={self.frames}>"

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the file; may be called twice."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        try:
            with self._path.open("wb") as file:
                self._write(file)
        except OSError as error:
            self.error = error
            self._say(f"the video cannot be written: {error}; the run goes on")

    def _write(self, file: BinaryIO) -> None:
        last = None
        while not self._stopping.wait(1.0 / FPS):
            frame = self._camera.latest(NS_PER_S)
            if frame is None or frame is last:
                continue
            file.write(frame.jpeg or encode(pixels(frame), QUALITY).data)
            self.frames, last = self.frames + 1, frame
