"""Makes the helpers beside these tests importable however pytest imports the tests, and starts servers."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from segue.server.lifecycle import PolicyServer
from segue.server.settings import ServerConfig
from segue.server.store import PolicyStore
from tests.unit.server.thin_client import Client
from tests.unit.server.toy_policy import ToyPolicy

# On a busy machine an example may take long for reasons that say nothing about the code.
settings.register_profile("segue", deadline=None)
settings.load_profile("segue")


@pytest.fixture
def serve() -> Iterator[Callable[..., Client]]:
    """Starts servers and hands out a client of each; stops them all at the end."""
    servers: list[PolicyServer] = []

    def start(policy: ToyPolicy | PolicyStore | None = None, **changes: object) -> Client:
        config = replace(ServerConfig(port=0), **changes)  # type: ignore[arg-type]
        servers.append(PolicyServer(config, policy or ToyPolicy()))
        client = Client(servers[-1].start())
        client.server = servers[-1]
        return client

    yield start
    for server in servers:
        server.stop(0.0)
