"""Who gets in and who does not: real robots against servers with certificates, tokens, or neither."""

from __future__ import annotations

import contextlib
import random
import shlex
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from segue.cli.children import Child
from segue.cli.serve import READY
from segue.client.channel import PolicyChannel
from segue.client.security import LinkSecurity
from segue.clock import NS_PER_S, SystemClock
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy
from segue.server.lifecycle import PolicyServer
from segue.server.security import SecurityFiles, ServerSecurity
from segue.server.settings import ServerConfig
from segue.tools.keys import KeyFolder
from segue.wire import policy_pb2 as pb
from segue.wire.keyfiles import Token, read_tokens
from tests.key_sets import expired_set, key_set, mutual_tls, robot, tls
from tests.unit.client.test_channel import Ears, end_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WAIT_S = 60.0
# A token in this environment would change what the tests are about.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "SEGUE_TOKEN": ""}
OTHER_TOKEN = "o" * 40

Start = Callable[..., str]


@dataclass(frozen=True)
class World:
    """The keys of one test module.

    Attributes:
        own: what server and robot share.
        stranger: of another authority, for the same host.
        expired: of an authority of its own, as is `elsewhere`, which is for another host.
    """

    own: KeyFolder
    stranger: KeyFolder
    expired: KeyFolder
    elsewhere: KeyFolder

    @property
    def token(self) -> Token:
        """The right token."""
        return read_tokens(self.own.token, None)[0]

    def servers(self) -> dict[str, ServerSecurity]:
        """Returns the kinds of server that there are."""
        both = replace(mutual_tls(self.own), token_file=self.own.token)
        return {
            "plain": ServerSecurity(),
            "token": SecurityFiles(token_file=self.own.token).read(),
            "tls": tls(self.own).read(),
            "both": both.read(),
            "expired": tls(self.expired).read(),
            "elsewhere": tls(self.elsewhere).read(),
        }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("keys")
    return World(
        key_set(folder / "own"),
        key_set(folder / "stranger"),
        expired_set(folder / "expired"),
        key_set(folder / "elsewhere", "gpu-box"),
    )


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers in this process, and stops them all."""
    servers: list[PolicyServer] = []

    def started(security: ServerSecurity, port: int = 0) -> str:
        for server in servers if port else ():
            server.stop(0.0)
        config = ServerConfig(port=port, security=security)
        servers.append(PolicyServer(config, ScriptedPolicy(ScriptedConfig(action_hz=30.0))))
        return servers[-1].start()

    yield started
    for server in servers:
        server.stop(0.0)


def run(folder: Path, address: str, *flags: str, **environment: str) -> Child:
    """Starts a robot that leaves its records in ``folder/run``."""
    words = ["run", "--robot.type=fake", f"--server_address={address}", f"--output_dir={folder / 'run'}"]
    words += ["--safety.hold_grace_s=0.2", "--safety.park_s=1", *flags]
    return Child("robot", words, folder / "log", ENVIRONMENT | environment)


def ended(child: Child) -> int | None:
    code = child.wait(WAIT_S)
    if code is None:
        child.end(signal.SIGKILL, 0.0)
    return code


def flags_of(keys: KeyFolder, own: KeyFolder | None = None, token: Path | None = None) -> list[str]:
    """Returns the flags of a robot that trusts the authority of `keys`, with a certificate of `own`."""
    flags = [f"--tls.ca_file={keys.ca}"]
    if own is not None:
        flags += [f"--tls.cert_file={own.client_cert}", f"--tls.key_file={own.client_key}"]
    return flags + ([f"--auth.token_file={token}"] if token else [])


def test_what_keys_prints_drives_a_robot(tmp_path: Path) -> None:
    """Three commands, as they are printed, and a robot moves over mutual TLS with a token."""
    keys = Child(
        "keys",
        ["keys", f"--output_dir={tmp_path / 'my keys'}", "--host=localhost"],
        tmp_path / "keys",
        ENVIRONMENT,
    )
    assert ended(keys) == 0, keys.said()
    commands = [shlex.split(line) for line in keys.said().splitlines() if line.startswith("  segue ")]
    serve, robot = (words[1:] for words in commands)
    server = Child("server", [*serve, "--port=0"], tmp_path / "server", ENVIRONMENT)
    try:
        address = server.wait_for(READY, WAIT_S)
        assert address, server.said()
        port = address.rpartition(":")[2]
        assert "--server_address=localhost:8080" in robot
        words = [word.replace(":8080", f":{port}") for word in robot]
        words += ["--duration=1", f"--output_dir={tmp_path / 'run'}"]
        child = Child("robot", words, tmp_path / "robot", ENVIRONMENT)
        assert ended(child) == 0, child.said()
    finally:
        assert server.end(signal.SIGTERM, 10.0) == 128 + signal.SIGTERM, server.said()
    assert "warn" not in server.said()
    assert "insecure" not in server.said()
    token = (tmp_path / "my keys" / "token").read_text().split()[0]
    told = [server.said(), child.said()]
    told += [path.read_text() for path in (tmp_path / "run").iterdir() if path.suffix != ".mjpeg"]
    assert not any(token in text for text in told)


CASES = {
    "the wrong authority": ("tls", lambda w: flags_of(w.stranger), "did not sign its certificate"),
    "an expired certificate": ("expired", lambda w: flags_of(w.expired), "has expired"),
    "another name": ("elsewhere", lambda w: flags_of(w.elsewhere), "is not for 127.0.0.1"),
    "a plain server": ("plain", lambda w: flags_of(w.own), "it speaks plain text"),
    "a plain robot": ("tls", lambda w: [], "it speaks TLS, and this robot plain text"),
    "a plain robot, mutual TLS": ("both", lambda w: [], "it speaks TLS, and this robot plain text"),
    "no certificate": ("both", lambda w: flags_of(w.own, token=w.own.token), "it asks for a certificate"),
    "an unknown certificate": (
        "both",
        lambda w: flags_of(w.own, w.stranger, w.own.token),
        "it does not accept the certificate in tls.cert_file",
    ),
    "no token": ("both", lambda w: flags_of(w.own, w.own), "this server wants a token"),
    "a wrong token": (
        "both",
        lambda w: flags_of(w.own, w.own, w.stranger.token),
        "this server does not know this token",
    ),
    "no token in plain text": ("token", lambda w: [], "this server wants a token"),
}


@pytest.mark.parametrize("case", CASES)
def test_who_does_not_fit_is_refused_before_the_robot_moves(
    world: World, start: Start, tmp_path: Path, case: str
) -> None:
    """Exit code 77, one sentence that names what to change and no secret, and not one record of a move."""
    kind, flags, says = CASES[case]
    child = run(tmp_path, start(world.servers()[kind]), *flags(world))
    assert ended(child) == 77, child.said()
    lines = child.said().splitlines()
    assert len(lines) == 1, child.said()
    assert says in lines[0]
    secrets = [keys.token.read_text().split()[0] for keys in (world.own, world.stranger)]
    assert not any(secret in lines[0] for secret in [*secrets, str(world.own.path.parent)])
    assert not (tmp_path / "run").exists()


def test_an_expired_token_is_refused(world: World, start: Start, tmp_path: Path) -> None:
    """A token that was good until yesterday ends the run with 77."""
    security = replace(tls(world.own), token_file=world.expired.token).read()
    child = run(tmp_path, start(security), *flags_of(world.own, token=world.expired.token))
    assert ended(child) == 77, child.said()
    assert "this token has expired" in child.said()


def test_the_environment_brings_the_token(world: World, start: Start, tmp_path: Path) -> None:
    """SEGUE_TOKEN drives a robot as a token file does, and is in no record."""
    secret = world.token.text
    child = run(tmp_path, start(world.servers()["token"]), "--duration=0.5", SEGUE_TOKEN=secret)
    assert ended(child) == 0, child.said()
    assert not any(secret in path.read_text() for path in (tmp_path / "run").iterdir())
    assert secret not in child.said()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: replace(w.servers()["both"], tokens=(Token(OTHER_TOKEN),)), "does not know this token"),
        (lambda w: replace(tls(w.stranger), token_file=w.own.token).read(), "did not sign its certificate"),
        (lambda w: w.servers()["token"], "it speaks plain text"),
        (
            lambda w: replace(w.servers()["both"], client_ca=w.stranger.ca.read_bytes()),
            "it does not accept the certificate",
        ),
    ],
    ids=["another token", "another certificate", "no TLS", "another authority for clients"],
)
def test_a_server_that_comes_back_as_another_ends_the_run(
    world: World, start: Start, tmp_path: Path, change: Callable[[World], ServerSecurity], says: str
) -> None:
    """In mid-run a server that restarts and is not the same is not waited for: the arm parks, 77."""
    address = start(world.servers()["both"])
    child = run(tmp_path, address, *flags_of(world.own, world.own, world.own.token))
    records = tmp_path / "run" / "run.jsonl"
    wait_for(lambda: records.exists() and '"chunk"' in records.read_text(), child)
    start(change(world), int(address.rpartition(":")[2]))
    assert ended(child) == 77, child.said()
    assert says in child.said().splitlines()[-1]
    assert "PARK" in records.read_text()


def test_a_server_with_the_same_keys_is_met_again(world: World, start: Start, tmp_path: Path) -> None:
    """After a restart with the same keys the robot opens again and goes on."""
    address = start(world.servers()["both"])
    child = run(tmp_path, address, *flags_of(world.own, world.own, world.own.token))
    records = tmp_path / "run" / "run.jsonl"
    wait_for(lambda: records.exists() and '"chunk"' in records.read_text(), child)
    start(world.servers()["both"], int(address.rpartition(":")[2]))
    before = records.read_text().count('"chunk"')
    wait_for(lambda: records.read_text().count('"chunk"') > before + 2, child)
    assert child.end(signal.SIGINT, WAIT_S) == 130, child.said()


@pytest.mark.parametrize("secure", [False, True])
def test_a_server_that_is_away_is_waited_for(world: World, tmp_path: Path, secure: bool) -> None:
    """With and without TLS nobody listening is no refusal: 69 after the limit."""
    flags = flags_of(world.own, world.own) if secure else []
    child = run(tmp_path, "127.0.0.1:1", "--safety.offline_limit_s=1", *flags)
    assert ended(child) == 69, child.said()
    assert "no server within 1 s" in child.said()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["serve", "--host=0.0.0.0"], "--host=0.0.0.0: others could listen in"),
        (["serve", "--tls.cert_file={own}/server.pem"], "needs tls.key_file beside it"),
        (
            ["serve", "--tls.cert_file={own}/server.pem", "--tls.key_file={own}/client.key"],
            "--tls.key_file: {own}/client.key is not the key of {own}/server.pem",
        ),
        (["serve", "--auth.token_file={own}/none"], "--auth.token_file: {own}/none is no file"),
        (["run", "--robot.type=fake", "--tls.ca_file={own}/client.key"], "has no certificate in it"),
        (
            ["run", "--robot.type=fake", "--server_address=10.0.0.7:1", "--auth.token_file={own}/token"],
            "the token would travel in plain text",
        ),
    ],
)
def test_wrong_files_are_refused_at_the_start(
    world: World, tmp_path: Path, words: list[str], says: str
) -> None:
    """A wrong, missing or half file, and a rule that it breaks, end with 64 and one sentence."""
    own = str(world.own.path)
    output = [f"--output_dir={tmp_path / 'run'}"] if words[0] == "run" else []
    child = Child("wrong", [*(w.format(own=own) for w in words), *output], tmp_path / "log", ENVIRONMENT)
    assert ended(child) == 64, child.said()
    assert len(child.said().splitlines()) == 1, child.said()
    assert says.format(own=own) in child.said()
    assert not (tmp_path / "run").exists()


def test_a_key_that_others_may_read_is_warned_about(start: Start, tmp_path: Path) -> None:
    """The robot's run begins all the same, with one sentence about it."""
    keys = key_set(tmp_path / "keys")
    keys.client_key.chmod(0o644)
    security = mutual_tls(keys).read()
    child = run(tmp_path, start(security), "--duration=0.3", *flags_of(keys, keys))
    assert ended(child) == 0, child.said()
    assert child.said().count("others on this machine may read") == 1


