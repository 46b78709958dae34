"""The client states as an executor goes through them: loss, hold, resume, park, fault, exit."""

from __future__ import annotations

import numpy as np
import pytest

from segue.core.facts import DEADLINE, ChunkTaken, ExitReason
from segue.core.schedule import DropReason, RequestRule
from segue.core.specs import ActionSpec, Dimension, Kind
from segue.core.types import Strategy
from segue.core.watchdog import OnLinkLoss, SafetyConfig, SafetyLevel

from .driver import MS, POLICY, SECOND, Driver, config_of, stepped

SPEC = ActionSpec(
    (
        Dimension("joint", "deg", low=-200.0, high=400.0, max_speed=200.0),
        Dimension("gripper", "", Kind.DISCRETE),
    )
)
REST = np.array([-40.0, 9.0])
LONG = RequestRule(horizon=60, threshold=0.99, min_execution_steps=1)


def running(on_link_loss: OnLinkLoss = OnLinkLoss.PLAY_OUT, **safety: object) -> Driver:
    """Returns a driver at 10 -> 100 Hz with a slow plan of 60 actions, 15 ticks into it."""
    config = config_of(
        control_hz=100.0,
        spec=SPEC,
        rule=LONG,
        safety=SafetyConfig(on_link_loss=on_link_loss, **safety),
        rest_pose=REST,
    )
    d = Driver(config)
    d.open()
    d.tick()
    d.reply("a", 60, robot_actions=stepped(np.arange(1, 61)))
    d.tick(15)
    return d


def lose(d: Driver) -> None:
    """Breaks the channel and fails the first dial."""
    d.executor.link_closed(d.now_ns, "reset")
    d.executor.request_failed(d.now_ns, 0, "refused")


def until(d: Driver, level: SafetyLevel, ticks: int = 10_000) -> int:
    """Runs to the first tick at `level` and returns how many ticks that took."""
    for count in range(1, ticks + 1):
        if d.tick().level is level:
            return count
    raise AssertionError(f"{level.name} was not reached: {d.changes()}")


def jumps(d: Driver) -> float:
    """Returns the largest move of the joint in one tick, in deg."""
    return float(np.abs(np.diff([0.0, *(t.action[0] for t in d.ticks)])).max())


def test_play_out_is_one_second_then_hold() -> None:
    """After the link is lost the plan goes on for 1 s, then the arm holds where the driver last was."""
    d = running()
    lose(d)
    assert until(d, SafetyLevel.HOLD) == 1 + 100
    assert d.changes() == [("RUN", "DEGRADED", "request_failed"), ("DEGRADED", "HOLD", "link_lost")]
    assert d.executor.step == 12
    before = d.ticks[-2].action
    d.tick(50)
    np.testing.assert_allclose([t.action[0] for t in d.ticks[-51:]], before[0])


def test_stop_now_holds_on_the_next_tick() -> None:
    """With stop_now nothing more of the plan is played."""
    d = running(OnLinkLoss.STOP_NOW)
    lose(d)
    assert until(d, SafetyLevel.HOLD) == 1


def test_two_deadlines_in_a_row_lose_the_link() -> None:
    """A silent server is found by its deadlines alone: two of them and the link is lost."""
    d = running()
    waiting = d.executor.scheduler.outstanding
    assert until(d, SafetyLevel.DEGRADED) * 10 * MS <= waiting.deadline_ns - waiting.requested_ns + 10 * MS
    assert d.executor.troubles.link.lost_since_ns is None
    while d.executor.troubles.link.lost_since_ns is None:
        d.tick()
    assert [r.number for r in d.requests][:3] == [1, 2, 3]
    assert until(d, SafetyLevel.HOLD) == 100


def test_a_dry_robot_with_a_lost_link_holds_within_one_tick() -> None:
    """When the plan ends during the play-out the arm holds on that tick, and is not starved first."""
    d = running()
    d.executor.reset()
    d.tick(10)
    d.reply("b", 4, robot_actions=stepped([5.0] * 4))
    d.tick(10)
    lose(d)
    until(d, SafetyLevel.HOLD)
    assert d.executor.step == 2 + 4
    assert d.ticks[-2].action[0] == 5.0
    assert not any(r.state == "STARVED" for r in d.rows)


