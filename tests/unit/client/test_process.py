from __future__ import annotations

import math
import os
import select
import signal
import time

import pytest

from segue.client.ending import StopSwitch
from segue.client.messages import Ended
from segue.client.plan import RobotPart
from segue.client.process import ControlProcess
from segue.clock import now_ns
from segue.testing.robots import so101_spec
from tests.unit.client.world import control_plan

pytestmark = pytest.mark.e2e

FAKE = RobotPart("segue.testing.robots:make_fake_robot")
CLOSE_S = 20.0


def last_words(process: ControlProcess) -> Ended | None:
    words = [message for message in process.records.drain() if isinstance(message, Ended)]
    return words[0] if words else None


def test_a_process_makes_its_robot_and_ends_with_its_link() -> None:
    """The fresh interpreter says its robot's spec, and ends by itself when nobody needs it."""
    process = ControlProcess(FAKE)
    assert process.hello(StopSwitch()) == so101_spec()
    process.link.close()
    assert process.wait(lambda: CLOSE_S) == 69
    process.close(CLOSE_S)


def test_a_process_that_begun_ticks_and_obeys_signals() -> None:
    """Told to begin it ticks; a wish that is passed on brings the arm to rest and ends it."""
    process = ControlProcess(FAKE)
    assert process.hello(StopSwitch()) is not None
    process.begin(control_plan(None))
    process.ask(1, signal.SIGTERM, now_ns())
    assert process.wait(lambda: CLOSE_S) == 143
    ended = last_words(process)
    assert ended is not None
    assert ended.exit_code == 143
    process.close(CLOSE_S)


def test_a_robot_that_cannot_be_made_ends_the_process() -> None:
    """Without a robot there is no hello, and the process says why it ended."""
    process = ControlProcess(RobotPart("segue.testing.robots:nobody"))
    assert process.hello(StopSwitch()) is None
    assert process.wait(lambda: CLOSE_S) == 70
    ended = last_words(process)
    assert ended is not None
    assert "nobody" in ended.detail
    process.close(CLOSE_S)


def test_nobody_waits_for_a_robot_after_a_stop() -> None:
    """A stop ends the waiting for the robot at once."""
    process = ControlProcess(FAKE)
    stop = StopSwitch()
    stop.ask()
    assert process.hello(stop) is None
    process.close(CLOSE_S)


def test_a_killed_process_counts_as_a_bug() -> None:
    """A process that was killed by what cannot be caught ends with 70."""
    process = ControlProcess(FAKE)
    assert process.hello(StopSwitch()) is not None
    process.begin(control_plan(None))
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(lambda: CLOSE_S) == 70
    process.close(CLOSE_S)


def test_a_process_that_does_not_end_is_killed() -> None:
    """A process that is stuck is waited for as long as it was given, and then killed."""
    process = ControlProcess(FAKE)
    assert process.hello(StopSwitch()) is not None
    process.begin(control_plan(None))
    os.kill(process.pid, signal.SIGSTOP)
    patience = iter([CLOSE_S])
    assert process.wait(lambda: next(patience, 0.2)) is None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    process.close(CLOSE_S)


def test_a_signal_before_the_beginning_is_kept_until_there_is_an_arm() -> None:
    """A signal that comes before the plan does not end the process, which obeys it once it has begun."""
    process = ControlProcess(FAKE)
    assert process.hello(StopSwitch()) is not None
    process.ask(1, signal.SIGTERM, now_ns())
    assert select.select([process.link], [], [], 0.5)[0] == []  # an end would be seen there
    process.begin(control_plan(None))
    assert process.wait(lambda: CLOSE_S) == 143
    process.close(CLOSE_S)


def test_a_process_that_is_signalled_before_it_can_heed_it_was_signalled() -> None:
    """Killed by TERM in its first moment, before there are handlers, it counts as stopped by it."""
    process = ControlProcess(FAKE)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(lambda: CLOSE_S) == 143
    process.close(CLOSE_S)


def test_patience_that_was_for_ever_begins_anew() -> None:
    """Whoever was waited for without an end, as for a person's go, has the whole of what is said next."""
    process = ControlProcess(FAKE)
    assert process.hello(StopSwitch()) is not None
    said = iter([0.3, math.inf, 0.3, 0.2, 0.1])
    began_s = time.monotonic()
    assert process.wait(lambda: next(said, 0.0)) is None
    assert time.monotonic() - began_s >= 0.45  # the turn of infinity, and 0.3 s after it
    process.close(CLOSE_S)
