"""A computer that slept: all of before is void, every limit begins anew, and a person says go."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from segue.core.facts import ExitReason
from segue.core.schedule import DropReason
from segue.core.watchdog import Resume, SafetyLevel

from .driver import SECOND, Driver, stepped
from .test_pause import paused
from .test_states import lose, running, until

NIGHT = 100 * 15  # ticks of 10 ms
HOUR = 100 * 3600


def sleep(d: Driver, ticks: int = NIGHT) -> Driver:
    """Lets the computer sleep, and tells the executor as it wakes."""
    d.stall(ticks)
    d.executor.slept(d.now_ns)
    return d


def go(d: Driver) -> None:
    d.executor.go_on(d.now_ns)


def still(d: Driver, since: int) -> bool:
    """Returns whether no command moved in the ticks from the `since` last on."""
    return bool(np.ptp([t.action[0] for t in d.ticks[-since:]]) == 0)


def test_an_arm_whose_computer_slept_holds_until_a_person_says_go() -> None:
    """From the tick after the sleep on nothing moves, begins or is asked, for as long as nobody says go."""
    d = running()
    step, asked, before = d.executor.step, len(d.requests), d.last.action[0]
    sleep(d)
    d.tick(HOUR // 100)
    assert d.changes() == [("RUN", "HOLD", "slept")]
    assert (d.executor.step, len(d.requests)) == (step, asked)
    assert still(d, HOUR // 100)
    assert d.last.action[0] == before
    assert d.last.exit is None


def test_after_go_the_arm_goes_on_from_a_fresh_look_with_the_ramp() -> None:
    """Go asks with what is seen then, in an epoch of its own, and only that answer moves the arm, gently."""
    d = sleep(running())
    d.tick(300)
    before, went_ns, asked = d.executor.epoch, d.now_ns, len(d.requests)
    go(d)
    d.tick()
    (request,) = d.requests[asked:]
    assert request.observation.captured_ns >= went_ns
    assert request.epoch > before
    d.reply("b", 60, robot_actions=stepped([30.0] * 60))
    d.tick(60)
    assert d.changes()[-1] == ("HOLD", "RUN", "resumed")
    np.testing.assert_allclose(d.last.action[0], 30.0)
    moves = np.abs(np.diff([t.action[0] for t in d.ticks[-60:]]))
    # Twenty-nine degrees in the one step of the plan would be three a tick.
    assert moves.max() < 2.0


def test_with_auto_the_arm_goes_on_by_itself_with_a_fresh_chunk() -> None:
    """Told so before, it asks anew at once; the plan of before and its late answer move nothing."""
    d = running(resume=Resume.AUTO)
    late = d.requests[-1]
    sleep(d)
    d.tick()
    assert (d.level, d.planned()) == (SafetyLevel.HOLD, [])
    d.reply("b", 60, late)
    d.tick(2)
    assert d.rows[-2].dropped == [DropReason.OLD_EPOCH]
    assert d.level is SafetyLevel.HOLD
    d.reply("c", 60, robot_actions=stepped([20.0] * 60))
    d.tick(60)
    assert d.changes() == [("RUN", "HOLD", "slept"), ("HOLD", "RUN", "resumed")]
    np.testing.assert_allclose(d.last.action[0], 20.0)


def test_an_answer_that_waited_through_the_sleep_is_void() -> None:
    """A reply that had come just before the computer slept is never executed after it."""
    d = running(resume=Resume.AUTO)
    d.reply("b", 60)
    sleep(d)
    d.tick()
    assert d.rows[-1].dropped == [DropReason.NOT_ASKED]
    assert len(d.executor.queue) == 0


def fail_camera(d: Driver) -> None:
    d.executor.camera_failed(d.now_ns, "camera front: unplugged")


LIMITS: dict[str, tuple[Callable[[Driver], None], int]] = {
    "offline": (lose, 60),
    "camera": (fail_camera, 30),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_begin_anew_after_a_sleep(name: str) -> None:
    """What had failed for most of its limit before the sleep has all of it again afterwards."""
    fail, limit_s = LIMITS[name]
    d = running(resume=Resume.AUTO, hold_grace_ns=1000 * SECOND)
    fail(d)
    d.tick((limit_s - 1) * 100)
    sleep(d)
    d.tick(limit_s * 100 - 1)
    assert d.executor.troubles.stop is None
    d.tick(2)
    assert d.executor.troubles.stop is not None


@pytest.mark.parametrize("name", LIMITS)
def test_no_limit_passes_while_a_person_is_waited_for(name: str) -> None:
    """Without a go no limit moves the arm or ends the run; after it each has its whole time."""
    fail, limit_s = LIMITS[name]
    d = running(hold_grace_ns=1000 * SECOND)
    sleep(d)
    fail(d)
    d.tick(2 * limit_s * 100)
    assert (d.level, d.executor.troubles.stop) == (SafetyLevel.HOLD, None)
    go(d)
    d.tick(limit_s * 100 - 1)
    assert d.executor.troubles.stop is None
    d.tick(2)
    assert d.executor.troubles.stop is not None


def test_the_grace_of_a_hold_begins_anew() -> None:
    """A hold that was nearly over before the sleep lasts its ten seconds once more, and again after go."""
    d = running()
    lose(d)
    until(d, SafetyLevel.HOLD)
    d.tick(990)
    sleep(d)
    d.tick(3_000)
    assert d.level is SafetyLevel.HOLD
    assert d.executor.watchdog.cause.value == "slept"
    go(d)
    assert until(d, SafetyLevel.PARK) == 1 + 1_000


def test_a_sleep_on_the_way_to_rest_stops_the_arm_there() -> None:
    """Parking is motion, too: it waits for go, and then comes to its end."""
    d = running(park_ns=4 * SECOND)
    d.executor.stop(ExitReason.DONE)
    until(d, SafetyLevel.PARK)
    d.tick(30)
    on_its_way = d.last.action[0]
    sleep(d)
    d.tick(500)
    assert d.changes()[-1] == ("PARK", "HOLD", "slept")
    assert still(d, 400)
    assert abs(d.last.action[0] - on_its_way) < 1.0
    assert d.last.exit is None
    go(d)
    until(d, SafetyLevel.PARK)
    while d.last.exit is None:
        d.tick()
    assert d.last.exit is ExitReason.DONE


def test_an_end_that_nobody_asked_for_waits_for_go() -> None:
    """A server that turns the robot away meanwhile does not make it move."""
    d = sleep(running())
    d.executor.stop(ExitReason.REFUSED)
    d.tick(2_000)
    assert d.level is SafetyLevel.HOLD
    go(d)
    until(d, SafetyLevel.PARK)


def test_a_sleep_between_two_episodes_waits_for_both() -> None:
    """At rest between episodes the arm stays there: go alone does not begin the next one."""
    d = sleep(paused(running()))
    d.tick(2_000)
    assert (d.level, d.executor.watchdog.waits_for_go) == (SafetyLevel.HOLD, True)
    d.executor.go()  # the next episode, by its time
    d.tick(2_000)
    assert d.level is SafetyLevel.HOLD
    go(d)
    asked = len(d.requests)
    d.tick()
    assert len(d.requests) == asked + 1


def test_a_fault_stays_a_fault() -> None:
    """What was latched before the sleep is neither softened by it nor by a go."""
    d = running()
    d.executor.robot_failed("servo 3")
    d.tick()
    sleep(d)
    go(d)
    d.tick(100)
    assert d.level is SafetyLevel.FAULT
    assert next(t.exit for t in d.ticks if t.exit is not None) is ExitReason.ROBOT


def test_a_robot_that_fails_while_a_person_is_waited_for_is_a_fault() -> None:
    """The waiting hides no fault."""
    d = sleep(running())
    d.executor.robot_in_danger("elbow_flex is too hot")
    assert d.tick().level is SafetyLevel.FAULT


def test_go_without_a_sleep_changes_nothing() -> None:
    """An arm that moves goes on with its plan when it is told to go on."""
    d = running()
    epoch, left = d.executor.epoch, len(d.executor.queue)
    go(d)
    assert (d.executor.epoch, len(d.executor.queue)) == (epoch, left)
