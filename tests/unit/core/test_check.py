"""Whether a chunk may move the robot: each bad chunk that a client must expect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segue.core.check import BAD_CHUNK, fault_of
from segue.core.facts import ExitReason
from segue.core.schedule import DropReason, Outstanding, RequestRule
from segue.core.specs import ActionSpec, Dimension, Kind
from segue.core.types import ActionChunk, Strategy
from segue.core.watchdog import SafetyLevel

from .driver import POLICY, Driver, config_of, stepped

SPEC = ActionSpec(
    (
        Dimension("joint", "deg", low=-10.0, high=30.0, max_speed=100.0),
        Dimension("gripper", "", Kind.DISCRETE, low=0.0),
        Dimension("wheel", "m/s", Kind.VELOCITY),
    )
)
ASKED = Outstanding(
    number=4,
    epoch=2,
    start_step=7,
    captured_ns=0,
    requested_ns=0,
    deadline_ns=100,
    forecast_steps=1,
    after_handshake=False,
)
GOOD = ActionChunk(
    request_number=4,
    epoch=2,
    start_step=7,
    captured_ns=0,
    robot_actions=np.zeros((5, 3)),
    model_actions=np.zeros((8, 2)),
    conditioned_delay=1,
    policy_hash=POLICY,
)


def with_value(value: float, dimension: int = 0) -> np.ndarray:
    actions = np.zeros((5, 3))
    actions[3, dimension] = value
    return actions


def test_a_good_chunk_passes() -> None:
    """A chunk of one to H_policy finite rows within range is taken, with or without model units."""
    for length in (1, 5, 8):
        chunk = replace(GOOD, robot_actions=np.zeros((length, 3)))
        assert fault_of(chunk, ASKED, SPEC, 8) is None
    assert fault_of(replace(GOOD, model_actions=None), ASKED, SPEC, 8) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"robot_actions": np.zeros((0, 3))}, DropReason.BAD_SHAPE),
        ({"robot_actions": np.zeros((9, 3))}, DropReason.BAD_SHAPE),
        ({"robot_actions": np.zeros((1_000_000, 3))}, DropReason.BAD_SHAPE),
        ({"robot_actions": np.zeros((5, 2))}, DropReason.BAD_SHAPE),
        ({"robot_actions": np.zeros((5, 4))}, DropReason.BAD_SHAPE),
        ({"robot_actions": np.zeros(15)}, DropReason.BAD_SHAPE),
        ({"robot_actions": np.zeros((1, 5, 3))}, DropReason.BAD_SHAPE),
        ({"robot_actions": np.array(1.0)}, DropReason.BAD_SHAPE),
        ({"model_actions": np.zeros((4, 2))}, DropReason.BAD_SHAPE),
        ({"model_actions": np.zeros(8)}, DropReason.BAD_SHAPE),
        ({"model_actions": np.zeros((9, 2))}, DropReason.BAD_SHAPE),
        ({"start_step": 6}, DropReason.NOT_ASKED),
        ({"start_step": 8}, DropReason.NOT_ASKED),
        ({"robot_actions": with_value(np.nan)}, DropReason.NOT_FINITE),
        ({"robot_actions": with_value(np.inf, 2)}, DropReason.NOT_FINITE),
        ({"robot_actions": with_value(-np.inf, 1)}, DropReason.NOT_FINITE),
        ({"model_actions": np.full((8, 2), np.nan)}, DropReason.NOT_FINITE),
        ({"robot_actions": with_value(1e30)}, DropReason.OUT_OF_RANGE),
        ({"robot_actions": with_value(-1e30)}, DropReason.OUT_OF_RANGE),
        ({"robot_actions": with_value(70.1)}, DropReason.OUT_OF_RANGE),
        ({"robot_actions": with_value(-50.1)}, DropReason.OUT_OF_RANGE),
        ({"captured_ns": 1}, DropReason.NOT_ASKED),
        ({"captured_ns": -(2**63), "robot_actions": with_value(np.nan)}, DropReason.NOT_FINITE),
    ],
)
def test_a_bad_chunk_is_named(changes: dict[str, object], reason: DropReason) -> None:
    """One bad row, width, length or number is enough to refuse the whole chunk."""
    assert fault_of(replace(GOOD, **changes), ASKED, SPEC, 8) is reason


@pytest.mark.parametrize(
    ("value", "dimension"), [(70.0, 0), (-50.0, 0), (31.0, 0), (-5.0, 1), (1e6, 1), (1e6, 2)]
)
def test_overshoot_is_clipped_and_not_refused(value: float, dimension: int) -> None:
    """Up to one range beyond a limit, or beyond a limit on one side alone, the rest of the chunk is good."""
    assert fault_of(replace(GOOD, robot_actions=with_value(value, dimension)), ASKED, SPEC, 8) is None


def test_only_what_the_policy_did_wrong_speaks_against_it() -> None:
    """A late or stale chunk is no bad chunk, so it never latches a fault."""
    assert {DropReason.BAD_SHAPE, DropReason.NOT_FINITE, DropReason.OUT_OF_RANGE} == BAD_CHUNK


def driver() -> Driver:
    d = Driver(config_of(spec=SPEC, control_hz=50.0))
    d.open()
    d.tick()
    d.reply("a", 11, robot_actions=stepped(range(11), 3))
    d.tick(25)
    return d


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        (with_value(np.nan), DropReason.NOT_FINITE),
        (with_value(1e30), DropReason.OUT_OF_RANGE),
        (np.zeros((0, 3)), DropReason.BAD_SHAPE),
        (np.zeros((1_000_000, 3)), DropReason.BAD_SHAPE),
        (np.zeros((5, 9)), DropReason.BAD_SHAPE),
    ],
)
def test_a_bad_chunk_is_dropped_counted_and_never_executed(actions: np.ndarray, reason: DropReason) -> None:
    """The old plan goes on, the chunk is reported by its reason, and the next good one is taken."""
    d = driver()
    d.reply("b", 11, robot_actions=actions, model_actions=None)
    while not d.rows[-1].dropped:
        d.tick()
    assert d.rows[-1].dropped == [reason]
    assert d.last.began.target[0] == d.last.began.step
    assert d.level is SafetyLevel.RUN
    d.reply("c", 11, robot_actions=stepped([20.0] * 11, 3))
    d.tick(15)
    assert d.last.action[0] == 20.0
    assert d.executor.troubles.bad_chunks == 0


def test_three_bad_chunks_in_a_row_latch_a_fault() -> None:
    """After the third the arm holds for good and the run ends; two and a good one do not."""
    d = driver()
    for verdict in ("bad", "bad", "good", "bad", "bad"):
        d.executor.reset()
        d.tick(5)
        bad = with_value(np.nan) if verdict == "bad" else stepped(range(11), 3)
        d.reply("b", 11, robot_actions=bad)
        d.tick(5)
        assert d.level is SafetyLevel.RUN
    d.executor.reset()
    d.tick(5)
    d.reply("b", 11, robot_actions=with_value(np.nan))
    d.tick()
    assert d.level is SafetyLevel.FAULT
    held = d.last.action.copy()
    d.tick(12)
    assert d.last.exit is ExitReason.BAD_CHUNKS
    np.testing.assert_array_equal(d.last.action, held)
    assert d.last.request is None


def test_a_chunk_far_from_the_present_pose_is_approached_at_the_speed_limit() -> None:
    """A plan that begins far away is executed, but no tick moves further than the limit allows."""
    d = driver()
    d.reply("b", 11, robot_actions=stepped([30.0] * 11, 3))
    first = len(d.ticks)
    d.tick(20)
    joint = np.array([t.action[0] for t in d.ticks[first - 1 :]])
    assert np.abs(np.diff(joint)).max() == pytest.approx(100.0 / 50.0)
    assert joint[-1] == 30.0


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_dimension_without_limits_takes_no_number_that_sums_overflow_on(strategy: Strategy) -> None:
    """Without any limit to measure by, finite nonsense of 1.7e308 is refused all the same, and never sent."""
    free = ActionSpec((Dimension("free", "deg"), Dimension("gripper", "", Kind.DISCRETE)))
    rule = RequestRule(strategy=strategy, horizon=11, threshold=0.65, min_execution_steps=4)
    d = Driver.with_plan(config_of(spec=free, rule=rule, aggregate="weighted_average"), 11)
    d.tick()
    for sign in (1, -1, 1):
        while d.executor.scheduler.outstanding is None:
            d.tick()
        d.reply("b", 11, robot_actions=np.full((11, 2), sign * 1.7e308))
        d.tick()
    assert [r.dropped for r in d.rows if r.dropped] == [[DropReason.OUT_OF_RANGE]] * 3
    assert all(np.isfinite(t.action).all() for t in d.ticks)