def test_the_hold_is_left_only_by_an_observation_of_after_it_began() -> None:
    """A chunk that was asked for before the hold is void, one asked for after it resumes."""
    d = running(OnLinkLoss.STOP_NOW)
    before = d.requests[-1]
    lose(d)
    d.tick()
    began_ns = d.executor.watchdog.since_ns
    d.open()
    d.tick()
    d.reply("b", 60, before)
    d.tick()
    assert (d.level, d.rows[-1].dropped) == (SafetyLevel.HOLD, [DropReason.OLD_EPOCH])
    assert d.requests[-1].observation.captured_ns > began_ns
    d.reply("c", 60, robot_actions=stepped([30.0] * 60))
    d.tick()
    assert (d.level, d.changes()[-1]) == (SafetyLevel.RUN, ("HOLD", "RUN", "resumed"))
    assert all(r.observation.captured_ns >= began_ns for r in d.requests if r.epoch == 2)


def test_a_link_that_comes_back_during_the_play_out_never_holds() -> None:
    """A chunk within the second of play-out ends the alarm, and the arm never stopped."""
    d = running()
    lose(d)
    d.tick(30)
    d.open()
    d.tick(10)
    d.reply("b", 60, robot_actions=stepped([10.0] * 60))
    d.tick(200)
    assert [after for _, after, _ in d.changes()] == ["DEGRADED", "RUN", "DEGRADED"]  # no replies later on
    assert d.changes()[1][2] == "fine"


def test_resuming_is_gentle() -> None:
    """After a hold the command blends into the new plan over 300 ms without a step, wherever that plan is."""
    d = running(OnLinkLoss.STOP_NOW)
    lose(d)
    d.tick(30)
    held = d.last.action[0]
    d.open()
    d.tick()
    d.reply("b", 60, robot_actions=stepped([held + 3.0] * 60))
    d.tick(40)
    resumed = np.array([t.action[0] for t in d.ticks[-40:]])
    plan = held + np.minimum(np.arange(1, 41) / 10, 1.0) * 3.0
    share = np.minimum(np.arange(1, 41) / 30, 1.0)
    np.testing.assert_allclose(resumed, held + (plan - held) * share)


def test_after_the_grace_the_arm_is_parked_slowly_and_may_resume() -> None:
    """HOLD lasts 10 s, then the arm goes to rest, its gripper unchanged, and runs again with a chunk."""
    d = running(OnLinkLoss.STOP_NOW)
    lose(d)
    d.tick()
    gripper = d.last.action[1]
    assert until(d, SafetyLevel.PARK) == 1000
    start = d.ticks[-2].action[0]
    d.tick(410)
    assert d.last.action.tolist() == [REST[0], gripper]
    assert d.last.exit is None
    moves = np.abs(np.diff([t.action[0] for t in d.ticks[-412:]]))
    assert moves.max() <= max(abs(start - REST[0]), 50.0) / 100.0 + 1e-9
    d.open()
    d.tick()
    d.reply("b", 60, robot_actions=stepped([0.0] * 60))
    d.tick()
    assert d.changes()[-1] == ("PARK", "RUN", "resumed")
    d.tick(60)
    assert d.last.action[0] == 0.0
    assert jumps(d) <= 2.0 + 1e-9


def test_after_sixty_seconds_without_a_server_the_run_ends() -> None:
    """The arm has been parked for long, and the exit names the link."""
    d = running()
    lose(d)
    lost = d.now_ns
    while d.tick().exit is None:
        assert d.now_ns - lost < 61 * SECOND
    assert d.last.exit is ExitReason.LINK_LOST
    assert d.now_ns - lost == pytest.approx(60 * SECOND, abs=20 * MS)
    assert d.level is SafetyLevel.PARK


def test_a_lost_camera_plays_out_holds_and_ends_the_run() -> None:
    """Without pictures nothing is asked; the plan is played out, then held; after 30 s the run ends."""
    d = running()
    d.tick(20)
    d.executor.camera_failed(d.now_ns, "front: unplugged")
    failed, asked = d.now_ns, len(d.requests)
    d.executor.request_failed(d.now_ns, 0, "cut")  # what was under way is gone too
    until(d, SafetyLevel.HOLD)
    assert d.executor.step == 60
    assert d.changes()[-1] == ("DEGRADED", "HOLD", "camera")
    while d.tick().exit is None:
        assert d.now_ns - failed < 36 * SECOND
    assert d.last.exit is ExitReason.CAMERA
    assert len(d.requests) == asked


def test_a_camera_that_comes_back_lets_the_arm_resume() -> None:
    """When the pictures are back a request is made, and its chunk ends the hold."""
    d = running()
    d.executor.camera_failed(d.now_ns, "front: unplugged")
    d.executor.request_failed(d.now_ns, 0, "cut")
    until(d, SafetyLevel.HOLD)
    d.executor.camera_works(d.now_ns)
    d.tick()
    d.reply("b", 60)
    d.tick()
    assert d.level is SafetyLevel.RUN


