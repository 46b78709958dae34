from __future__ import annotations

import pytest

from segue.testing.netfaults import MOMENTARY, NetFault, Schedule


def test_a_seed_draws_the_same_schedule() -> None:
    """The same seed draws the same schedule, another one another."""
    assert Schedule.random(3, 600) == Schedule.random(3, 600)
    assert Schedule.random(3, 600) != Schedule.random(4, 600)


@pytest.mark.parametrize("seed", range(5))
def test_a_drawn_schedule_heals_everything(seed: int) -> None:
    """Every fault is over before the next begins and within the duration, and all kinds occur."""
    changes = Schedule.random(seed, 300).changes
    times = [at for at, _ in changes]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] <= 300
    assert {c.fault for _, c in changes} == set(NetFault) - {NetFault.FLIP}
    lasting = [c for _, c in changes if c.fault not in MOMENTARY]
    for begin, end in zip(lasting[::2], lasting[1::2], strict=True):
        assert (begin.fault, begin.up, begin.down) == (end.fault, end.up, end.down)
        assert begin.value > 0 == end.value


def test_a_schedule_draws_only_from_the_kinds_it_is_given() -> None:
    """Flipped bits come only when they are asked for, then as often as anything else."""
    only = Schedule.random(1, 300, faults=(NetFault.FLIP, NetFault.RESET)).changes
    assert {c.fault for _, c in only} == {NetFault.FLIP, NetFault.RESET}
    assert all(0 <= c.value <= 1e-4 for _, c in only if c.fault is NetFault.FLIP)


def test_some_routers_answer_and_some_do_not() -> None:
    """Of the routers that forget, a schedule draws both kinds, each with a silence that is not too short."""
    drawn = [c for _, c in Schedule.random(2, 600, faults=(NetFault.FORGET,)).changes if c.value]
    assert {c.reset for c in drawn} == {True, False}
    assert all(0.1 <= c.value <= 2.1 for c in drawn)
