"""How often a server that says no is dialled: the same number by the real link and by the simulated one."""

from __future__ import annotations

import pytest

from segue.core.link import events as ev
from tests.faults.report import Row
from tests.sim.dials import SCENARIOS, UNTIL_S, all_for_real, simulated

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(120)]

# The end of the time may cut the last pause short, and a busy computer is late at every dial.
_CUT, _LATE = 1, 0.1


@pytest.mark.fault("5b", "a server that opens and says no", "as many dials in 5 s as in the simulation")
def test_dials_are_as_many_as_in_the_simulation(row: Row) -> None:
    """In 5 s a server that drains, forgets, is full, fails, is away or silent is dialled equally often."""
    real = all_for_real(3)
    for name in SCENARIOS:
        dials, expected = (log.count(ev.Connect, UNTIL_S) for log in (real[name], simulated(name)))
        row.note(f"{name} {dials} ({expected})")
        assert abs(dials - expected) <= _CUT + _LATE * expected
