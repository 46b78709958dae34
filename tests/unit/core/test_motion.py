"""The command stream: steps, holds, resumes and parking, and where each continues from."""

from __future__ import annotations

import numpy as np
import pytest

from segue.core.interpolate import StepGrid
from segue.core.motion import Motion
from segue.core.specs import ActionSpec, Dimension, Kind

SPEC = ActionSpec(
    (
        Dimension("joint", "deg", low=-100.0, high=100.0, max_speed=40.0),
        Dimension("gripper", "", Kind.DISCRETE),
        Dimension("wheel", "m/s", Kind.VELOCITY),
    )
)


def motion(joint: float = 0.0) -> Motion:
    return Motion(SPEC, StepGrid.of(10.0, 100.0), 100.0, np.array([joint, 0.0, 0.0]))


def commands(m: Motion, first: int, count: int) -> np.ndarray:
    return np.array([m.command(t) for t in range(first, first + count)])


def test_at_the_start_the_arm_stays_where_it_is() -> None:
    """Before the first step the command is the present pose, without velocity."""
    assert (commands(motion(7.0), 0, 5) == [7.0, 0.0, 0.0]).all()


def test_a_step_ends_where_the_next_begins() -> None:
    """The tick after the last of a step is a boundary, and a pause makes every tick one."""
    m = motion()
    m.begin(np.array([1.0, 1.0, 1.0]), 0)
    assert [m.at_boundary(t) for t in (0, 9, 10)] == [False, False, True]
    np.testing.assert_allclose(commands(m, 0, 10)[:, 0], np.arange(1, 11) / 10)
    m.pause(10, 0.2)
    assert m.at_boundary(3)
    assert m.command(10).tolist() == [1.0, 1.0, 0.0]


def test_the_speed_limit_has_the_last_word_and_is_counted() -> None:
    """A step of 10 deg at 40 deg/s moves 0.4 deg a tick, ten ticks of it held back."""
    m = motion()
    m.begin(np.array([10.0, 0.0, 0.0]), 0)
    np.testing.assert_allclose(commands(m, 0, 10)[:, 0], 0.4 * np.arange(1, 11))
    assert m.limited_ticks == 10


def test_an_arm_found_outside_its_limits_is_held_where_it_is() -> None:
    """Holding an arm that lies beyond a limit does not drive it back; a target beyond it is clipped."""
    m = motion(130.0)
    m.hold_at(np.array([130.0, 0.0, 0.0]), 0, 0.2)
    assert (commands(m, 0, 60)[:, 0] == 130.0).all()
    m = motion(99.0)
    m.hold_at(np.array([110.0, 0.0, 0.0]), 0, 0.2)
    assert commands(m, 0, 60)[-1, 0] == 100.0


def test_an_arm_that_ran_dry_stops_within_the_ramp_even_if_it_lagged_behind() -> None:
    """With nothing planned a command that the speed limit kept back goes on for 0.2 s and then stays."""
    m = motion()
    m.begin(np.array([50.0, 1.0, 1.0]), 0)
    commands(m, 0, 10)
    m.pause(10, 0.2)
    after = commands(m, 10, 40)
    np.testing.assert_allclose(after[:20, 0], 4.0 + 0.4 * np.arange(1, 21))
    np.testing.assert_allclose(after[20:], np.tile([12.0, 1.0, 0.0], (20, 1)))
    assert (after[20:] == after[20]).all()
    m.pause(50, 0.2)  # said again on every tick that begins nothing: it changes nothing
    assert (commands(m, 50, 40) == after[20]).all()


def test_a_step_continues_from_the_command_that_was_really_sent() -> None:
    """After a step that the speed limit cut short the next line starts where the command really was."""
    m = motion()
    m.begin(np.array([10.0, 0.0, 0.0]), 0)
    assert commands(m, 0, 10)[-1][0] == pytest.approx(4.0)
    m.begin(np.array([5.0, 0.0, 0.0]), 10)
    np.testing.assert_allclose(commands(m, 10, 10)[:, 0], 4.0 + np.arange(1, 11) / 10)


def test_holding_in_mid_step_ramps_to_the_applied_target() -> None:
    """The step is given up, and within the ramp the command reaches what holding means."""
    m = motion()
    m.begin(np.array([2.0, 1.0, 5.0]), 0)
    commands(m, 0, 4)
    m.hold_at(np.array([0.4, 1.0, 5.0]), 4, 0.05)
    held = commands(m, 4, 8)
    np.testing.assert_allclose(held[:, 0], [0.72, 0.64, 0.56, 0.48, 0.4, 0.4, 0.4, 0.4])
    assert (held[:, 1:] == [1.0, 0.0]).all()
    assert [m.arrived(t) for t in (8, 9)] == [False, True]


def test_a_hold_is_within_the_position_limits() -> None:
    """An applied target beyond a limit is held at the limit."""
    m = motion(99.9)
    m.hold_at(np.array([150.0, 0.0, 0.0]), 0, 0.1)
    assert commands(m, 0, 12)[-1][0] == 100.0


def test_resuming_blends_from_the_held_pose_into_the_plan() -> None:
    """Over the ramp the share of the plan grows linearly, then the command is on the plan."""
    m = motion()
    m.resume(0, 0.1)
    m.begin(np.array([1.0, 1.0, 3.0]), 0)
    eased = commands(m, 0, 10)
    plan = np.arange(1, 11) / 10
    np.testing.assert_allclose(eased[:, 0], plan * plan)
    assert (eased[:, 1:] == [1.0, 3.0]).all()
    m.begin(np.array([2.0, 1.0, 3.0]), 10)
    np.testing.assert_allclose(commands(m, 10, 10)[:, 0], 1 + plan)


def test_a_ramp_longer_than_a_step_stays_continuous() -> None:
    """Over three steps of a resume no tick moves further than the plan and the blend together would."""
    m = motion()
    m.resume(0, 0.25)
    path = []
    for k in range(4):
        m.begin(np.array([float(k + 1), 0.0, 0.0]), 10 * k)
        path += commands(m, 10 * k, 10)[:, 0].tolist()
    plan = np.arange(1, 41) / 10
    np.testing.assert_allclose(path, plan * np.minimum(np.arange(1, 41) / 25, 1.0))


@pytest.mark.parametrize(("distance", "seconds"), [(1.0, 1.0), (20.0, 2.0), (1000.0, 4.0)])
def test_parking_is_slow_straight_and_bounded(distance: float, seconds: float) -> None:
    """It takes 1 s or more, at a quarter of the speed limit, and never more than its longest time."""
    m = motion(-50.0)
    rest = np.array([min(-50.0 + distance, 100.0), 1.0, 9.0])
    m.park_at(rest, 0, 4.0)
    path = commands(m, 0, int(seconds * 100) + 1)
    assert m.arrived(int(seconds * 100))
    assert not m.arrived(int(seconds * 100) - 1)
    steps = np.diff(path[:-1, 0])
    np.testing.assert_allclose(steps, steps[0])
    assert steps[0] == pytest.approx((rest[0] + 50.0) / (seconds * 100))
    assert path[-1].tolist() == [rest[0], 0.0, 0.0]


def test_parking_faster_than_the_limit_is_not_possible() -> None:
    """When the longest time is too short for the way, the speed limit still holds."""
    m = motion(-100.0)
    m.park_at(np.array([100.0, 0.0, 0.0]), 0, 1.0)
    assert np.diff(commands(m, 0, 100)[:, 0]).max() <= 0.4 + 1e-9
