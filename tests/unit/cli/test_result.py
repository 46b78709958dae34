"""The end of a run is said in numbers, and an early one with its cause."""

from __future__ import annotations

from typing import Any

import pytest

from segue.cli.result import end_sentence, result_line
from segue.client.launch import Outcome
from segue.client.stats import RunStats
from segue.config import load_run
from segue.core.facts import ExitReason

CONFIG = load_run(["--robot.type=fake", "--server_address=gpu.lan:8080"]).config


def summary(**numbers: Any) -> dict[str, Any]:
    return {**RunStats((), 100.0).summary("done"), **numbers}


def test_the_numbers_are_in_one_line() -> None:
    """Cubes, starved ticks, chunks and delay are said in that order."""
    numbers = summary(cubes_offered=9, successes=6, chunks=12, delay_steps={"p50": 10.0})
    assert result_line(numbers) == "6 of 9 cubes lifted, 0 starved ticks, 12 chunks, delay p50 10 steps"


def test_what_was_not_counted_is_left_out() -> None:
    """A robot without cubes and a run without an answer say neither."""
    assert result_line(summary(chunks=0)) == "0 starved ticks, 0 chunks"


@pytest.mark.parametrize("reason", [each for each in ExitReason if each is not ExitReason.DONE])
def test_every_early_end_is_a_sentence(reason: ExitReason) -> None:
    """No end is told by its bare name, and each says when it came."""
    text = end_sentence(Outcome(130, reason.value, "", summary(ticks=1000, tick_hz=100.0), None), CONFIG)
    assert "after 10.0 s" in text
    assert text.split()[0] != reason.value
    assert len(text.split()) >= 5


def test_a_lost_server_is_named_with_the_limit() -> None:
    """Address and seconds are in the sentence, and what else is known follows."""
    outcome = Outcome(69, "link_lost", "connection refused", summary(ticks=6200, tick_hz=100.0), None)
    assert end_sentence(outcome, CONFIG) == (
        "no answer from the server at gpu.lan:8080 for 60 s; ended after 62.0 s: connection refused"
    )


def test_an_end_before_the_first_tick_has_no_duration() -> None:
    """A signal that came before the robot moved is said to have come at the start."""
    assert (
        end_sentence(Outcome(143, "signalled", "", summary(), None), CONFIG)
        == "stopped by SIGTERM at the start"
    )


def test_a_bug_asks_to_be_reported() -> None:
    """A run that a bug of ours ended says so, with what failed."""
    outcome = Outcome(70, "bug", "the link failed: KeyError: 7", summary(ticks=200, tick_hz=100.0), None)
    assert end_sentence(outcome, CONFIG) == (
        "a bug, please report it; ended after 2.0 s: the link failed: KeyError: 7"
    )
