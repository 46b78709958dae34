"""Network cameras against servers on loopback, honest and hostile."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import pytest

from segue.cameras.http import HttpCamera
from segue.cameras.latest import LatestFrame, WatchPlan
from segue.clock import NS_PER_S
from segue.core.specs import CameraSpec
from segue.errors import RobotFault
from segue.testing.conformance import check_camera
from tests.http_proxy import SPELLINGS, HttpProxy
from tests.unit.cameras.samples import jpegs, served

SPEC = CameraSpec("front", 48, 64, fps=100.0)
PICTURES = jpegs(4)


def multipart(handler: BaseHTTPRequestHandler, lengths: bool = True, rest_s: float = 0.01) -> None:
    """Answers as a network camera does, until the other side goes away."""
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
    handler.end_headers()
    for jpeg in itertools.cycle(PICTURES):
        length = f"Content-Length: {len(jpeg)}\r\n" if lengths else ""
        head = f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n"
        handler.wfile.write(head.encode() + jpeg + b"\r\n")
        time.sleep(rest_s)


def answering(status: int, body: bytes, kind: str = "image/jpeg") -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize("lengths", [True, False])
def test_a_stream_conforms(lengths: bool) -> None:
    """A stream with stated lengths and one without keep the promises of a camera, over a reopening too."""
    with served(lambda handler: multipart(handler, lengths)) as url:
        camera = HttpCamera(SPEC, url)
        check_camera(camera)
        assert "number=12" in repr(camera)


@pytest.mark.parametrize("variable", SPELLINGS)
def test_no_proxy_sees_a_camera(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever variable names a proxy, in either case, the camera is asked and the proxy sees nobody."""
    with HttpProxy() as proxy, served(multipart) as url:
        monkeypatch.setenv(variable, f"http://{proxy.address}")
        camera = HttpCamera(SPEC, url)
        camera.open()
        assert camera.grab().jpeg in PICTURES
        camera.close()
    assert proxy.heads == []


def test_pictures_pass_untouched_and_in_order() -> None:
    """The bytes are those that were sent; none is left out and none comes twice."""
    with served(multipart) as url:
        camera = HttpCamera(SPEC, url)
        camera.open()
        shown = [camera.grab().jpeg for _ in range(4)]
        camera.close()
    begin = PICTURES.index(shown[0] or b"")
    assert shown == PICTURES[begin:] + PICTURES[:begin]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (answering(404, b"gone"), "status 404"),
        (answering(302, b""), "status 302"),
        (answering(200, b"<html>hello</html>" * 1000, "text/html"), "the stream ended"),
        (answering(200, PICTURES[0][:-50]), "the stream ended"),
        (answering(200, jpegs(1, 96, 128)[0]), "delivers 128x96, asked for were 64x48"),
    ],
)
def test_an_answer_that_is_no_stream_of_this_camera_is_a_fault(
    answer: Callable[[BaseHTTPRequestHandler], None], said: str
) -> None:
    """Another status, another content, another size: each is said, and no other address is followed."""
    with served(answer) as url:
        camera = HttpCamera(SPEC, url)
        with pytest.raises(RobotFault, match=said):
            camera.open()
        camera.close()


def test_nobody_at_the_address_is_a_fault() -> None:
    """A refused connection raises `RobotFault` with the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        camera = HttpCamera(SPEC, f"http://127.0.0.1:{taken.getsockname()[1]}/")
        with pytest.raises(RobotFault, match=r"http://127\.0\.0\.1.* refused"):
            camera.open()


def test_a_server_that_falls_silent_is_a_fault() -> None:
    """A stream that stalls for longer than the wait raises `RobotFault`."""
    done = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        answering(200, PICTURES[0])(handler)
        done.wait(20.0)

    with served(stall) as url:
        camera = HttpCamera(SPEC, url, timeout_s=0.2)
        camera.open()
        with pytest.raises(RobotFault, match="timed out"):
            camera.grab()
        camera.close()
        done.set()


def test_a_picture_that_trickles_in_is_a_fault() -> None:
    """A server that sends a byte now and then, within every timeout, is not waited for without end."""

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        answering(200, PICTURES[0])(handler)
        for byte in itertools.cycle(PICTURES[0][:-2]):
            handler.wfile.write(bytes([byte]))
            time.sleep(0.005)

    with served(trickle) as url:
        camera = HttpCamera(SPEC, url, picture_s=0.3)
        camera.open()
        with pytest.raises(RobotFault, match="no whole picture within"):
            camera.grab()
        camera.close()


@pytest.mark.parametrize("line", [b"HTTP/1.1 100 Continue\r\n\r\n", b"H"])
def test_an_answer_that_never_begins_is_a_fault(line: bytes) -> None:
    """Interim answers or letters of a header, hold a camera up no longer than a picture may take."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        for _ in range(1000):
            handler.wfile.write(line)
            time.sleep(0.01)

    with served(drip) as url:
        camera = HttpCamera(SPEC, url, picture_s=0.3)
        began = time.monotonic()
        with pytest.raises(RobotFault):
            camera.open()
        camera.close()
    assert time.monotonic() - began < 5.0


def test_a_picture_without_end_is_a_fault_before_it_fills_the_memory() -> None:
    """An endless picture is given up at the largest size that a picture may have."""

    def flood(handler: BaseHTTPRequestHandler) -> None:
        answering(200, PICTURES[0])(handler)
        handler.wfile.write(PICTURES[0][:-2])
        while True:
            handler.wfile.write(b"\x00" * 65536)

    with served(flood) as url:
        camera = HttpCamera(SPEC, url)
        camera.open()
        with pytest.raises(RobotFault, match="a picture of more than 4194304 bytes"):
            camera.grab()
        camera.close()


def test_only_http_is_spoken() -> None:
    """Another scheme, a file of this host above all, is never opened."""
    for url in ("file:///etc/hostname", "ftp://127.0.0.1/a", "http://"):
        with pytest.raises(RobotFault, match="expected http"):
            HttpCamera(SPEC, url).open()


def test_a_stream_that_breaks_off_is_taken_up_again() -> None:
    """After each end of the stream pictures come again, with numbers that go on."""

    def few(handler: BaseHTTPRequestHandler) -> None:
        answering(200, b"".join(PICTURES[:3]))(handler)

    with served(few) as url:
        watched = LatestFrame(HttpCamera(SPEC, url), WatchPlan(reopen_ns=NS_PER_S // 50))
        watched.start()
        numbers: set[int] = set()
        deadline = time.monotonic() + 20.0
        while max(numbers, default=0) < 8 and time.monotonic() < deadline:
            frame = watched.latest()
            numbers |= {frame.number} if frame else set()
            time.sleep(0.002)
        watched.stop()
    assert max(numbers) >= 8
