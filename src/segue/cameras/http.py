"""A network camera that sends JPEGs over HTTP, one after the other, in one endless answer.

That is what telephones, mjpg-streamer and most cheap network cameras do
(`multipart/x-mixed-replace`). The standard library suffices. Nothing that the
other side sends is trusted: a picture has a largest size, a wait has an end,
and only HTTP and HTTPS are spoken, without following to another address.
Reconnecting is not done here: a fault closes the camera, and whoever owns it
opens it anew. Whether the camera behind it is frozen cannot be told from here.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from urllib.parse import urlsplit

from segue.cameras.base import check_size, driver_faults
from segue.cameras.jpegstream import JpegStream
from segue.clock import now_ns
from segue.core.jpeg import jpeg_header
from segue.core.specs import CameraSpec
from segue.core.types import Frame
from segue.errors import RobotFault

SCHEMES = ("http", "https")
# Of one wait for the network, and of one whole picture, however slowly it trickles.
TIMEOUT_S = 2.0
PICTURE_S = 5.0

_ASKING = {"Accept": "multipart/x-mixed-replace, image/jpeg", "Accept-Encoding": "identity"}


class HttpCamera:
    """A stream of JPEGs behind the `Camera` interface."""

    def __init__(
        self, spec: CameraSpec, url: str, timeout_s: float = TIMEOUT_S, picture_s: float = PICTURE_S
    ) -> None:
        """Opens nothing yet.

        Args:
            spec: name, rate, and the size that the pictures have.
            url: ``http://…`` or ``https://…``.
            timeout_s: of one wait for the network.
            picture_s: within which one whole picture must come.
        """
        self.spec = spec
        self._url = url
        self._timeout_s = timeout_s
        self._picture_s = picture_s
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._stream: JpegStream | None = None
        self._deadline_s = 0.0
        self._number = 0

    def __repr__(self) -> str:
        return f"<HttpCamera {self.spec.name} {self._url} number={self._number}>"

    def open(self) -> None:
        """Connects, asks for the stream and looks at its first picture.

        Raises:
            RobotFault: nobody answers, the answer is no stream of JPEGs, or of another size.
        """
        self.close()
        with driver_faults(self._url):
            response = self._ask()
            self._stream = JpegStream(lambda count: self._read(response, count))
            header = jpeg_header(self._next(self._stream))
            height, width = (header.height, header.width) if header else (0, 0)
            check_size(self._url, height, width, self.spec)

    def grab(self) -> Frame:
        """Waits for the next picture.

        Raises:
            RobotFault: the stream ended, stalled, or is none.
        """
        stream = self._stream
        if stream is None:
            raise RobotFault(f"{self._url} is not open")
        with driver_faults(self._url):
            jpeg = self._next(stream)
        self._number += 1
        return Frame(None, now_ns(), self._number, jpeg)

    def close(self) -> None:
        """Closes the connection; may be called more than once and after a fault."""
        connection, response = self._connection, self._response
        self._connection = self._response = self._stream = None
        for each in (connection, response):  # either may own the socket
            if each is not None:
                each.close()

    def _ask(self) -> http.client.HTTPResponse:
        parts = urlsplit(self._url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise RobotFault(f"{self._url}: expected http://… or https://…")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = self._connection = kind(parts.hostname, parts.port, timeout=self._timeout_s)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        # A header that trickles in, or one interim answer after another, would never time out.
        hurry = threading.Timer(self._picture_s, _hang_up, (connection,))
        hurry.daemon = True
        hurry.start()
        try:
            connection.request("GET", target, headers=_ASKING)
            response = self._response = connection.getresponse()
        finally:
            hurry.cancel()
        if response.status != http.client.OK:
            raise RobotFault(f"{self._url} answers with status {response.status}, expected 200")
        return response

    def _next(self, stream: JpegStream) -> bytes:
        self._deadline_s = time.monotonic() + self._picture_s
        jpeg = stream.next()
        if jpeg is None:
            raise RobotFault(f"{self._url}: the stream ended")
        return jpeg

    def _read(self, response: http.client.HTTPResponse, count: int) -> bytes:
        if time.monotonic() > self._deadline_s:
            raise RobotFault(f"{self._url}: no whole picture within {self._picture_s:g} s")
        return response.read1(count)


def _hang_up(connection: http.client.HTTPConnection) -> None:
    """Ends whatever somebody waits for on `connection`; it is closed by whom it belongs to."""
    line: socket.socket | None = connection.sock
    if line is not None:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
