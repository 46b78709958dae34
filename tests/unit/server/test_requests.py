"""Requests held against robot and policy."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest

from segue.core.types import Guidance, Leftover, Observation, RtcMode, Strategy
from segue.errors import RemoteProtocolError
from segue.server.requests import check_request, policy_input
from tests.unit.server.toy_policy import HORIZON, ROBOT, SPEC, context, request

GOOD = request().observation


def observation(state: list[float], environment: list[float]) -> Observation:
    return replace(GOOD, state=np.array(state), environment=np.array(environment))


def leftover(length: int, width: int = 2, model_width: int = 3, fill: float = 0.0) -> Leftover:
    return Leftover(np.full((length, width), fill), np.zeros((length, model_width)))


def test_a_good_request_passes() -> None:
    """A request that fits is not refused, with and without leftover."""
    check_request(request(), context("s"), ROBOT, SPEC)
    check_request(request(leftover=None, delay_steps=0), context("s", chunk_length=0), ROBOT, SPEC)
    unchanged = Leftover(np.zeros((HORIZON, 2)), None)
    check_request(request(leftover=unchanged, delay_steps=HORIZON), context("s"), ROBOT, SPEC)


BAD_REQUESTS: dict[str, tuple[str, dict[str, object]]] = {
    "state NaN": ("observation.state: grip is not finite", {"observation": observation([1, nan], [0])}),
    "state Inf": ("observation.state: pan is not finite", {"observation": observation([-inf, 0], [0])}),
    "state too wide": (
        r"state: 3 numbers, expected 2 \(pan, grip\)",
        {"observation": observation([1] * 3, [0])},
    ),
    "environment NaN": ("environment: cube_x is not finite", {"observation": observation([1, 1], [nan])}),
    "environment absent": (r"environment: 0 numbers.*\(cube_x\)", {"observation": observation([1, 1], [])}),
    "history not asked for": ("history: count: 1 is outside 0..0", {"history": (GOOD,)}),
    "leftover too long": ("leftover: length: 9 is outside 1..8", {"leftover": leftover(9)}),
    "leftover too wide": (r"leftover.robot_actions: 3 numbers", {"leftover": leftover(4, width=3)}),
    "leftover NaN": ("leftover.robot_actions: pan is not finite", {"leftover": leftover(4, fill=nan)}),
    "model leftover too narrow": (
        "leftover.model_actions: 2 numbers",
        {"leftover": leftover(4, model_width=2)},
    ),
    "delay beyond the leftover": ("delay_steps: 5 is outside 1..4", {"delay_steps": 5}),
    "delay of 2^31": ("delay_steps: 2147483648 is outside", {"delay_steps": 2**31}),
    "delay negative": ("delay_steps: -1 is outside", {"delay_steps": -1}),
    "delay without leftover": ("delay_steps without leftover", {"leftover": None, "delay_steps": 1}),
    "leftover without delay": ("delay_steps: 0 is outside 1..4", {"delay_steps": 0}),
}


@pytest.mark.parametrize(("text", "changes"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_request_that_does_not_fit_is_refused_by_name(text: str, changes: dict[str, object]) -> None:
    """A number, width or length that does not fit is refused; field and joint are named."""
    with pytest.raises(RemoteProtocolError, match=text):
        check_request(request(**changes), context("s"), ROBOT, SPEC)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("chunk_length: 9 is outside 0..8", {"chunk_length": 9}),
        ("prefix_end: 9 is outside 1..8", {"guidance": Guidance(prefix_end=9)}),
        ("policy offers guided", {"guidance": Guidance(mode=RtcMode.TRAINED)}),
    ],
)
def test_a_wish_beyond_the_policy_is_refused_by_name(text: str, changes: dict[str, object]) -> None:
    """A chunk or window longer than the horizon, or a mode that the policy lacks, is refused."""
    with pytest.raises(RemoteProtocolError, match=text):
        check_request(request(), context("s", **changes), ROBOT, SPEC)


def test_a_mode_that_is_not_used_does_not_matter() -> None:
    """Without RTC the guidance mode is not looked at."""
    plain = Guidance(Strategy.SYNC, mode=RtcMode.TRAINED)
    check_request(request(), context("s", guidance=plain), ROBOT, SPEC)


def test_the_policy_is_given_what_was_asked() -> None:
    """Observation, task, leftover, delay, guidance and seed reach the policy; length 0 means its horizon."""
    asked, wishes = request(), context("s", chunk_length=0, task="lift", seed=11)
    given = policy_input(asked, wishes, SPEC)
    assert given.observation is asked.observation
    assert given.leftover is asked.leftover
    assert (given.task, given.delay_steps, given.chunk_length, given.seed) == ("lift", 2, HORIZON, 11)
    assert policy_input(asked, context("s", chunk_length=3), SPEC).chunk_length == 3