@pytest.mark.parametrize("kind", ["plain", "both"])
def test_other_protocols_leave_the_server_serving(world: World, start: Start, kind: str) -> None:
    """HTTP/1.1, noise, TLS on a plain port and the reverse are hung up on, and robots are served."""
    address = start(world.servers()[kind])
    noise = random.Random(0)
    greetings = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)]
    greetings += [noise.randbytes(size) for size in (1, 100, 5_000, 100_000)]
    for greeting in greetings:
        _greet(address, greeting)
    _greet_in_tls(address)
    security = LinkSecurity() if kind == "plain" else robot(world.own, world.own).read()
    channel = PolicyChannel(address, Ears(), replace(security, token=world.token.text))
    description = end_of(channel.describe(5 * NS_PER_S))
    assert isinstance(description, bytes)
    assert pb.DescribeReply.FromString(description).ready
    channel.close()


def test_a_silent_connection_to_a_tls_port_is_closed(world: World, start: Start) -> None:
    """Whoever connects and never begins the handshake is hung up on."""
    host, port = start(world.servers()["both"]).split(":")
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as silent:
        assert silent.recv(1) == b""


def _greet(address: str, greeting: bytes) -> None:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as stranger:
        with contextlib.suppress(OSError):  # the server may have hung up in the middle
            stranger.sendall(greeting)
            stranger.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while stranger.recv(4096):
                continue


def _greet_in_tls(address: str) -> None:
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    host, port = address.split(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as stranger,
        contextlib.suppress(OSError),
        anybody.wrap_socket(stranger) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        connection.recv(100)


def wait_for(condition: Callable[[], bool], child: Child) -> None:
    """Waits for `condition` as long as `child` lives."""
    clock = SystemClock()
    end_ns = clock.now_ns() + int(WAIT_S * NS_PER_S)
    while not condition():
        assert child.code is None, child.said()
        assert clock.now_ns() < end_ns, child.said()
        clock.sleep_until(clock.now_ns() + NS_PER_S // 50)
