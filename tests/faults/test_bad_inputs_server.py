"""Bad inputs to a server that is a process of its own: each is refused as promised and leaves nothing behind.

One server takes the whole list. After each input the next good call works and
the log has one line more; after all of them its memory is where it was.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import resource
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from segue.wire import policy_pb2 as pb
from segue.wire.refusal import Reason, refusal_in
from tests.any_robot import WAIT_S, AnyRobot
from tests.faults.bad_server_inputs import (
    BAD_HANDSHAKES,
    BAD_REQUESTS,
    FORBIDDEN_POLICIES,
    MISFITS,
    PICKLE,
)
from tests.faults.report import Row
from tests.processes import ENVIRONMENT, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(240)]

Code = grpc.StatusCode
SERVICE = "segue.v1.PolicyService"
MOST_GROWTH_KB = 50 * 1024
HANDSHAKE_S = 5.0
SLACK_MS = 500.0
CONNECTIONS = 10_000
WEIGHTS = Path(__file__).parents[2] / "src/segue/policies/weights/belt.safetensors"
MIB = 2**20


class Server:
    """`segue serve` as a user starts it, and its log."""

    def __init__(self, folder: Path) -> None:
        root = folder / "policies"
        (root / "folder").mkdir(parents=True)
        (root / "good.safetensors").symlink_to(root / "folder/belt.safetensors")
        (root / "folder/belt.safetensors").write_bytes(WEIGHTS.read_bytes())
        (folder / "outside.safetensors").write_bytes(WEIGHTS.read_bytes())
        (root / "escape.safetensors").symlink_to(folder / "outside.safetensors")
        (root / "folder/escape").symlink_to(folder)
        (root / "broken.safetensors").write_bytes(struct.pack("<Q", 2**60) + PICKLE)
        self.log = folder / "log"
        self.before_kb = 0
        flags = ("--policy.path=builtin:scripted", f"--policy.roots={root}", "--port=0")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "segue.cli.main", "serve", *flags],
                stdout=log,
                stderr=log,
                env={**os.environ, **ENVIRONMENT},
            )
        wait_until(lambda: "ready on " in self.words() or self.process.poll() is not None, "it serves")
        self.address = self.words().partition("ready on ")[2].partition(",")[0]
        host, _, port = self.address.rpartition(":")
        self.endpoint = (host, int(port))

    def words(self) -> str:
        """Returns the log."""
        return self.log.read_text(errors="replace")

    def resident_kb(self) -> int:
        """Returns the memory that it holds."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4

    @contextlib.contextmanager
    def says_one_line(self) -> Iterator[None]:
        """Expects one printable line more in the log, and a living process."""
        before = len(self.words())
        yield
        wait_until(lambda: len(self.words()) > before, "it says something")
        lines = self.words()[before:].splitlines()
        assert len(lines) == 1, lines
        assert lines[0].isprintable()
        assert len(lines[0]) < 3000
        assert self.process.poll() is None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the whole list, whose memory must be flat over all of it."""
    made = Server(tmp_path_factory.mktemp("server"))
    try:
        robot = AnyRobot(made.address).open()
        _load_good(made, robot)
        for _ in range(50):
            robot.infer(robot.message())
        made.before_kb = made.resident_kb()
        yield made
    finally:
        made.process.terminate()
        made.process.wait(WAIT_S)


def _load_good(server: Server, robot: AnyRobot) -> None:
    """Has a policy loaded by its name, as any robot may: it brings a library of 200 MB with it."""
    message = robot.handshake()
    message.policy = "good"
    first = _refused(lambda: robot.stub.Open(message, timeout=WAIT_S), Code.UNAVAILABLE)
    assert refusal_in(first.trailing_metadata()).reason is Reason.NOT_READY
    wait_until(lambda: "'good', named by a client, is loaded" in server.words(), "it is loaded")
    # Now it is there, and looks for cubes that this robot does not have.
    _refused(lambda: robot.stub.Open(message, timeout=WAIT_S), Code.FAILED_PRECONDITION)


@pytest.fixture(scope="module")
def robot(server: Server) -> AnyRobot:
    """A robot that behaves before and after each bad input."""
    return AnyRobot(server.address).open()


def _refused(call: Callable[[], object], code: grpc.StatusCode) -> grpc.RpcError:
    """Expects `call` to be refused with one sentence that says nothing of the server's inside."""
    with pytest.raises(grpc.RpcError) as error:
        call()
    assert error.value.code() is code, error.value
    details = error.value.details()
    assert details
    assert details.isprintable()
    for inside in ("Traceback", "/src/", "/tmp", "site-packages", "Exception"):
        assert inside not in details
    return error.value


