"""A control loop's surroundings under a virtual clock: a link that answers from a script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from segue.client.ending import Ending, StopSwitch
from segue.client.loop import ControlLoop, Parts
from segue.client.mailbox import Mailbox, mailbox_pair
from segue.client.messages import Answer, Ask, Message, Opened, Record
from segue.client.plan import ControlPlan, ExecutionPlan
from segue.clock import NS_PER_MS, NS_PER_S
from segue.core.types import ActionChunk, ChunkRequest, Guidance, RtcMode
from segue.robots import so101_model
from segue.testing.clock import VirtualClock
from segue.testing.robots import FakeRobot
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_request, encode_chunk, set_timings
from segue.wire.records import RequestContext, ServerTimings

HASH = "cafe"
HORIZON = 50


def control_plan(seconds: float | None = 2.0, **execution: object) -> ControlPlan:
    """Returns a plan of 10 steps and 100 ticks a second."""
    duration_ns = None if seconds is None else int(seconds * NS_PER_S)
    wishes = ExecutionPlan(action_hz=10.0, duration_ns=duration_ns, **execution)  # type: ignore[arg-type]
    context = RequestContext("arm", "", "", "wave", Guidance(mode=RtcMode.GUIDED), HORIZON, 7)
    return ControlPlan(context, wishes, HORIZON, 0)


class WorldClock(VirtualClock):
    """A virtual clock that lets the world act whenever the loop waits."""

    def __init__(self) -> None:
        super().__init__(NS_PER_S)
        self.world: Callable[[int], None] = lambda now_ns: None
        self.oversleeps: list[tuple[int, int]] = []

    def sleep_until(self, deadline_ns: int) -> None:
        self.world(deadline_ns)
        late = [by for at, by in self.oversleeps if at <= deadline_ns]
        self.oversleeps = [(at, by) for at, by in self.oversleeps if at > deadline_ns]
        super().sleep_until(deadline_ns + sum(late))


@dataclass
class FakeLink:
    """Answers each request after `delay_ns` with a slow ramp; opens the session at its first chance."""

    mailbox: Mailbox
    delay_ns: int = 100 * NS_PER_MS
    silent: bool = False
    asked: list[ChunkRequest] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    due: list[tuple[int, ChunkRequest]] = field(default_factory=list)
    opened: bool = False

    def act(self, now_ns: int) -> None:
        if not self.opened:
            self.opened = True
            self.mailbox.put(Opened(NS_PER_MS, NS_PER_MS, HASH))
        for message in self.mailbox.drain():
            assert isinstance(message, Ask)
            context, request = decode_request(pb.InferRequest.FromString(message.body))
            self.asked.append(request)
            self.seeds.append(context.seed)
            self.tasks.append(context.task)
            self.due.append((now_ns + self.delay_ns, request))
        for at, request in list(self.due):
            if at <= now_ns and not self.silent:
                self.due.remove((at, request))
                self.mailbox.put(answer_to(request, now_ns))


def answer_to(request: ChunkRequest, now_ns: int) -> Answer:
    """Returns a chunk that moves the first joint by a tenth of a degree a step."""
    rows = np.tile(so101_model.REST_POSE, (HORIZON, 1))
    rows[:, 0] = 0.1 * (request.start_step + 1 + np.arange(HORIZON))
    chunk = ActionChunk(
        request_number=request.number,
        epoch=request.epoch,
        start_step=request.start_step,
        captured_ns=request.observation.captured_ns,
        robot_actions=rows,
        model_actions=None,
        conditioned_delay=0,
        policy_hash=HASH,
    )
    message = encode_chunk(chunk)
    set_timings(message, ServerTimings(inference_ns=60 * NS_PER_MS, total_ns=70 * NS_PER_MS))
    return Answer(90 * NS_PER_MS, now_ns, 100_000, message.SerializeToString())


class World:
    """A loop, its robot and what surrounds them."""

    def __init__(self, plan: ControlPlan | None = None, robot: FakeRobot | None = None) -> None:
        self.clock = WorldClock()
        self.robot = robot or FakeRobot()
        self.robot.connect()
        self.stop = StopSwitch()
        link, other_end = mailbox_pair()
        records, self.records = mailbox_pair()
        self.link = FakeLink(other_end)
        self.said: list[Message] = []
        self.clock.world = self._act
        self.script: list[tuple[float, Callable[[], object]]] = []
        parts = Parts(self.clock, self.robot, link, records, self.stop)
        self.loop = ControlLoop(parts, plan or control_plan())

    def at(self, seconds: float, what: Callable[[], object]) -> None:
        """Lets `what` happen that long after the start."""
        self.script.append((seconds, what))

    def run(self) -> Ending:
        ending = self.loop.run()
        self._collect()
        return ending

    def lines(self) -> list[bytes]:
        return [message.body for message in self.said if isinstance(message, Record)]

    def _act(self, now_ns: int) -> None:
        for seconds, what in list(self.script):
            if now_ns >= NS_PER_S + seconds * NS_PER_S:
                self.script.remove((seconds, what))
                what()
        if not self.link.mailbox.closed:
            self.link.act(now_ns)
        self._collect()

    def _collect(self) -> None:
        self.said.extend(self.records.drain())
