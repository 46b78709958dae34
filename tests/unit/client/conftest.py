from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.client.toyserver import ToyServer


@pytest.fixture
def toy() -> Iterator[ToyServer]:
    """Runs a server that says what it is told to say."""
    server = ToyServer()
    yield server
    server.stop()
