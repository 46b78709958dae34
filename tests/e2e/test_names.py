"""Servers by their names, on real processes: with a hosts file of their own, which needs root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from segue.policies.scripted import ScriptedConfig, ScriptedPolicy
from segue.server.lifecycle import PolicyServer
from segue.server.security import ServerSecurity
from segue.server.settings import ServerConfig
from tests.key_sets import key_set, tls
from tests.processes import CommandArm

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

FAKE = ("--robot.type=fake", "--duration=0.5", "--realtime=false", "--safety.offline_limit_s=10")
needs_a_hosts_file = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare"
)


@pytest.fixture
def start() -> Iterator[Callable[..., int]]:
    """Starts servers and returns their ports."""
    servers: list[PolicyServer] = []

    def started(security: ServerSecurity | None = None) -> int:
        config = ServerConfig(port=0, security=security or ServerSecurity())
        servers.append(PolicyServer(config, ScriptedPolicy(ScriptedConfig())))
        return int(servers[-1].start().rpartition(":")[2])

    yield started
    for server in servers:
        server.stop(0.0)


def with_hosts(folder: Path, text: str) -> list[str]:
    """Returns the words before a command that is to see `text` as ``/etc/hosts``."""
    hosts = folder / "hosts"
    hosts.write_text(text)
    # A mount that nobody else sees, and that ends with the command.
    return ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST"])
def test_a_run_finds_its_server_by_name(name: str, tmp_path: Path, start: Callable[..., int]) -> None:
    """A server on IPv4 is found by a name that may have an IPv6 address, too."""
    arm = CommandArm(tmp_path / "arm", f"{name}:{start()}", *FAKE)
    assert arm.wait() == 0, arm.words()
    assert arm.chunks() > 0


@needs_a_hosts_file
@pytest.mark.root
def test_a_name_that_no_name_server_knows_is_found(tmp_path: Path, start: Callable[..., int]) -> None:
    """A .local name of this computer's own is dialled at each of its addresses, and has its certificate."""
    keys = key_set(tmp_path / "keys", "gpu-box.local")
    port = start(tls(keys).read())
    before = with_hosts(tmp_path, "::1 gpu-box.local\n127.0.0.9 gpu-box.local\n127.0.0.1 gpu-box.local\n")
    flags = (f"--tls.ca_file={keys.ca}", f"--auth.token_file={keys.token}")
    arm = CommandArm(tmp_path / "arm", f"GPU-Box.local:{port}", *FAKE, *flags, before=before)
    assert arm.wait() == 0, arm.words()
    assert arm.chunks() > 0
