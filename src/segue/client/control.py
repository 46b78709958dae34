"""The control process: a fresh interpreter that owns the robot, and nothing that could hold it up.

It is started with two sockets and two pages of memory, is told which robot to
make, answers with that robot's spec, and once the link has a session is told the plan: then it
connects, takes real-time scheduling where it is granted, and ticks until the
end. It never imports grpc, a JPEG library or the configuration: whatever those
do to memory, threads or signals happens in another process, and if that one
dies this one brings the arm to rest by itself.
"""

from __future__ import annotations

import contextlib
import json
import logging
import select
import socket
import sys
import time
from dataclasses import replace
from typing import TypeVar

from segue.client import realtime
from segue.client.ending import Ending, StopSwitch
from segue.client.loop import ControlLoop, Parts
from segue.client.mailbox import Mailbox
from segue.client.messages import Begin, Ended, Hello, Make, Say
from segue.client.pages import StopRelay
from segue.client.plan import ControlPlan, RobotPart, from_json, to_json
from segue.client.pulse import Pulse
from segue.clock import SystemClock
from segue.core.facts import ExitReason
from segue.errors import SegueError
from segue.signals import signals_to

_POLL_S = 0.1
_LAST_WORD_TIMEOUT_S = 2.0
_BUG = 70
# In place of an `ExitReason`: the two processes of a run did not understand each other.
NONSENSE = "nonsense"
_NOT_ASKED = "real-time scheduling was not asked for"

M = TypeVar("M", Make, Begin)

log = logging.getLogger(__name__)


class _NeverBegun(Exception):
    """The link went away, or a signal came, before there was a plan."""


def main() -> None:
    """Runs the control process.

    Its arguments are inherited descriptors: the sockets to link and recorder, the page of its pulse,
    and the one on which the link tells that the end was asked for.
    """
    link, records = (Mailbox(socket.socket(fileno=int(number))) for number in sys.argv[1:3])
    pulse, stop = Pulse(int(sys.argv[3])), StopSwitch(StopRelay(int(sys.argv[4])))
    with signals_to(stop.ask):
        ended = live(link, records, stop, pulse)
        say_last(records, ended)
    sys.exit(ended.exit_code)


def live(link: Mailbox, records: Mailbox, stop: StopSwitch, pulse: Pulse) -> Ended:
    """Waits for robot and plan, carries the plan out, and returns how it ended; never raises."""
    try:
        part = from_json(RobotPart, _next(Make, link, stop).body)
        robot = part.make()
        link.put(Hello(to_json(robot.spec)))
        plan = from_json(ControlPlan, _next(Begin, link, stop).body)
        ending = drive(plan, Parts(SystemClock(), robot, link, records, stop, pulse), in_process=True)
    except _NeverBegun:
        ending = Ending(ExitReason.SIGNALLED if stop.asked else ExitReason.LINK_LOST, stop.signal)
    except SegueError as error:
        return Ended(error.exit_code, type(error).__name__, str(error), b"{}")
    except Exception as error:
        log.exception("the control process failed")
        return Ended(_BUG, "bug", f"{type(error).__name__}: {error}", b"{}")
    return ended_as(ending, link.damage)


def drive(plan: ControlPlan, parts: Parts, in_process: bool) -> Ending:
    """Connects the robot, ticks until the end, and disconnects.

    Args:
        plan: what to do.
        parts: what to do it with; the robot is not connected yet.
        in_process: this process does nothing else: its garbage is collected between ticks, and it
            takes the real-time class if the plan wants that.
    """
    try:
        parts.robot.connect()
        if not in_process:
            return ControlLoop(parts, plan).run()
        loop = ControlLoop(replace(parts, between=realtime.collect_garbage), plan)
        loop.note_scheduling(realtime.take_realtime() if plan.execution.realtime else _NOT_ASKED)
        realtime.freeze_garbage()
        return loop.run()
    finally:
        parts.pulse.rest()
        parts.robot.disconnect()
        _say_notes(parts)


def _say_notes(parts: Parts) -> None:
    """Passes on what the robot says of its own end, where it has a way to say so."""
    notes = getattr(parts.robot, "notes", None)
    with contextlib.suppress(Exception):  # whatever a driver raises here, the run has ended as it has
        for note in notes() if notes is not None else ():
            parts.records.put(Say(note))


def ended_as(ending: Ending, damage: str = "") -> Ended:
    """Returns the last message of a run that ended so.

    Args:
        ending: how.
        damage: what the link wrote that was no message, in words: then it is not for want of a server.
    """
    summary = json.dumps(dict(ending.summary)).encode()
    given_up = damage and ending.reason is ExitReason.LINK_LOST
    return Ended(ending.exit_code, NONSENSE if given_up else ending.reason.value, ending.detail, summary)


def say_last(records: Mailbox, ended: Ended) -> None:
    """Sends the last message; now that nothing ticks any more it may wait a little for room."""
    deadline = time.monotonic() + _LAST_WORD_TIMEOUT_S
    while not records.put(ended) and not records.closed and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    records.close()


def _next(kind: type[M], link: Mailbox, stop: StopSwitch) -> M:
    while not stop.asked and not link.closed:
        select.select([link], [], [], _POLL_S)
        message = next(link.drain(), None)
        if isinstance(message, kind):
            return message
    raise _NeverBegun


if __name__ == "__main__":
    main()
