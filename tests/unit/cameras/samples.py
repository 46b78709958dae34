"""JPEGs, and a device to show them, shared by the tests of the cameras."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import numpy.typing as npt
import simplejpeg

from segue.cameras.base import Camera
from segue.core.types import Frame, ImageArray
from segue.testing.cameras import natural_frames


def jpeg_of(image: ImageArray, **wish: object) -> bytes:
    """Returns a JPEG as a camera makes it, with its colour at half width (4:2:2)."""
    options = {"quality": 90, "colorspace": "RGB", "colorsubsampling": "422"} | wish
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), **options))


def jpegs(count: int = 4, height: int = 48, width: int = 64, seed: int = 0) -> list[bytes]:
    """Returns the JPEGs of a scene that drifts, with sensor noise."""
    return [jpeg_of(image) for image in natural_frames(height, width, count, seed)]


def grabbed(camera: Camera, count: int) -> list[Frame]:
    """Returns the next `count` frames of a camera."""
    return [camera.grab() for _ in range(count)]


class FakeCapture:
    """What OpenCV calls a capture: a device that shows given pictures in turn and takes settings."""

    def __init__(self, shown: Sequence[npt.NDArray[np.uint8] | bytes | Exception | None]) -> None:
        """Takes what each read brings: BGR pixels, undecoded bytes, what it raises, or None for a failure."""
        self.shown = list(shown)
        self.there = True
        self.settings: dict[int, float] = {}
        self.refused: set[int] = set()
        self.released = 0
        self.period_s = 0.0
        self._index = -1

    def isOpened(self) -> bool:
        return self.there

    def set(self, key: int, value: float) -> bool:
        if key in self.refused:
            return False
        self.settings[key] = value
        return True

    def get(self, key: int) -> float:
        return self.settings.get(key, 0.0)

    def grab(self) -> bool:
        time.sleep(self.period_s)
        self._index += 1
        now = self.shown[self._index % len(self.shown)]
        if isinstance(now, Exception):
            raise now
        return now is not None

    def retrieve(self) -> tuple[bool, npt.NDArray[np.uint8] | None]:
        now = self.shown[self._index % len(self.shown)]
        if isinstance(now, bytes):
            return True, np.frombuffer(now, np.uint8).reshape(1, -1)
        return True, now  # type: ignore[return-value]

    def read(self) -> tuple[bool, npt.NDArray[np.uint8] | None]:
        return self.retrieve() if self.grab() else (False, None)

    def release(self) -> None:
        self.released += 1


@contextmanager
def served(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Runs an HTTP server on loopback that answers each request by `answer`; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answer(self)
            except (ConnectionError, TimeoutError):
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/stream"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5.0)
