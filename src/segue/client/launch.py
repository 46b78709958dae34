"""A whole run: the two processes and what they share, from the first dial to the summary.

    outcome = run(plan, RobotPart("package.module:make", {...}), cameras, reporter)

This process becomes the link: it owns cameras, channel and records. The robot
lives in a second one, which is started first (so that it can say its spec) and
told to tick only when a server has accepted that spec; whatever can be refused
is refused before the arm moves. `run_threaded` is the same with threads in one
process and the very same mailboxes, for tests and for embedding.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from segue.cameras.base import Camera
from segue.client.control import NONSENSE, drive, ended_as, say_last
from segue.client.ending import Ending, StopSwitch
from segue.client.linkside import LinkSide
from segue.client.loop import Parts
from segue.client.mailbox import mailbox_pair
from segue.client.messages import Ended
from segue.client.operator import Desk, Nobody, Operator
from segue.client.plan import ControlPlan, RobotPart, RunPlan
from segue.client.process import ControlProcess
from segue.client.pulse import Pulse
from segue.client.recorder import Reporter, Silent
from segue.client.stats import RunStats, Summary
from segue.clock import NS_PER_S, SystemClock
from segue.core.facts import ExitReason
from segue.robots.base import Robot
from segue.signals import SIGNALLED, SIGNALS, signals_to

# Longer than a slow parking: a process that has not ended by then is left to itself.
_CLOSE_TIMEOUT_S = 10.0
# Beyond what its end takes by its own plan: 2 s for its last words, and 3 s for a busy machine.
_EXTRA_S = 5.0
_BUG = 70
_SIGNALLED = tuple(SIGNALLED + number for number in SIGNALS)
_HOLDS = "an arm with torque still holds itself: support it, and free it with `segue release`"
_MAD = "the control process wrote what is no message"
_MOST_CODE = 255
_STUCK = f"the control process did not end and was killed; {_HOLDS}"
# Python lets a busy thread (a camera's, a renderer's) run for 5 ms before another may; the link
# has work for less than one. Beside three rendered cameras a request took 16 ms with 5 ms turns
# and 11 ms with these (p50, inference left out).
_TURN_S = 0.0005


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        exit_code: for the process, as the table of faults says.
        reason: why, one word.
        detail: one sentence more, may be empty.
        summary: the numbers of the run, as in summary.json.
        directory: where the records lie; None when none were asked for.
    """

    exit_code: int
    reason: str
    detail: str
    summary: Summary
    directory: Path | None


def run(
    plan: RunPlan,
    robot: RobotPart,
    cameras: Sequence[Camera],
    reporter: Reporter | None = None,
    operator: Operator | None = None,
    *,
    stop: StopSwitch | None = None,
) -> Outcome:
    """Runs a robot in two processes until its end.

    Must be called on the main thread for signals to be obeyed: the first wish asks for the orderly
    end, the second for the quick one.

    Args:
        plan: everything else.
        robot: made in the control process.
        cameras: not yet opened; owned by this call.
        reporter: is told what a person should know.
        operator: may say something while the arm may move.
        stop: whatever was asked of it before counts, too.

    Raises:
        SegueError: the run was refused before it began, or no server was found.
    """
    turn_s = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_S)
    try:
        side = LinkSide(plan, cameras, reporter or Silent())
        return _run(plan, side, ControlProcess(robot), operator or Nobody(), stop or StopSwitch())
    finally:
        sys.setswitchinterval(turn_s)


def _run(
    plan: RunPlan, side: LinkSide, control: ControlProcess, operator: Operator, stop: StopSwitch
) -> Outcome:
    def obey(number: int) -> None:
        stop.ask(number)
        control.ask(stop.asked, stop.signal, stop.at_ns)

    try:
        with side, signals_to(obey), ExitStack() as attention:
            spec = control.hello(stop)
            settled = side.open(spec, stop) if spec is not None else None
            side.record(control.records)
            if stop.asked:
                settled = None  # the end was asked for while the last dial was under way
            if settled is not None:
                control.begin(settled)
                side.serve(control.link, control.pulse, settled)
                attention.enter_context(operator.listen(Desk(control.link.put, obey)))
            else:
                control.link.close()
            code = control.wait(lambda: _patience_s(settled, stop.asked, side.over, side.waits_for_go))
            damage = control.records.damage or control.link.damage
            ended = side.finish() or _unheard(code, side.records_held_up, damage)
            if code is None:
                ended = Ended(_BUG, "stuck", _STUCK, ended.body)
    finally:
        control.close(_CLOSE_TIMEOUT_S)
    if settled is None and stop.asked:
        ended = _stopped(stop)
    elif settled is None and code in _SIGNALLED:  # it was told before we were, and before it could heed it
        ended = Ended(code, ExitReason.SIGNALLED, "", b"{}")
    return _outcome(plan, side, ended, damage)


