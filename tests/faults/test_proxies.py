"""Proxies that the environment names (row 33 of the table), on real processes with a proxy that listens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.report import Row
from tests.http_proxy import SPELLINGS, HttpProxy
from tests.processes import Arm, CommandArm, Server, Spawned
from tests.unit.cameras.samples import served
from tests.unit.cameras.test_http import multipart

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(180)]

FAKE = ("--robot.type=fake", "--duration=2", "--realtime=false")


@pytest.fixture
def command(tmp_path: Path, spawned: list[Spawned]) -> Callable[..., CommandArm]:
    """Starts `segue run` with flags and an environment."""

    def start(address: str, *flags: str, **environment: str) -> CommandArm:
        made = CommandArm(tmp_path / "arm", address, *FAKE, *flags, environment=environment)
        spawned.append(made)
        return made

    return start


@pytest.mark.fault(33, "proxy variables in the environment", "not used: neither server nor camera")
def test_a_proxy_of_the_environment_sees_nobody(
    row: Row,
    serve: Callable[..., Server],
    command: Callable[..., CommandArm],
    judged: Callable[[Arm], int],
) -> None:
    """With every proxy variable set in both cases a run and its network camera go past the proxy."""
    server = serve()
    with HttpProxy() as proxy, served(multipart) as url:
        camera = f"{{front: {{type: http, url: '{url}', width: 64, height: 48}}}}"
        variables = dict.fromkeys(SPELLINGS, f"http://{proxy.address}")
        made = command(server.address, f"--robot.cameras={camera}", **variables)
        assert made.wait() == 0, made.words()
    assert proxy.heads == []
    row.note(f"{len(SPELLINGS)} variables set, {len(proxy.heads)} connections to the proxy")
    row.note(f"{made.chunks()} chunks, {judged(made)} commands clean")
    assert made.chunks() > 0


@pytest.mark.fault("33b", "a proxy that is asked for", "used, and said what it can read")
def test_a_proxy_that_is_asked_for_is_used(
    row: Row,
    serve: Callable[..., Server],
    command: Callable[..., CommandArm],
    judged: Callable[[Arm], int],
) -> None:
    """With the flag every connection goes through the proxy, and without TLS a warning says what it sees."""
    server = serve()
    with HttpProxy() as proxy:
        made = command(server.address, "--use_proxy=true", HTTPS_PROXY=f"http://me:secret@{proxy.address}")
        assert made.wait() == 0, made.words()
    assert set(proxy.asked_for) == {f"CONNECT {server.address} HTTP/1.1"}
    said = f"the proxy {proxy.address} (HTTPS_PROXY) can read and change every picture and action"
    assert made.words().count(said) == 1
    kept = "".join(path.read_text() for path in (made.folder / "run").iterdir())
    assert "secret" not in made.words() + kept
    row.note(f"{len(proxy.heads)} connections, all through the proxy; {made.chunks()} chunks")
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault("33c", "a token, no TLS, a proxy", "64 before anything is sent")
def test_a_token_is_not_shown_to_a_proxy(row: Row, command: Callable[..., CommandArm]) -> None:
    """A run that would show its token to a proxy ends with 64, and the proxy sees nobody."""
    with HttpProxy() as proxy:
        made = command(
            "127.0.0.1:1", "--use_proxy=true", http_proxy=f"http://{proxy.address}", SEGUE_TOKEN="t" * 40
        )
        assert made.wait() == 64, made.words()
    assert "the token would travel in plain text through this proxy" in made.words()
    assert proxy.heads == []
    row.note(f"exit 64, {len(proxy.heads)} connections to the proxy")
