from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from segue.client.control import drive, ended_as, live, say_last
from segue.client.ending import Ending, StopSwitch
from segue.client.loop import Parts
from segue.client.mailbox import Mailbox, mailbox_pair
from segue.client.messages import Begin, Ended, Hello, Make, Message
from segue.client.plan import RobotPart, from_json, to_json
from segue.client.pulse import Pulse
from segue.clock import NS_PER_S, SystemClock
from segue.core.facts import ExitReason
from segue.core.specs import RobotSpec
from segue.core.types import FloatArray
from segue.errors import RobotFault
from segue.robots.base import RobotState
from segue.testing.robots import FakeRobot, make_broken_robot
from tests.unit.client.world import control_plan

WAIT_S = 20.0
FAKE = RobotPart("segue.testing.robots:make_fake_robot")


class Life:
    """`live` on a thread, with the link's and the recorder's ends in the test's hands."""

    def __init__(self, *first: Message) -> None:
        theirs, self.link = mailbox_pair()
        records, self.records = mailbox_pair()
        self.stop = StopSwitch()
        self.ended: list[Ended] = []
        for message in first:
            self.link.put(message)
        self.thread = threading.Thread(
            target=lambda: self.ended.append(live(theirs, records, self.stop, Pulse()))
        )
        self.thread.start()

    def end(self) -> Ended:
        self.thread.join(WAIT_S)
        (ended,) = self.ended
        return ended


def heard(mailbox: Mailbox) -> list[Message]:
    return list(mailbox.drain())


def test_the_robot_says_what_it_is_before_it_is_connected() -> None:
    """Told which robot to make, the process answers with its spec; without a plan it ends."""
    life = Life(Make(to_json(FAKE)))
    hello: list[Message] = []
    while not hello:
        hello = heard(life.link)
    assert isinstance(hello[0], Hello)
    assert from_json(RobotSpec, hello[0].body) == FakeRobot().spec
    life.link.close()
    assert life.end().exit_code == 69


def test_a_stop_before_the_plan_ends_as_signalled() -> None:
    """Somebody who stops the run before it began gets the signal's exit code."""
    life = Life(Make(to_json(FAKE)))
    life.stop.ask(15)
    assert life.end().exit_code == 143


def test_a_robot_that_does_not_answer_ends_with_74_and_its_words() -> None:
    """A robot that cannot be connected ends the process with the fault's code and sentence."""
    broken = RobotPart("segue.testing.robots:make_broken_robot")
    life = Life(Make(to_json(broken)), Begin(to_json(control_plan())))
    ended = life.end()
    assert (ended.exit_code, ended.detail) == (74, "no answer from the bus")


def test_a_bug_ends_with_70(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw is logged and ends the process with the code for bugs."""
    life = Life(Make(to_json(RobotPart("segue.testing.robots:nobody"))))
    ended = life.end()
    assert ended.exit_code == 70
    assert "nobody" in ended.detail
    assert "failed" in caplog.text


def test_driving_connects_and_disconnects_whatever_happens() -> None:
    """The robot is disconnected after a run, and after one that could not begin."""
    link, _other = mailbox_pair()
    records, _reader = mailbox_pair()
    stop = StopSwitch()
    stop.ask(at_ns=0)
    stop.ask(at_ns=NS_PER_S)
    robot = FakeRobot()
    ending = drive(control_plan(), Parts(SystemClock(), robot, link, records, stop), in_process=False)
    assert ending.reason is ExitReason.SIGNALLED
    assert not robot.connected
    broken = make_broken_robot()
    with pytest.raises(RobotFault):
        drive(control_plan(), Parts(SystemClock(), broken, link, records, stop), in_process=False)
    assert not broken.connected


def test_a_loop_that_has_ended_is_not_missed() -> None:
    """From its last tick on, a slow disconnect included, the pulse says that none is to follow."""
    link, _other = mailbox_pair()
    records, _reader = mailbox_pair()
    stop, pulse = StopSwitch(), Pulse()
    heard: list[int] = []

    class Slow(FakeRobot):
        def write(self, action: FloatArray, now_ns: int) -> FloatArray:
            if self.commands:
                stop.ask(at_ns=0)
                stop.ask(at_ns=NS_PER_S)
            return super().write(action, now_ns)

        def read(self, now_ns: int) -> RobotState:
            heard.append(pulse.last_ns)
            return super().read(now_ns)

        def disconnect(self) -> None:
            heard.append(pulse.last_ns)
            super().disconnect()

    drive(control_plan(), Parts(SystemClock(), Slow(), link, records, stop, pulse), in_process=False)
    pulse.close()
    *_, ticking, resting = heard
    assert ticking > 0
    assert resting == 0


def test_the_last_word_waits_for_room() -> None:
    """The summary is not lost because the recorder was busy for a moment."""
    records, reader = mailbox_pair()
    ended = ended_as(Ending(ExitReason.DONE, summary={"ticks": 3}))
    while records.put(ended):
        pass
    sayer = threading.Thread(target=say_last, args=(records, ended))
    sayer.start()
    words: list[Message] = []
    while not reader.closed:
        words.extend(reader.drain())
    sayer.join(WAIT_S)
    assert isinstance(words[-1], Ended)
    assert json.loads(words[-1].body) == {"ticks": 3}


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("segue.client", "torch cv2 matplotlib"),
        ("segue.client.launch", "torch cv2 matplotlib pydantic yaml"),
        ("segue.client.control", "torch cv2 matplotlib grpc simplejpeg pydantic yaml multiprocessing"),
    ],
)
def test_the_client_imports_no_more_than_it_needs(module: str, forbidden: str) -> None:
    """The robot's side loads no heavy library, and the guardian not even grpc or a JPEG library."""
    code = f"import {module}, sys; print(*[m for m in '{forbidden}'.split() if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == ""