def run_threaded(
    plan: RunPlan,
    robot: Robot,
    cameras: Sequence[Camera],
    reporter: Reporter | None = None,
    stop: StopSwitch | None = None,
    *,
    operator: Operator | None = None,
) -> Outcome:
    """Runs a robot in this process: the control loop on this thread, the link on others.

    Nothing real-time is taken and no signal is handled; `stop` ends the run, and `operator` may say
    something to it, such as go after the computer slept.

    Raises:
        SegueError: the run was refused before it began, or no server was found.
    """
    stop = stop or StopSwitch()
    link, link_side = mailbox_pair()
    records, records_side = mailbox_pair()
    pulse = Pulse()
    with LinkSide(plan, cameras, reporter or Silent()) as side:
        settled = side.open(robot.spec, stop)
        side.record(records_side)
        if settled is not None:
            side.serve(link_side, pulse, settled)
            parts = Parts(SystemClock(), robot, link, records, stop, pulse)
            with (operator or Nobody()).listen(Desk(link_side.put, stop.ask)):
                say_last(records, ended_as(drive(settled, parts, in_process=False), link.damage))
            link.close()
        records.close()
        ended = side.finish()
    pulse.close()
    return _outcome(plan, side, ended or _stopped(stop), records_side.damage or link_side.damage)


def _patience_s(settled: ControlPlan | None, asked: int, link_over: bool, waits: bool = False) -> float:
    """Returns how long the control process may take to end from now on, s.

    Args:
        settled: what it does; None when it never began.
        asked: how often the end was asked for.
        link_over: it is alone, and plays out, holds, parks and ends by itself.
        waits: for a person's go, since the computer slept, which may take for ever.
    """
    if settled is None or asked >= 2:
        return _EXTRA_S
    if waits or not link_over:
        return math.inf
    safety = settled.execution.safety
    orderly_ns = safety.play_out_ns + safety.hold_ramp_ns + safety.hold_grace_ns + safety.park_ns
    return orderly_ns / NS_PER_S + _EXTRA_S


def _stopped(stop: StopSwitch) -> Ended:
    """Returns the end of a run that was stopped before it began."""
    return ended_as(Ending(ExitReason.SIGNALLED, stop.signal))


def _unheard(code: int | None, held_up: bool, damage: str = "") -> Ended:
    """Returns the end of a control process whose last words were not read.

    Args:
        code: its exit code; None when it was killed.
        held_up: it may have had some, but the records wait for a disk or a pipe.
        damage: it was not listened to any more, since it wrote what is no message; in words.
    """
    if damage:
        return Ended(_BUG, NONSENSE, f"{_MAD}: {damage}; it ended with {code}; {_HOLDS}", b"{}")
    if code is not None and held_up:
        return Ended(code, "unrecorded", "the records are held up by a disk or a pipe", b"{}")
    return Ended(_BUG, "crashed", f"the control process died ({code}); {_HOLDS}", b"{}")


def _outcome(plan: RunPlan, side: LinkSide, ended: Ended, damage: str = "") -> Outcome:
    if damage and ended.reason == ExitReason.LINK_LOST:
        # Not for want of a server: we did not listen to it any more, and it brought the arm to rest alone.
        ended = Ended(_BUG, NONSENSE, f"{_MAD}: {damage}", ended.body)
    elif ended.reason == NONSENSE:  # it is we who wrote what it could not read
        ended = Ended(_BUG, NONSENSE, ended.detail, ended.body)
    if side.failure is not None and ended.reason == ExitReason.LINK_LOST:
        # Not for want of a server: the link ended by a bug of ours, and the loop went on alone.
        detail = f"the link failed: {type(side.failure).__name__}: {side.failure}"
        ended = Ended(_BUG, "bug", detail, ended.body)
    # A run that was turned away and is then signalled, or fails, ended for that reason.
    refusal = side.refusal if ended.reason == ExitReason.REFUSED else None
    code = ended.exit_code if refusal is None else refusal.exit_code
    code = code if code <= _MOST_CODE else _BUG  # a process has no larger one: 256 would be 0
    summary = RunStats((), plan.execution.control_hz).summary(ended.reason)
    summary |= _numbers(ended) | side.facts() | {"exit_reason": ended.reason}
    side.files.summary(summary)
    detail = ended.detail if refusal is None else str(refusal)
    return Outcome(code, ended.reason, detail, summary, plan.output.directory)


def _numbers(ended: Ended) -> dict[str, object]:
    """Returns what the control process counted; nothing when that cannot be read."""
    try:
        numbers = json.loads(ended.body)
    except (ValueError, RecursionError):
        return {}
    return dict(numbers) if isinstance(numbers, dict) else {}
