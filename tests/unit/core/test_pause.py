"""A pause: to rest, waiting there, and on with a fresh look."""

from __future__ import annotations

import numpy as np

from segue.core.facts import ExitReason
from segue.core.watchdog import OnLinkLoss, SafetyLevel

from .driver import Driver, stepped
from .test_states import REST, lose, running, until


def paused(d: Driver) -> Driver:
    """Pauses a running driver and lets the arm arrive at rest."""
    d.executor.pause()
    until(d, SafetyLevel.PARK)
    while not d.executor.rested:
        d.tick()
    return d


def test_a_pause_parks_the_arm_and_asks_nothing() -> None:
    """Paused, the arm holds for its ramp, goes to rest, and neither asks nor ends for as long as it takes."""
    d = running()
    paused(d)
    assert d.changes() == [("RUN", "HOLD", "paused"), ("HOLD", "PARK", "paused")]
    asked = len(d.requests)
    d.tick(7_000)  # longer than the grace of a hold and the offline limit
    assert len(d.requests) == asked
    assert (d.level, d.last.exit) == (SafetyLevel.PARK, None)
    assert d.last.action[0] == REST[0]


def test_a_pause_ends_with_a_fresh_look_and_the_ramp() -> None:
    """After go the arm asks anew, in an epoch of its own, and blends from rest into the new plan."""
    d = paused(running())
    epoch, now_ns = d.executor.epoch, d.now_ns
    d.executor.go()
    d.tick()
    assert d.requests[-1].epoch > epoch
    assert d.requests[-1].observation.captured_ns >= now_ns
    d.reply("b", 60, robot_actions=stepped([-38.0] * 60))
    d.tick(40)
    assert d.changes()[-1] == ("PARK", "RUN", "resumed")
    np.testing.assert_allclose(d.last.action[0], -38.0)
    # Without the ramp it would be there after one step of ten ticks.
    assert d.ticks[-30].action[0] < -39.0


def test_an_answer_that_came_in_a_pause_is_not_executed_after_it() -> None:
    """What was asked for before go, and answered while the arm was at rest, moves nothing."""
    d = running(OnLinkLoss.STOP_NOW)
    lose(d)
    d.tick(30)
    d.open()
    d.tick()  # asks from the hold
    d.executor.pause()
    d.reply("b", 60, robot_actions=stepped([30.0] * 60))
    d.tick(600)
    assert len(d.executor.queue) == 60  # taken, and going nowhere
    d.executor.go()
    d.tick(3)
    assert (d.level, len(d.executor.queue)) == (SafetyLevel.PARK, 0)


def test_go_without_a_pause_changes_nothing() -> None:
    """An arm that moves goes on with its plan when it is told to go."""
    d = running()
    epoch, left = d.executor.epoch, len(d.executor.queue)
    d.executor.go()
    assert (d.executor.epoch, len(d.executor.queue)) == (epoch, left)


def test_a_server_that_is_back_is_not_held_against_a_pause() -> None:
    """A link that was lost and opened again during a pause neither ends the run then nor after it."""
    d = paused(running())
    lose(d)
    d.tick(100)
    d.open()
    d.tick(7_000)
    assert d.last.exit is None
    d.executor.go()
    d.tick()
    d.reply("b", 60, robot_actions=stepped([0.0] * 60))
    d.tick()
    assert d.level is SafetyLevel.RUN


def test_a_server_that_stays_away_ends_a_pause() -> None:
    """A link that stays lost for the offline limit ends a paused run as it ends any other."""
    d = paused(running())
    lose(d)
    d.tick(5_999)
    assert d.last.exit is None
    d.tick(3)
    assert d.last.exit is ExitReason.LINK_LOST


def test_a_stop_ends_a_pause() -> None:
    """A paused arm that is told to end ends where it rests."""
    d = paused(running())
    d.executor.stop(ExitReason.SIGNALLED)
    assert d.tick().exit is ExitReason.SIGNALLED