@pytest.mark.parametrize("how", ["reply", "handshake"])
def test_another_policy_is_never_executed(how: str) -> None:
    """Other weights in a reply or at a reconnect: nothing of them moves, the arm parks, the run ends."""
    d = running()
    if how == "reply":
        d.reply("b", 60, policy_hash="other")
    else:
        d.executor.link_closed(d.now_ns, "reset")
        d.open(policy_hash="other")
    until(d, SafetyLevel.HOLD, 10)
    assert d.changes()[-1][2] == "other_policy"
    said = f"policy other is served now, the session began with {POLICY}"
    assert d.executor.troubles.other_policy == said
    assert (d.rows[-1].dropped == [DropReason.OTHER_POLICY]) == (how == "reply")
    asked = len(d.requests)
    for _ in range(500):
        if d.tick().exit is not None:
            break
    assert d.last.exit is ExitReason.OTHER_POLICY
    assert len(d.requests) == asked
    assert d.last.action[0] == REST[0]


@pytest.mark.parametrize("level", [SafetyLevel.RUN, SafetyLevel.HOLD, SafetyLevel.PARK])
def test_a_stop_parks_within_five_seconds_from_anywhere(level: SafetyLevel) -> None:
    """On a signal nothing more is asked, the arm ramps, parks and the run ends, at most 5 s later."""
    d = running(OnLinkLoss.STOP_NOW)
    if level is not SafetyLevel.RUN:
        lose(d)
        until(d, level)
    d.executor.stop(ExitReason.SIGNALLED)
    d.executor.stop(ExitReason.DONE)
    asked = len(d.requests)
    for _ in range(500):
        if d.tick().exit is not None:
            break
    assert d.last.exit is ExitReason.SIGNALLED
    assert len(d.requests) == asked
    assert d.last.action[0] == REST[0]
    assert jumps(d) <= 2.0 + 1e-9


def test_a_robot_fault_holds_for_good() -> None:
    """A servo's fault latches: the arm holds where it is, asks nothing, moves no more, and the run ends."""
    d = running()
    d.executor.robot_failed("shoulder_lift: overload")
    d.tick()
    assert (d.level, d.last.events[-1].detail) == (SafetyLevel.FAULT, "shoulder_lift: overload")
    held, asked = d.last.action.copy(), len(d.requests)
    d.reply("b", 60)
    d.open()
    d.tick(1200)
    assert d.level is SafetyLevel.FAULT
    assert d.last.exit is ExitReason.ROBOT
    np.testing.assert_allclose(d.last.action, held)
    assert len(d.requests) == asked


def test_a_dead_link_process_is_a_lost_link_at_once() -> None:
    """The guardian plays out and holds by itself, without a second miss."""
    d = running()
    d.executor.link_process_gone(d.now_ns)
    assert until(d, SafetyLevel.HOLD) == 1 + 100
    assert d.changes()[-1][2] == "link_lost"
    d.executor.link_process_gone(d.now_ns)
    assert d.now_ns - d.executor.troubles.link.lost_since_ns == 101 * 10 * MS


def test_starved_then_too_old_then_hold() -> None:
    """A dry robot waits, starved, for the chunk under way until its observation is too old; then it holds."""
    d = Driver.with_plan(config_of(), 11, forecast_s=0.3)
    d.run(5)
    d.executor.link_closed(d.now_ns, "reset")
    d.open(forecast_s=0.3)  # the first request after it has 2 s, more than the age limit of 1.7 s
    d.run(25)
    assert d.requests[-2].start_step == 6
    assert [r.state for r in d.rows if r.tick >= 9] == ["DEGRADED"] * 2 + ["STARVED"] * 13 + ["HOLD"] * 2
    assert d.changes()[-1] == ("STARVED", "HOLD", "action_too_old")


def test_starved_with_two_deadlines_missed_holds() -> None:
    """Where the deadline comes first, the second miss finds the plan empty and the arm holds at once."""
    d = Driver.with_plan(config_of(), 11, forecast_s=0.3)
    d.run(20)
    deadlines = [r.deadline_ns - r.requested_ns for r in d.requests[1:3]]
    assert deadlines == [600 * MS] * 2
    assert [r.state for r in d.rows if r.tick >= 9] == ["RUN"] + ["DEGRADED"] + ["STARVED"] * 5 + ["HOLD"] * 5