@pytest.mark.parametrize(("spoil", "named"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_bad_request_is_invalid_by_name(
    server: Server, robot: AnyRobot, spoil: Callable[[pb.InferRequest], None], named: str
) -> None:
    """A request with one bad field is INVALID_ARGUMENT and names it; the next good request is served."""
    message = robot.message()
    spoil(message)
    with server.says_one_line():
        error = _refused(lambda: robot.infer(message), Code.INVALID_ARGUMENT)
    assert named in error.details()
    robot.infer(robot.message())


@pytest.mark.parametrize(("spoil", "named"), MISFITS.values(), ids=MISFITS)
def test_a_misfit_is_told_with_both_sides(
    server: Server, robot: AnyRobot, spoil: Callable[[pb.OpenRequest], None], named: tuple[str, ...]
) -> None:
    """A robot that does not fit is FAILED_PRECONDITION, with what each side says."""
    message = robot.handshake()
    spoil(message)
    with server.says_one_line():
        error = _refused(lambda: robot.stub.Open(message, timeout=WAIT_S), Code.FAILED_PRECONDITION)
    for each in named:
        assert each in error.details()
    robot.infer(robot.message())


@pytest.mark.parametrize("spoil", BAD_HANDSHAKES.values(), ids=BAD_HANDSHAKES)
def test_a_bad_handshake_is_invalid(
    server: Server, robot: AnyRobot, spoil: Callable[[pb.OpenRequest], None]
) -> None:
    """A handshake with one bad field is INVALID_ARGUMENT; the session that was there still serves."""
    message = robot.handshake()
    spoil(message)
    with server.says_one_line():
        _refused(lambda: robot.stub.Open(message, timeout=WAIT_S), Code.INVALID_ARGUMENT)
    robot.infer(robot.message())


@pytest.mark.parametrize(
    "data", [PICKLE, bytes(range(256)), b"\x4a\x04li\xff\xfe"], ids=["pickle", "noise", "utf8"]
)
@pytest.mark.parametrize("method", ["Describe", "Open", "Infer"])
def test_bytes_that_are_no_message_are_invalid(
    server: Server, robot: AnyRobot, method: str, data: bytes
) -> None:
    """A pickle, noise, or text that is no UTF-8 instead of a message is INVALID_ARGUMENT."""
    if method != "Infer" and data.startswith(b"\x4a"):
        pytest.skip("only a request has text in field 9; elsewhere it is an unknown field")
    call = robot.channel.unary_unary(f"/{SERVICE}/{method}")
    with server.says_one_line():
        _refused(lambda: call(data, timeout=WAIT_S), Code.INVALID_ARGUMENT)
    robot.infer(robot.message())


@pytest.mark.parametrize("name", FORBIDDEN_POLICIES)
def test_no_policy_outside_the_folders_is_opened(server: Server, robot: AnyRobot, name: str) -> None:
    """A path, an address, a hub's name and a link that leads out are PERMISSION_DENIED."""
    message = robot.handshake()
    message.policy = name
    with server.says_one_line():
        _refused(lambda: robot.stub.Open(message, timeout=WAIT_S), Code.PERMISSION_DENIED)
    robot.infer(robot.message())


def test_a_broken_policy_is_refused_without_its_path(server: Server, robot: AnyRobot) -> None:
    """A weights file that claims a header of 2^60 bytes is refused, and only the log says why."""
    message = robot.handshake()
    message.policy = "broken"
    first = _refused(lambda: robot.stub.Open(message, timeout=WAIT_S), Code.UNAVAILABLE)
    assert refusal_in(first.trailing_metadata()).reason is Reason.NOT_READY
    wait_until(lambda: "'broken', named by a client, cannot be loaded" in server.words(), "it was tried")
    with server.says_one_line():
        _refused(lambda: robot.stub.Open(message, timeout=WAIT_S), Code.FAILED_PRECONDITION)
    robot.infer(robot.message())


def test_no_other_method_is_there(server: Server, robot: AnyRobot) -> None:
    """A method that does not exist is UNIMPLEMENTED."""
    call = robot.channel.unary_unary(f"/{SERVICE}/Shutdown")
    _refused(lambda: call(b"", timeout=WAIT_S), Code.UNIMPLEMENTED)
    robot.infer(robot.message())


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_what_is_over_the_limit_is_refused_before_it_is_read(
    server: Server, robot: AnyRobot, compression: grpc.Compression
) -> None:
    """A message over 8 MiB, and 97 kB that inflate to 100 MB, are RESOURCE_EXHAUSTED, and memory stays."""
    before_kb = server.resident_kb()
    size = 9 * MIB if compression is grpc.Compression.NoCompression else 100_000_000
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.address, options=options, compression=compression) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Infer")
        _refused(lambda: call(bytes(size), timeout=WAIT_S), Code.RESOURCE_EXHAUSTED)
    assert len(gzip.compress(bytes(1_000_000))) < 2_000  # so a bomb is cheap for its sender
    assert server.resident_kb() - before_kb < MOST_GROWTH_KB
    robot.infer(robot.message())


STRANGERS = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": bytes(range(255, -1, -1)) * 8,
    "TLS": bytes.fromhex("16030100c4010000c00303") + bytes(190),
    "HTTP/2 with a broken frame": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
    "pickle": PICKLE * 8,
}


