"""The link of the simulation and the real one dial, open and ask alike, whatever a server does."""

from __future__ import annotations

import pytest

from tests.sim.dials import SCENARIOS, Log, all_for_real, simulated

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def real_logs() -> dict[str, Log]:
    """What the real link did in each scenario."""
    return all_for_real(len(SCENARIOS))


@pytest.mark.parametrize("name", SCENARIOS)
def test_simulation_and_reality_dial_alike(name: str, real_logs: dict[str, Log]) -> None:
    """Both dial, open and ask in the same order, and decide on the same pauses in between."""
    real, story = real_logs[name].story(), simulated(name).story()
    shared = min(len(real), len(story))
    assert real[:shared] == story[:shared]
    # A busy computer may be late at everything, and get through less of it in the same time.
    assert shared >= 0.5 * max(len(real), len(story))
