"""The dataclasses say enough about themselves, and agree with the rooms that they configure."""

from __future__ import annotations

from typing import get_args

import annotated_types as at
import pytest

from segue.config import DemoConfig, RunConfig, ServeConfig
from segue.config.cameras import CAMERAS, SIM_CAMERAS
from segue.config.keys import KeysConfig
from segue.config.robot import ROBOTS
from segue.config.rtc import JacobianName, ModeName, RtcConfig, ScheduleName
from segue.config.run import AggregateName, OnLinkLossName, SafetyConfig, StrategyName
from segue.config.schema import TAG, Leaf, allowed, leaves, rooms
from segue.core.merge import AGGREGATIONS
from segue.core.types import Guidance, Jacobian, RtcMode, Schedule, Strategy
from segue.core.watchdog import OnLinkLoss
from segue.core.watchdog import SafetyConfig as CoreSafetyConfig
from segue.robots.belt_model import CAMERA_NAMES

ALL = [leaf for config in (RunConfig, ServeConfig, DemoConfig, KeysConfig) for leaf in leaves(config)]


@pytest.mark.parametrize("leaf", ALL, ids=lambda leaf: f"{leaf.variant}.{leaf.key}")
def test_every_flag_says_what_it_means_and_what_is_allowed(leaf: Leaf) -> None:
    """No flag is without a meaning, and no number without a lower and an upper bound."""
    assert leaf.field.help.text
    assert allowed(leaf.field)
    if leaf.field.base in (int, float):
        interval = leaf.field.mark(at.Interval)
        assert interval is not None
        assert (interval.ge is not None) != (interval.gt is not None)
        assert interval.le is not None


def test_flags_have_no_room_in_their_names_where_lerobot_has_none() -> None:
    """The flags that LeRobot has are there under LeRobot's names."""
    keys = {leaf.key for leaf in leaves(RunConfig)}
    assert keys >= {
        "server_address", "robot.type", "robot.id", "robot.cameras", "task", "pretrained_name_or_path",
        "actions_per_chunk", "chunk_size_threshold", "fps", "aggregate_fn_name", "duration",
        "debug_visualize_queue_size", "inference.rtc.enabled", "inference.rtc.mode",
        "inference.rtc.execution_horizon", "inference.rtc.max_guidance_weight",
        "inference.rtc.prefix_attention_schedule",
    }  # fmt: skip
    assert {
        "tls", "auth", "robot", "robot.belt", "robot.park_pose",
        "rtc", "inference", "inference.rtc", "safety",
    } == set(rooms(RunConfig))  # fmt: skip


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (StrategyName, ("auto", *Strategy)),
        (ScheduleName, Schedule),
        (ModeName, RtcMode),
        (JacobianName, Jacobian),
        (OnLinkLossName, OnLinkLoss),
        (AggregateName, AGGREGATIONS),
    ],
)
def test_names_are_those_of_the_core(names: object, words: object) -> None:
    """A choice offered by a flag is a choice that the core has, and the other way round."""
    assert set(get_args(names)) == {str(word) for word in words}  # type: ignore[attr-defined]


def test_the_paper_s_defaults_are_the_core_s() -> None:
    """Without a flag, guidance is what the core takes for the paper's."""
    for name in RtcConfig.__dataclass_fields__:
        assert getattr(RtcConfig(), name) == getattr(Guidance(), name)


def test_safety_has_the_core_s_numbers() -> None:
    """Each number of the watchdog can be set, in seconds, and has the core's default."""
    core = CoreSafetyConfig()
    config = SafetyConfig()
    for name in CoreSafetyConfig.__dataclass_fields__:
        if name.endswith("_ns"):
            ours, theirs = getattr(config, f"{name.removesuffix('_ns')}_s"), getattr(core, name)
            assert theirs == (None if ours is None else round(ours * 1e9)), name
    assert config.on_link_loss == core.on_link_loss
    assert config.resume == core.resume


@pytest.mark.parametrize("table", [ROBOTS, CAMERAS], ids=["robots", "cameras"])
def test_a_variant_is_listed_under_its_own_name(table: dict[str, type]) -> None:
    """The key of each table is the `type` of the dataclass behind it."""
    for name, cls in table.items():
        assert getattr(cls, TAG) == name


def test_the_simulation_s_cameras_are_named_right() -> None:
    """The names that help and checks know are those that the simulation has."""
    assert SIM_CAMERAS == CAMERA_NAMES
