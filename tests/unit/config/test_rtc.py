"""LeRobot's RTC flags keep LeRobot's meaning, and Segue's keep the paper's."""

from __future__ import annotations

import pytest

from segue.config import RunConfig, load_run
from segue.config.rtc import RtcConfig
from segue.errors import UsageError


def load(*argv: str) -> RunConfig:
    return load_run(["--robot.type=fake", *argv]).config


def test_without_flags_the_paper_s_defaults_hold() -> None:
    """No flag at all means exp, weight 5 and a window as long as the chunk."""
    assert load().rtc == RtcConfig(prefix_end=None, max_weight=5.0, schedule="exp", mode="guided")


def test_one_flag_of_lerobot_brings_lerobot_s_defaults() -> None:
    """A given flag keeps its meaning, and the others of its group become LeRobot's defaults."""
    config = load("--inference.rtc.execution_horizon=12")
    assert config.rtc == RtcConfig(prefix_end=12, max_weight=10.0, schedule="linear")
    assert load("--inference.rtc.prefix_attention_schedule=EXP").rtc == RtcConfig(
        prefix_end=10, max_weight=10.0, schedule="exp"
    )


def test_a_flag_of_segue_wins_over_a_default_of_lerobot() -> None:
    """Only what LeRobot's flags leave open may be said by Segue's."""
    config = load("--inference.rtc.execution_horizon=12", "--rtc.max_weight=3", "--rtc.jacobian=identity")
    assert config.rtc == RtcConfig(prefix_end=12, max_weight=3.0, schedule="linear", jacobian="identity")


def test_the_same_thing_said_twice_is_refused() -> None:
    """Two flags for one quantity are refused, whatever they say."""
    with pytest.raises(UsageError, match=r"--inference\.rtc\.execution_horizon.*--rtc\.prefix_end"):
        load("--inference.rtc.execution_horizon=12", "--rtc.prefix_end=12")


@pytest.mark.parametrize(
    ("argv", "strategy"),
    [
        ((), "auto"),
        (("--inference.rtc.enabled=true", "--strategy=auto"), "rtc"),
        (("--inference.rtc.enabled=false", "--strategy=auto"), "async"),
        (("--inference.rtc.enabled=true",), "rtc"),
        (("--inference.rtc.enabled=false",), "async"),
        (("--inference.rtc.enabled=false", "--strategy=sync"), "sync"),
        (("--inference.rtc.enabled=true", "--strategy=rtc"), "rtc"),
    ],
)
def test_enabled_chooses_the_strategy(argv: tuple[str, ...], strategy: str) -> None:
    """LeRobot's switch means --strategy=rtc or not rtc."""
    assert load(*argv).execution.strategy == strategy


@pytest.mark.parametrize(
    "argv",
    [
        ("--inference.rtc.enabled=false", "--strategy=rtc"),
        ("--inference.rtc.enabled=true", "--strategy=async"),
    ],
)
def test_a_contradiction_is_refused(argv: tuple[str, ...]) -> None:
    """A switch that contradicts the strategy is refused rather than ignored."""
    with pytest.raises(UsageError, match="contradicts"):
        load(*argv)
