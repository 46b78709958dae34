"""Which steps an item ties to its leftover; the weights themselves are in tests/numerics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segue.core.types import Guidance, Leftover, Observation, RtcMode, Strategy
from segue.errors import PolicyError
from segue.policies.base import PolicyInput
from segue.policies.prefix import Window, guided_window

ITEM = PolicyInput(
    observation=Observation(0, 0, state=np.zeros(2)),
    history=(),
    task="",
    leftover=Leftover(np.zeros((12, 2))),
    delay_steps=3,
    chunk_length=20,
    guidance=Guidance(),
    seed=0,
)


def test_leftover_is_continued() -> None:
    """With the RTC strategy and a leftover the window is the leftover's, cut to the chunk."""
    assert guided_window(ITEM, horizon=50) == Window(3, 12)
    assert guided_window(replace(ITEM, chunk_length=8), horizon=50) == Window(3, 8)
    assert guided_window(ITEM, horizon=5) == Window(3, 5)


@pytest.mark.parametrize("strategy", [Strategy.SYNC, Strategy.ASYNC])
def test_other_strategies_sample_freely(strategy: Strategy) -> None:
    """Without the RTC strategy a leftover is ignored."""
    assert guided_window(replace(ITEM, guidance=Guidance(strategy=strategy)), horizon=50) is None


def test_nothing_left_is_sampled_freely() -> None:
    """No leftover and an empty one both mean a fresh chunk."""
    assert guided_window(replace(ITEM, leftover=None), horizon=50) is None
    assert guided_window(replace(ITEM, leftover=Leftover(np.zeros((0, 2)))), horizon=50) is None


def test_trained_mode_is_refused_by_name() -> None:
    """A policy that knows guidance only says so at the first question, not at the second chunk."""
    item = replace(ITEM, guidance=Guidance(mode=RtcMode.TRAINED), leftover=None)
    with pytest.raises(PolicyError, match=r"guidance\.mode: 'trained'.*allowed is 'guided'"):
        guided_window(item, horizon=50)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0])
def test_guidance_weight_must_be_a_finite_number(weight: float) -> None:
    """A guidance weight that would put undefined numbers into the chunk is refused by name."""
    with pytest.raises(PolicyError, match=r"guidance\.max_weight"):
        guided_window(replace(ITEM, guidance=Guidance(max_weight=weight)), horizon=50)
