"""A neighbour that writes nonsense, under a virtual clock: play out, hold, park, and the run says why."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from segue.client import driver
from segue.client.control import NONSENSE, ended_as
from segue.client.ending import Ending
from segue.client.messages import Answer, Ask, CameraFailed, CameraWorks, Opened, Record, Say, encode_message
from segue.clock import NS_PER_S
from segue.core.executor import ChunkExecutor
from segue.core.facts import ExitReason
from segue.core.link.reports import LinkReport
from segue.core.turn import take_report
from segue.core.watchdog import SafetyConfig
from segue.robots import so101_model
from tests.unit.client.test_loop import levels
from tests.unit.client.test_messages import DAMAGED
from tests.unit.client.world import World, control_plan

SAFETY = SafetyConfig(play_out_ns=NS_PER_S // 5, hold_grace_ns=NS_PER_S // 2, park_ns=NS_PER_S)
NONSENSES = DAMAGED | {
    "an empty packet": b"",
    "too many bytes": bytes(500_000),
    "of the other direction": encode_message(Ask(1, 2, b"")),
    "for the recorder": encode_message(Record(b"{}")),
}


def write(world: World, data: bytes) -> None:
    """Writes `data` into the loop's mailbox as the link would."""
    world.link.mailbox._end.send(data)


@pytest.mark.parametrize("data", NONSENSES.values(), ids=NONSENSES)
def test_the_arm_comes_to_rest_as_if_its_neighbour_were_gone(data: bytes) -> None:
    """Whatever is written in place of a message raises nothing: play out, hold, park, and 69."""
    world = World(control_plan(None, safety=SAFETY))
    world.at(0.5, lambda: write(world, data))
    ending = world.run()
    assert (ending.reason, ending.exit_code) == (ExitReason.LINK_LOST, 69)
    assert levels(world) == ["DEGRADED", "HOLD", "PARK"]
    assert ending.summary["parked"]
    assert np.allclose(world.robot.commands[-1], so101_model.REST_POSE)
    assert len(world.robot.commands) < 100 * (0.5 + 0.2 + 0.5 + 1.0 + 0.3)


def test_why_it_was_given_up_is_said() -> None:
    """A line of the record and a sentence at the terminal say what was wrong, and so do the last words."""
    world = World(control_plan(None, safety=SAFETY))
    world.at(1.0, lambda: write(world, b"\xff"))
    ending = world.run()
    (gone,) = [line for line in map(json.loads, world.lines()) if line["event"] == "link_process_gone"]
    assert "1 bytes are no message" in gone["detail"]
    said = [message.text for message in world.said if isinstance(message, Say)]
    assert any("no message for the control loop: message: 1 bytes" in text for text in said)
    assert "1 bytes are no message" in ending.detail
    ended = ended_as(ending, gone["detail"])
    assert (ended.reason, ended.exit_code) == (NONSENSE, 69)


def test_a_link_that_is_merely_dead_ends_as_before() -> None:
    """Without damage the reason is the lost link, and other ends keep theirs whatever was written."""
    assert ended_as(Ending(ExitReason.LINK_LOST)).reason == "link_lost"
    assert ended_as(Ending(ExitReason.DONE), "damage").reason == "done"


def test_an_unreadable_body_is_a_failed_request_only() -> None:
    """A well-formed message whose reply cannot be read does not speak against the link process."""
    world = World(control_plan(4.0))
    world.at(1.0, lambda: world.link.mailbox.put(Answer(0, 0, 0, b"\xff\xff")))
    ending = world.run()
    assert ending.reason is ExitReason.DONE
    assert ending.summary["missed_requests"] == 1


def test_numbers_as_large_as_they_may_be_are_no_error() -> None:
    """A session whose durations are 36 years moves nothing wrongly and raises nothing."""
    world = World(control_plan(3.0))
    world.at(0.5, lambda: world.link.mailbox.put(Opened(1 << 60, 1 << 60, "cafe")))
    assert world.run().reason is ExitReason.DONE


def test_a_flood_of_valid_messages_holds_no_tick_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tick takes sixteen messages of a flood, and the arm's commands come as they should."""
    world = World(control_plan(8.0))  # what lies in the mailbox by then is read by 5 s
    taken: list[int] = []

    def counted(executor: ChunkExecutor, report: LinkReport, now_ns: int) -> None:
        taken.append(now_ns)
        take_report(executor, report, now_ns)

    monkeypatch.setattr(driver, "take_report", counted)

    def flood() -> None:
        while world.link.mailbox.put(CameraWorks()):
            continue

    for tick in range(100, 150):
        world.at(tick / 100, flood)
    with caplog.at_level(logging.ERROR):
        assert world.run().reason is ExitReason.DONE
    _, counts = np.unique(taken, return_counts=True)
    assert counts.max() == 16
    assert caplog.text == ""


def test_the_newest_of_a_flood_counts_in_the_end() -> None:
    """What was said last is what holds, once the flood was taken."""
    world = World(control_plan(6.0))

    def flood() -> None:
        for _ in range(100):
            world.link.mailbox.put(CameraFailed("front"))
            world.link.mailbox.put(CameraWorks())

    world.at(1.0, flood)
    assert world.run().reason is ExitReason.DONE
    assert world.loop.executor.troubles.camera is None


def test_a_message_that_nobody_can_take_is_no_end_in_mid_air(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong while a message is taken, the arm comes to rest, and the traceback is kept."""
    world = World(control_plan(None, safety=SAFETY))

    def fail(now_ns: int, what: str) -> None:
        raise ZeroDivisionError("oh no")

    world.loop.executor.camera_failed = fail  # type: ignore[method-assign]
    world.at(0.5, lambda: world.link.mailbox.put(CameraFailed("front")))
    ending = world.run()
    assert (ending.exit_code, ending.summary["parked"]) == (69, True)
    assert "ZeroDivisionError: oh no" in ending.detail
    assert "could not be taken" in caplog.text
