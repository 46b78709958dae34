"""Mail of one of our own processes to the other: read, refused, and a control loop that lives through it.

Both ends are ours, and still a neighbour may go mad. What is read is read the
same again; what is no message is one error. And whatever is written into the
control loop's mailbox while its arm moves, nothing is raised, every command is
finite, within the limits and not faster than the joints may be, and soon after
the writer is gone the arm is at rest.

An input is one packet, or several with `BETWEEN` between them, one for each tick.
"""

from __future__ import annotations

import numpy as np

from segue.client.loop import ControlLoop, Parts
from segue.client.mailbox import mailbox_pair
from segue.client.messages import Answer, Ask, Message, Opened, decode_message, encode_message
from segue.client.plan import ControlPlan, ExecutionPlan
from segue.core.limits import Limits
from segue.core.schedule import RuleWishes
from segue.core.specs import Kind
from segue.core.types import ActionChunk, FloatArray, Guidance, RtcMode
from segue.core.watchdog import SafetyConfig, SafetyLevel
from segue.errors import LocalProtocolError
from segue.testing.clock import VirtualClock
from segue.testing.robots import FakeRobot
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_request, encode_chunk
from segue.wire.records import RequestContext

from . import world

BETWEEN = b"\n--\n"
MOST_PACKETS = 40
HASH = "cafe"
CONTROL_HZ = 20.0
TICK_NS = round(1e9 / CONTROL_HZ)
MS = 1_000_000
FIRST_TICK = 8  # of the input; by then the arm moves
QUIET_TICKS = 8  # after it, before the writer closes its end
REST_TICKS = 60
SAFETY = SafetyConfig(
    play_out_ns=200 * MS,
    hold_grace_ns=200 * MS,
    offline_limit_ns=600 * MS,
    camera_limit_ns=600 * MS,
    hold_ramp_ns=100 * MS,
    park_ns=600 * MS,
    min_deadline_ns=100 * MS,
)
_LIMITS = Limits(world.ROBOT.action)


def check(data: bytes) -> None:
    """Reads `data` as a message, and lets a control loop live through it."""
    packets = data.split(BETWEEN)[:MOST_PACKETS]
    for packet in packets:
        _read(packet)
    Life(packets).live()


def _read(packet: bytes) -> None:
    try:
        message = decode_message(packet)
    except LocalProtocolError as error:
        world.check_sentence(str(error), 300)
        return
    # Texts, because a number that is not a number is not equal to itself.
    assert repr(decode_message(encode_message(message))) == repr(message)


class Hand(FakeRobot):
    """A robot that checks what it is told."""

    def __init__(self) -> None:
        super().__init__(world.ROBOT)
        self._position = np.array([10.0, 0.0, 20.0])
        self.rest_pose = np.array([0.0, 0.0, 0.0])

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        last = self._position
        assert np.isfinite(action).all(), action
        assert (action >= _LIMITS.low).all(), action
        assert (action <= _LIMITS.high).all(), action
        assert (np.abs(action - last) <= _LIMITS.max_speed / CONTROL_HZ + 1e-9).all(), (last, action)
        return super().write(action, now_ns)


class Life(VirtualClock):
    """A control loop with a neighbour that is sane at first, then writes an input, and goes away."""

    def __init__(self, packets: list[bytes]) -> None:
        super().__init__(10**9)
        self._packets = list(packets)
        self._ticks = 0
        self.robot = Hand()
        self.robot.connect()
        mine, self._link = mailbox_pair()
        records, self._records = mailbox_pair()
        self._parts = Parts(self, self.robot, mine, records)
        self.loop = ControlLoop(self._parts, _plan())

    def live(self) -> None:
        """Lives to the end, and checks that it comes, with the arm at rest."""
        try:
            ending = self.loop.run()
        finally:
            parts = self._parts
            for each in (parts.link, parts.records, parts.pulse, self._link, self._records):
                each.close()
        assert 0 <= ending.exit_code <= 255
        level = self.loop.executor.watchdog.level
        assert level in (SafetyLevel.PARK, SafetyLevel.FAULT), (level, ending)
        last = self.robot.commands[-1]
        moving = [d.kind is not Kind.DISCRETE for d in world.DIMENSIONS]  # what is discrete stays as it is
        rests = np.allclose(last[moving], self.robot.rest_pose[moving], atol=1e-6)
        assert rests or level is SafetyLevel.FAULT, last

    def sleep_until(self, deadline_ns: int) -> None:
        """Lets the neighbour act before each tick."""
        self._ticks += 1
        if self._ticks < FIRST_TICK:
            self._act_well()
        elif self._packets:
            self._write(self._packets.pop(0))
        elif self._ticks >= FIRST_TICK + QUIET_TICKS:
            self._link.close()
        list(self._records.drain())
        assert self._ticks < FIRST_TICK + MOST_PACKETS + QUIET_TICKS + REST_TICKS, "the end never came"
        super().sleep_until(deadline_ns)

    def _act_well(self) -> None:
        if self._ticks == 1:
            self._link.put(Opened(MS, MS, HASH))
        for message in self._link.drain():
            if isinstance(message, Ask):
                self._link.put(_answer(message))

    def _write(self, packet: bytes) -> None:
        try:
            self._link._end.send(packet)
        except OSError:  # the loop has closed its end; nobody is there
            self._link.close()


def _answer(ask: Ask) -> Message:
    _, request = decode_request(pb.InferRequest.FromString(ask.body))
    actions = np.linspace([0.0, 0.0, 0.0], [20.0, 0.5, 100.0], world.HORIZON)
    seen_ns = request.observation.captured_ns
    chunk = ActionChunk(
        request.number, request.epoch, request.start_step, seen_ns, actions, actions / 10.0, 0, HASH
    )
    return Answer(1, 2, 3, encode_chunk(chunk).SerializeToString())


def _plan() -> ControlPlan:
    rule = RuleWishes(horizon=world.HORIZON, min_execution_steps=2)
    execution = ExecutionPlan(control_hz=CONTROL_HZ, action_hz=10.0, rule=rule, safety=SAFETY, realtime=False)
    context = RequestContext("arm", "", "", "wave", Guidance(mode=RtcMode.GUIDED), world.HORIZON, 7)
    return ControlPlan(context, execution, world.HORIZON, 0)
