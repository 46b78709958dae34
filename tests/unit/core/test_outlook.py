"""When there is news of how long plans last, and when there is none."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from segue.core.feasibility import age_ceiling_ns, longest_delay, starved_share
from segue.core.outlook import Outlook, OutlookChanged, Standing
from segue.core.schedule import RequestRule
from segue.core.types import Strategy

SECOND = 1_000_000_000
RULE = RequestRule(Strategy.RTC, 50, 1.0, 20)
HZ = 100.0


def outlook(declared: int = 10, rule: RequestRule = RULE, ceiling_s: float = 3.5) -> Outlook:
    made = Outlook(rule, HZ, blends=False)
    made.begin(declared, int(ceiling_s * SECOND))
    return made


def told(made: Outlook, delays: list[int], every_s: float = 0.5) -> list[OutlookChanged]:
    """Returns what is said of answers that take so long, one each half second."""
    said = [
        made.note(delay, max(delays[max(0, k - 9) : k + 1]), int(k * every_s * SECOND))
        for k, delay in enumerate(delays)
    ]
    return [each for each in said if each is not None]


@pytest.mark.parametrize(
    ("horizon", "delay", "share"),
    [
        (50, 25, 0),
        (50, 26, 1 - 25 / 26),
        (50, 45, 4 / 9),
        (50, 50, 0.5),
        (50, 100, 2 / 3),
        (1, 1, 0.5),
        (2, 1, 0),
    ],
)
def test_the_law(horizon: int, delay: int, share: float) -> None:
    """None starves up to d = H / 2, then 1 - H / 2d, and from d = H on d / (d + H), which meets it there."""
    assert starved_share(horizon, delay) == pytest.approx(share)
    assert (delay <= longest_delay(horizon)) is (share == 0)


@pytest.mark.parametrize(
    ("warm_s", "beyond_s"), [(0.0, 3.0), (1.0, 3.0), (1.1, 3.3), (3.0, 9.0), (4.0, 10.0), (20.0, 10.0)]
)
def test_the_ceiling(warm_s: float, beyond_s: float) -> None:
    """It is the chunk's time and max(3 s, 3 x the declared inference) more, 10 s more at the most."""
    assert age_ceiling_ns(50, 25.0, int(warm_s * SECOND)) == pytest.approx((2 + beyond_s) * SECOND, abs=1)


def test_one_slow_answer_is_no_news() -> None:
    """Of single spikes, however high, nothing is said; the second in a row is."""
    assert told(outlook(), [10, 45, 10, 10, 99, 10, 10, 45, 12, 45, 11]) == []
    (said,) = told(outlook(), [10, 45, 40])
    assert (said.before, said.after, said.delay_steps) == (Standing.LASTS, Standing.RUNS_DRY, 40)
    assert said.starved_share == pytest.approx(0.375)


def test_what_was_declared_was_said_already() -> None:
    """A run that began with the sentence hears it again only when it becomes worse."""
    assert told(outlook(declared=40), [40] * 50) == []
    assert [e.after for e in told(outlook(declared=40), [40, 60, 60, 60])] == [Standing.OUTLASTED]


def test_better_is_said_once_it_lasts() -> None:
    """It takes ten seconds well below the bound; just below it nothing is said."""
    (worse, better) = told(outlook(), [40] * 5 + [10] * 60)
    assert (better.before, better.after, better.delay_steps) == (Standing.RUNS_DRY, Standing.LASTS, 10)
    assert worse.after is Standing.RUNS_DRY
    assert len(told(outlook(), [40] * 5 + [10] * 25)) == 1
    assert len(told(outlook(), [40] * 5 + [24] * 300)) == 1


@pytest.mark.parametrize("seed", range(5))
def test_a_delay_that_swings_makes_little_noise(seed: int) -> None:
    """An hour of swings between lasting and running dry is told of a handful of times."""
    dice = random.Random(seed)
    delays: list[int] = []
    while len(delays) < 7200:
        delays += [dice.choice((10, 20, 25, 26, 40, 70))] * dice.randint(1, 60)
    assert len(told(outlook(), delays)) <= 20


def test_what_is_meant_to_wait_is_not_told_of() -> None:
    """Sync says nothing of its pauses; aligned, it says where alignment ends."""
    sync = replace(RULE, strategy=Strategy.SYNC)
    assert told(outlook(rule=sync), [49, 49, 80, 80]) == []
    (said,) = told(outlook(rule=replace(sync, aligned=True)), [49, 49, 50, 50])
    assert (said.after, said.starved_share) == (Standing.OUTLASTED, 0.0)


def test_actions_that_would_get_too_old_are_the_worst_news() -> None:
    """Where a chunk cannot be executed below the ceiling that is said, at once when nothing of it can."""
    (said,) = told(outlook(), [301, 301])
    assert (said.after, said.oldest_ns) == (Standing.TOO_OLD, int(3.51 * SECOND))
    made = outlook()
    assert made.note(360, 360, 0, useless=True).after is Standing.TOO_OLD