@pytest.mark.parametrize("greeting", STRANGERS.values(), ids=STRANGERS)
def test_another_protocol_is_hung_up_on(server: Server, robot: AnyRobot, greeting: bytes) -> None:
    """Whoever speaks anything but HTTP/2 is hung up on, and the next good request is served."""
    with socket.create_connection(server.endpoint, timeout=WAIT_S) as stranger:
        stranger.sendall(greeting)
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(4096):
                continue
    robot.infer(robot.message())


@pytest.mark.fault("in1", "slow HTTP/2 preface", "closed after the handshake's 5 s")
def test_a_slow_preface_is_hung_up_on(row: Row, server: Server, robot: AnyRobot) -> None:
    """A peer that sends its greeting a byte at a time is hung up on after the handshake's time."""
    began = time.monotonic()
    with socket.create_connection(server.endpoint, timeout=0.2) as stranger:
        greeting = iter(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" * 10)
        closed = any(_ended(stranger, byte) for byte in greeting)
    assert closed
    row.within("closed after", 1000 * (time.monotonic() - began), 1000 * HANDSHAKE_S + SLACK_MS)
    robot.infer(robot.message())


def _ended(stranger: socket.socket, byte: int) -> bool:
    """Sends a byte and reads what comes for a moment; True when the connection is closed."""
    try:
        stranger.sendall(bytes([byte]))
        while stranger.recv(4096):
            continue
    except TimeoutError:
        return False
    except (ConnectionResetError, BrokenPipeError):
        pass
    return True


@pytest.mark.fault("in2", "10 000 idle connections", "capped and closed, robots are served meanwhile")
def test_ten_thousand_idle_connections_are_closed(row: Row, server: Server, robot: AnyRobot) -> None:
    """However many silent connections come, all are closed again, and robots are served all the while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = min(CONNECTIONS, hard - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, many + 400), hard))
    began, selector = time.monotonic(), selectors.DefaultSelector()
    strangers: set[socket.socket] = set()
    try:
        for k in range(many):
            strangers |= _silent(server.endpoint, selector)
            if k % 1000 == 0:
                robot.infer(robot.message())
        opened_s = time.monotonic() - began
        while strangers:
            assert time.monotonic() - began < opened_s + 10 * HANDSHAKE_S, f"{len(strangers)} are still open"
            strangers -= {each for each in _heard(selector) if _hung_up(each, selector)}
    finally:
        for stranger in strangers:
            stranger.close()
        selector.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    row.note(f"{many} in {opened_s:.1f} s, all closed after {time.monotonic() - began:.1f} s")
    robot.infer(robot.message())
    AnyRobot(server.address).open()


def _silent(endpoint: tuple[str, int], selector: selectors.BaseSelector) -> set[socket.socket]:
    """Returns a connection that says nothing; nothing when it is not even accepted."""
    try:
        stranger = socket.create_connection(endpoint, timeout=WAIT_S)
    except OSError:
        return set()
    stranger.setblocking(False)
    selector.register(stranger, selectors.EVENT_READ)
    return {stranger}


def _heard(selector: selectors.BaseSelector) -> list[socket.socket]:
    return [key.fileobj for key, _ in selector.select(1.0) if isinstance(key.fileobj, socket.socket)]


def _hung_up(stranger: socket.socket, selector: selectors.BaseSelector) -> bool:
    """Reads what came; True, and the socket closed, when that was the end."""
    try:
        over = not stranger.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        over = True
    if over:
        selector.unregister(stranger)
        stranger.close()
    return over


@pytest.mark.fault("in3", "all bad inputs of the server", "the process lives, memory +50 MiB at most")
def test_memory_is_flat_over_the_list(row: Row, server: Server, robot: AnyRobot) -> None:
    """After all of the above the same process serves, and holds 50 MiB more than before at most."""
    robot.infer(robot.message())
    grown_kb = server.resident_kb() - server.before_kb
    row.note(f"memory grew by {grown_kb / 1024:.1f} MiB")
    assert server.process.poll() is None
    assert grown_kb <= MOST_GROWTH_KB
