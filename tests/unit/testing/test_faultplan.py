from __future__ import annotations

from collections import Counter

from segue.testing.faultplan import ENDINGS, MINUTE_S, FaultKind, draw

PLANS = [draw(seed) for seed in range(400)]


def test_a_seed_gives_one_plan() -> None:
    """The same seed gives the same plan, another seed another."""
    assert str(draw(5)) == str(draw(5)) != str(draw(6))


def test_every_plan_holds_five_faults_within_its_minute() -> None:
    """A plan holds at least five faults, in order, all within the minute."""
    for plan in PLANS:
        times = [fault.at_ns for fault in plan.faults]
        assert len(times) >= 5
        assert times == sorted(times)
        assert 0 < times[0] <= times[-1] < MINUTE_S * 1e9


def test_every_kind_of_fault_and_setting_occurs() -> None:
    """Every kind of fault is drawn again and again, and so is every strategy at every rate."""
    kinds = Counter(fault.kind for plan in PLANS for fault in plan.faults)
    assert set(kinds) == set(FaultKind)
    settings = Counter((p.setting.rule.strategy, p.setting.action_hz) for p in PLANS)
    assert len(settings) == 9


def test_faults_that_are_apart_do_not_overlap() -> None:
    """In a plan with faults apart each is over two seconds before the next begins."""
    apart = [plan for plan in PLANS if plan.apart and not plan.ends]
    assert len(apart) > 100
    for plan in apart:
        for fault, following in zip(plan.faults, plan.faults[1:], strict=False):
            assert fault.until_ns + 2_000_000_000 <= following.at_ns


def test_what_ends_a_run_comes_late_and_seldom() -> None:
    """About a quarter of the plans end before their minute is over, none before 40 s."""
    ending = [plan for plan in PLANS if plan.ends]
    assert 0.15 < len(ending) / len(PLANS) < 0.35
    for plan in ending:
        (last,) = [fault for fault in plan.faults if fault.kind in ENDINGS]
        assert last.at_ns >= 40_000_000_000