def test_an_answer_for_another_step_is_no_answer() -> None:
    """A server that answers for other steps loses the link instead of starving the arm for ever."""
    d = running(OnLinkLoss.STOP_NOW)
    for _ in range(2):
        while d.executor.scheduler.outstanding is None:
            d.tick()
        d.reply("b", 60, start_step=d.requests[-1].start_step + 1)
        d.tick(10)
    assert d.changes()[-1] == ("DEGRADED", "HOLD", "link_lost")
    assert [r.dropped for r in d.rows if r.dropped] == [[DropReason.NOT_ASKED]] * 2


@pytest.mark.parametrize("strategy", list(Strategy))
def test_waiting_is_the_start_and_the_pause_of_sync_only(strategy: Strategy) -> None:
    """Only the start and the pauses of sync are called waiting, not what is held or starved."""
    rule = RequestRule(strategy, horizon=4, threshold=0.5, min_execution_steps=4)
    d = Driver.with_plan(config_of(rule=rule), 4)
    d.run(7)
    lose(d)
    d.tick(3)
    waits = [r.tick for r in d.rows if r.waiting]
    assert waits == ([-1, 4, 5, 6, 7] if strategy is Strategy.SYNC else [-1])
    dry = {r.state for r in d.rows if 4 <= r.tick <= 7}
    assert dry == ({"RUN"} if strategy is Strategy.SYNC else {"STARVED"})
    assert d.level is SafetyLevel.HOLD


def test_a_server_that_became_slower_than_its_deadline_is_waited_for_in_the_end() -> None:
    """When every answer takes 1.3 s instead of 0.3 s the deadlines grow until one is met and learnt from."""
    d = Driver.with_plan(
        config_of(rule=RequestRule(horizon=40, threshold=1.0, min_execution_steps=1)), 40, 0.3
    )
    pending, seen, lost = None, 0, False
    for _ in range(300):
        d.tick()
        if lost and not d.executor.troubles.link.misses % 2:  # the link process dials anew
            d.open()
        lost = d.executor.troubles.link.lost_since_ns is not None
        if len(d.requests) > seen:
            seen, pending = len(d.requests), (d.next_tick + 13, d.requests[-1])
        if pending is not None and d.next_tick >= pending[0]:
            d.reply("b", 40, pending[1])
            pending = None
    assert d.executor.forecast.steps == 14
    assert d.level is SafetyLevel.RUN
    assert [d.requests[-1].deadline_ns - d.requests[-1].requested_ns] == [2800 * MS]


def test_a_request_without_a_picture_is_no_miss() -> None:
    """A request that failed because a camera did says nothing of the link; a broken link still does."""
    d = running()
    while d.executor.scheduler.outstanding is None:
        d.tick()
    d.executor.camera_failed(d.now_ns, "front: unplugged")
    d.executor.request_failed(d.now_ns, d.requests[-1].number, "front: unplugged")
    d.tick()
    assert d.executor.troubles.link.misses == 0
    assert d.changes() == [("RUN", "DEGRADED", "camera")]
    lose(d)
    assert d.executor.troubles.link.misses == 2


def test_an_arm_that_never_moved_is_left_where_it_is() -> None:
    """A run that is stopped before its first action parks where the arm lies; after one it goes to rest."""
    config = config_of(control_hz=100.0, spec=SPEC, rule=LONG, rest_pose=REST)
    d = Driver(config, np.array([25.0, 3.0]))
    d.open()
    d.tick(3)
    d.executor.stop(ExitReason.SIGNALLED)
    until(d, SafetyLevel.PARK)
    while d.tick().exit is None:
        continue
    assert {tuple(t.action) for t in d.ticks} == {(25.0, 3.0)}
    assert d.last.exit is ExitReason.SIGNALLED


def test_an_answer_from_before_the_break_does_not_hide_the_break() -> None:
    """A chunk that is merged after the channel closed is played, and the link is lost all the same."""
    d = running()
    while d.executor.scheduler.outstanding is None:
        d.tick()
    d.reply("b", 60, robot_actions=stepped(np.arange(2, 62)))
    d.executor.link_closed(d.now_ns, "connection lost")
    d.tick(10)  # the chunk is merged at the next boundary
    assert len(d.events(ChunkTaken)) == 2
    d.executor.request_failed(d.now_ns, 0, "no connection")  # the first dial; more are not reported
    until(d, SafetyLevel.HOLD, 200)
    assert d.changes()[-1] == ("DEGRADED", "HOLD", "link_lost")
    d.open()
    d.tick()
    d.reply("c", 60, robot_actions=stepped(np.arange(2, 62)))
    d.tick()
    assert d.executor.troubles.link.misses == 0
    assert d.level is SafetyLevel.RUN


