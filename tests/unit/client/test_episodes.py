"""Episodes: the books alone, and a control loop under the virtual clock that is told of them."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.client.commands import read_commands
from segue.client.ending import Ending
from segue.client.episodes import EpisodePlan, Episodes, Order, Wish
from segue.client.messages import Commands, Mark, Say, Task
from segue.clock import NS_PER_S
from segue.core.facts import Tick
from segue.core.queue import PlannedAction
from segue.core.schedule import RequestRule
from segue.core.watchdog import SafetyConfig, SafetyLevel
from segue.robots import so101_model
from segue.testing import assert_clean
from tests.unit.client.world import World, control_plan

START = 5 * NS_PER_S
TIMED = EpisodePlan(total=3, time_ns=10 * NS_PER_S, reset_ns=4 * NS_PER_S)


def begun(plan: EpisodePlan) -> Episodes:
    """Returns the books of a run whose first action began at `START`."""
    books = Episodes(plan, "wave")
    first = PlannedAction(0, np.zeros(1), START)
    books.count(Tick(np.zeros(1), None, first, SafetyLevel.RUN, False, (), None), START)
    return books


def test_an_episode_ends_when_its_time_is_over() -> None:
    """Its time counts from its first action, to the nanosecond."""
    books = begun(TIMED)
    assert books.due(START + 10 * NS_PER_S - 1, False) is None
    assert books.due(START + 10 * NS_PER_S, False) is Order.REST
    assert books.summary() == [{"number": 1, "task": "wave", "seconds": 10.0, "success": None, "chunks": 0}]


def test_an_episode_that_never_moved_does_not_time_out() -> None:
    """While the first chunk is waited for no time passes, and what never moved took none."""
    books = Episodes(TIMED, "wave")
    assert books.due(START + 100 * NS_PER_S, False) is None
    assert books.wish(Wish.FAILURE, START + 100 * NS_PER_S) is Order.REST
    assert books.summary()[0]["seconds"] == 0.0


def test_the_next_begins_after_the_reset_and_at_rest() -> None:
    """The time to reset counts from the end, and an arm still on its way to rest is waited for."""
    books = begun(TIMED)
    ended = START + 10 * NS_PER_S
    books.due(ended, False)
    assert books.due(ended + 4 * NS_PER_S - 1, True) is None
    assert books.due(ended + 4 * NS_PER_S, False) is None
    assert books.due(ended + 5 * NS_PER_S, True) is Order.GO
    assert books.due(ended + 5 * NS_PER_S, True) is None


def test_the_key_next_begins_one_as_soon_as_the_arm_is_at_rest() -> None:
    """Whoever presses next too soon is not forgotten, and need not wait for the reset to be over."""
    books = begun(EpisodePlan())
    assert books.wish(Wish.NEXT, START) is Order.REST
    assert books.wish(Wish.NEXT, START) is None
    assert books.due(START, False) is None
    assert books.due(START, True) is Order.GO


@pytest.mark.parametrize(
    ("wish", "success"), [(Wish.NEXT, None), (Wish.SUCCESS, True), (Wish.FAILURE, False)]
)
def test_each_key_ends_an_episode_with_its_verdict(wish: Wish, success: bool | None) -> None:
    """Next judges nothing, success and failure do."""
    books = begun(EpisodePlan())
    assert books.wish(wish, START + NS_PER_S) is Order.REST
    assert books.summary()[0]["success"] is success
    assert books.summary()[0]["seconds"] == 1.0


def test_the_last_may_be_judged_at_rest() -> None:
    """A verdict between two episodes is of the one before, and begins nothing."""
    books = begun(TIMED)
    books.due(START + 10 * NS_PER_S, False)
    books.news()
    assert books.wish(Wish.FAILURE, START) is None
    assert books.summary()[0]["success"] is False
    assert [(n.event, n.fields) for n in books.news()] == [
        ("episode_judged", {"number": 1, "success": False})
    ]
    assert books.due(START + 10 * NS_PER_S, True) is None


def test_after_the_last_the_run_ends() -> None:
    """The end of the last episode is the end, after which nothing begins, though it may still be judged."""
    books = begun(replace(TIMED, total=1))
    assert books.wish(Wish.NEXT, START) is Order.END
    books.wish(Wish.NEXT, START)
    books.wish(Wish.SUCCESS, START)
    assert books.due(START + 100 * NS_PER_S, True) is None
    assert books.summary()[0]["success"] is True


def test_the_task_of_an_episode_is_the_one_it_ended_with() -> None:
    """A task that is changed at rest belongs to the next episode."""
    books = begun(TIMED)
    books.task = "fold"
    books.wish(Wish.NEXT, START)
    books.task = "stack"
    assert books.summary()[0]["task"] == "fold"
    books.due(START + 4 * NS_PER_S, True)
    assert "episode 2 of 3 begins: stack" in [n.sentence for n in books.news()]


def test_a_run_that_ends_takes_its_episode_with_it() -> None:
    """The present episode ends with the run, once; a run that nobody divided has none."""
    books = begun(TIMED)
    books.close(START + NS_PER_S)
    books.close(START + 2 * NS_PER_S)
    assert [e["seconds"] for e in books.summary()] == [1.0]
    undivided = begun(EpisodePlan())
    undivided.close(START)
    assert (undivided.summary(), undivided.news()) == ([], [])


# --- a loop that is told ---------------------------------------------------------------------------


def world_of(plan: EpisodePlan, seconds: float | None = None, **execution: Any) -> World:
    """Returns a loop with these episodes that logs its commands."""
    base = control_plan(seconds, episodes=plan, **execution)
    return World(replace(base, log_commands=True))


def judged(world: World, folder: Path) -> list[Any]:
    """Lets the checker judge the commands of a run, and returns its rows."""
    log = folder / "commands.csv"
    log.write_bytes(b"".join(m.body for m in world.said if isinstance(m, Commands)))
    header, rows = read_commands(log)
    assert_clean(rows, header)
    return rows


def lines(world: World, *events: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, world.lines()) if line["event"] in events]


def episodes(ending: Ending) -> list[Any]:
    found: Any = ending.summary["episodes"]
    return list(found)


def test_episodes_by_the_clock(tmp_path: Path) -> None:
    """Between timed episodes the arm rests and asks nothing; each has fresh epochs, and the run is done."""
    plan = EpisodePlan(total=3, time_ns=2 * NS_PER_S, reset_ns=7 * NS_PER_S)
    world = world_of(plan, rule=RequestRule())  # with which no chunk comes on the very tick of an end
    ending = world.run()
    assert ending.exit_code == 0
    assert [(e["number"], e["seconds"]) for e in episodes(ending)] == [(1, 2.0), (2, 2.0), (3, 2.0)]
    assert sum(e["chunks"] for e in episodes(ending)) == ending.summary["chunks"]
    changes = [(e["state_from"], e["state_to"], e["cause"]) for e in lines(world, "level")]
    pause = [("RUN", "HOLD", "paused"), ("HOLD", "PARK", "paused"), ("PARK", "RUN", "resumed")]
    assert changes == [*pause, *pause, ("RUN", "HOLD", "done"), ("HOLD", "PARK", "done")]
    assert [e["number"] for e in lines(world, "episode")] == [1, 2, 3]
    at_rest = [e["mono_ns"] for e in lines(world, "level") if e["state_to"] == "PARK"]
    asked = [request.requested_ns for request in world.link.asked]
    assert not [t for t in asked if at_rest[0] <= t < at_rest[0] + 6 * NS_PER_S]
    epochs = [request.epoch for request in world.link.asked]
    assert epochs == sorted(epochs)
    assert len(set(epochs)) >= 3
    rows = judged(world, tmp_path)
    assert sum(np.allclose(row.command, so101_model.REST_POSE) for row in rows) > 300


def test_no_episode_begins_before_the_arm_is_at_rest() -> None:
    """With no time to reset at all the arm still goes to rest first, all the way."""
    world = world_of(EpisodePlan(total=2, time_ns=3 * NS_PER_S, reset_ns=0))
    world.run()
    (begins,) = (e["mono_ns"] for e in lines(world, "episode_begins"))
    parks = [e["mono_ns"] for e in lines(world, "level") if e["state_to"] == "PARK"]
    tick = round((begins - NS_PER_S) * 100 / NS_PER_S)
    assert parks[0] + NS_PER_S <= begins  # the shortest way to rest takes a second
    np.testing.assert_allclose(world.robot.commands[tick - 1], so101_model.REST_POSE)


def test_stopping_is_no_part_of_an_episode() -> None:
    """An episode lasts until the end was asked for, not until the arm is parked; none begins after that."""
    world = world_of(EpisodePlan(total=9, reset_ns=0))
    world.at(3.0, lambda: world.stop.ask(signal.SIGINT))
    ending = world.run()
    assert [e["seconds"] for e in episodes(ending)] == [pytest.approx(2.8, abs=0.2)]
    assert lines(world, "episode_begins") == []


def test_a_key_pauses_and_goes_on(tmp_path: Path) -> None:
    """Without a plan of episodes the key next lets the arm rest until it is pressed again."""
    world = world_of(EpisodePlan(), seconds=20.0)
    world.at(1.0, lambda: world.link.mailbox.put(Mark("success")))
    world.at(15.0, lambda: world.link.mailbox.put(Mark("next")))
    ending = world.run()
    assert [e["success"] for e in episodes(ending)] == [True, None]
    parked = [e["mono_ns"] for e in lines(world, "level") if e["state_to"] == "PARK"]
    resumed = [e["mono_ns"] for e in lines(world, "level") if e["cause"] == "resumed"]
    assert resumed[0] - parked[0] > 13 * NS_PER_S  # longer than any hold lasts by itself
    assert any("episode 1: success" in m.text for m in world.said if isinstance(m, Say))
    judged(world, tmp_path)


def test_a_stop_in_a_pause_ends_parked(tmp_path: Path) -> None:
    """A signal between two episodes ends the run where the arm rests."""
    world = world_of(EpisodePlan(total=2))
    world.at(1.0, lambda: world.link.mailbox.put(Mark("next")))
    world.at(10.0, lambda: world.stop.ask(signal.SIGTERM))
    ending = world.run()
    assert ending.exit_code == 143
    assert ending.summary["parked"]
    assert len(episodes(ending)) == 1
    judged(world, tmp_path)


def test_the_duration_ends_a_pause() -> None:
    """A run whose time is up ends between two episodes, too."""
    world = world_of(EpisodePlan(total=5), seconds=12.0)
    world.at(1.0, lambda: world.link.mailbox.put(Mark("next")))
    ending = world.run()
    assert ending.exit_code == 0
    assert len(episodes(ending)) == 1


def test_another_task_voids_what_was_planned_for_the_old_one(tmp_path: Path) -> None:
    """From the tick of the change on, no action of the old task begins, and requests carry the new words."""
    world = world_of(EpisodePlan(), seconds=6.0)
    world.at(2.0, lambda: world.link.mailbox.put(Task("fold")))
    ending = world.run()
    (changed,) = lines(world, "task")
    assert changed["task"] == "fold"
    rows = judged(world, tmp_path)
    later = [row for row in rows if row.t_ns >= changed["mono_ns"]]
    assert later[0].epoch == rows[0].epoch + 1
    assert all(row.captured_ns >= changed["mono_ns"] for row in later if row.captured_ns is not None)
    before = [r for r in world.link.asked if r.epoch == 1]
    assert world.link.tasks[: len(before)] == ["wave"] * len(before)
    assert set(world.link.tasks[len(before) :]) == {"fold"}
    assert ending.summary["chunks"] >= 2


def test_the_same_task_again_changes_nothing() -> None:
    """A task that is typed as it was interrupts nothing."""
    world = world_of(EpisodePlan(), seconds=4.0)
    world.at(2.0, lambda: world.link.mailbox.put(Task("wave")))
    world.run()
    assert {request.epoch for request in world.link.asked} == {1}
    assert lines(world, "task") == []


def test_a_fault_in_an_episode_stays_a_fault() -> None:
    """No key brings an arm to move again that has latched."""
    world = world_of(EpisodePlan(total=2), safety=SafetyConfig(hold_ramp_ns=3 * NS_PER_S))
    world.at(1.0, lambda: setattr(world.robot, "fails", "servo 3"))
    world.at(1.5, lambda: world.link.mailbox.put(Mark("next")))
    world.at(2.0, lambda: world.link.mailbox.put(Mark("next")))
    ending = world.run()
    assert ending.exit_code == 74
    assert lines(world, "level")[-1]["state_to"] == "FAULT"
    assert episodes(ending)[0]["seconds"] == pytest.approx(1.4, abs=0.2)


def test_an_arm_in_a_pause_outlives_nobody(tmp_path: Path) -> None:
    """When the link process dies in a pause the run ends with 69, parked, and begins no episode."""
    world = world_of(EpisodePlan(total=2, reset_ns=20 * NS_PER_S))
    world.at(1.0, lambda: world.link.mailbox.put(Mark("next")))
    world.at(8.0, world.link.mailbox.close)
    ending = world.run()
    assert ending.exit_code == 69
    assert ending.summary["parked"]
    assert len(world.robot.commands) < 900  # the rest of the pause was not waited for
    judged(world, tmp_path)