def test_a_chunk_that_came_while_held_and_cut_off_does_not_end_the_asking() -> None:
    """A plan that is merged in HOLD as the channel breaks is no reason to ask no more once it is open."""
    d = running(OnLinkLoss.STOP_NOW)
    lose(d)
    until(d, SafetyLevel.HOLD)
    d.open()
    d.tick()
    asked = d.requests[-1]
    d.reply("b", 60, asked, robot_actions=stepped(np.arange(2, 62)))
    d.executor.link_closed(d.now_ns, "reset")
    d.tick(5)
    assert d.level is SafetyLevel.HOLD
    assert len(d.planned()) == 60
    d.open()
    d.tick()
    assert d.requests[-1].number == asked.number + 1
    assert d.requests[-1].leftover is None
    d.reply("c", 60, robot_actions=stepped(np.arange(2, 62)))
    d.tick()
    assert d.level is SafetyLevel.RUN


def test_a_deadline_that_the_link_reports_counts_towards_patience() -> None:
    """Whoever notices first that a deadline passed, the next deadlines grow by it."""
    d = running()
    for _ in range(2):
        while d.executor.scheduler.outstanding is None:
            d.tick()
        d.executor.request_failed(d.now_ns, d.requests[-1].number, DEADLINE)
        d.tick()
    assert d.executor.troubles.link.overdue == 2


@pytest.mark.parametrize("aggregate", ["latest_only", "weighted_average"])
def test_what_was_planned_at_rest_is_never_blended_into_what_comes(aggregate: str) -> None:
    """A plan merged in HOLD as the link broke again does not make every later chunk too old to begin."""
    rule = RequestRule(Strategy.ASYNC, horizon=60, threshold=0.99, min_execution_steps=1)
    safety = SafetyConfig(on_link_loss=OnLinkLoss.STOP_NOW, hold_grace_ns=60 * SECOND)
    d = Driver(config_of(control_hz=100.0, spec=SPEC, rule=rule, safety=safety, aggregate=aggregate))
    d.open()
    d.tick()
    d.reply("a", 60, robot_actions=stepped(np.arange(1, 61)))
    d.tick(15)
    lose(d)
    until(d, SafetyLevel.HOLD)
    d.open()
    d.tick()
    d.reply("b", 60, robot_actions=stepped(np.arange(2, 62)))
    d.executor.link_closed(d.now_ns, "reset")
    d.tick(1_000)  # longer than the age limit
    d.open()
    d.tick()
    d.reply("c", 60, robot_actions=stepped(np.arange(2, 62)))
    d.tick(2)
    assert d.level is SafetyLevel.RUN
    assert d.last.action is not None


def test_a_camera_that_flaps_ends_the_run_all_the_same() -> None:
    """A camera that works for a tenth of a second each second is away, and its limit goes on counting."""
    d = running(camera_limit_ns=3 * SECOND, hold_grace_ns=SECOND)
    began_ns = d.now_ns
    while d.last.exit is None and d.now_ns - began_ns < 30 * SECOND:
        d.executor.camera_failed(d.now_ns, "front: old pictures")
        d.tick(90)
        d.executor.camera_works(d.now_ns)
        d.tick(10)
    assert d.last.exit is ExitReason.CAMERA


def test_a_camera_that_recovered_gets_its_whole_limit_again() -> None:
    """A failure more than a second after the last one is a new one."""
    d = running(camera_limit_ns=3 * SECOND)
    d.executor.camera_failed(d.now_ns, "front: unplugged")
    d.tick(250)
    d.executor.camera_works(d.now_ns)
    d.tick(150)
    d.executor.camera_failed(d.now_ns, "front: unplugged")
    d.tick(200)
    assert not d.executor.troubles.stop


@pytest.mark.parametrize("applied", [np.array([np.nan, 0.0]), np.zeros(3)])
def test_a_driver_that_applied_nonsense_is_a_fault(applied: np.ndarray) -> None:
    """What a driver says that it applied is checked: a hold at NaN would be NaN for ever."""
    d = running()
    d.executor.applied(applied)
    d.tick(30)
    assert d.level is SafetyLevel.FAULT
    assert all(np.isfinite(t.action).all() for t in d.ticks)
