"""Makes the faults of a plan happen to a simulated run, each by the hand that would do it in life.

The server is killed, stopped and told to misbehave, the network bent, the
policy made slow or mad, the driver weakened, the executor reset in mid-flight.
Nothing here looks at what comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from segue.core.facts import ExitReason
from segue.core.link.reports import CameraFailed, CameraWorks
from segue.core.link.states import LinkState
from segue.core.specs import PolicySpec
from segue.core.types import ActionChunk, FloatArray
from segue.core.watchdog import SafetyLevel
from segue.errors import PolicyError
from segue.policies.base import PolicyInput, PolicyOutput
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy
from segue.testing.faultplan import Fault, FaultKind
from segue.testing.robots import FakeRobot
from segue.testing.simlink import Partition
from segue.testing.simserver import ServiceTime
from segue.testing.simulation import SimClient, Simulation
from segue.wire.refusal import Reason

MODEL_SCALE = 100.0  # robot units in one model unit of `MoodyPolicy`


class MoodyPolicy:
    """The scripted policy, which may be told to fail or to rave; it has model actions as well."""

    def __init__(self, config: ScriptedConfig) -> None:
        self._calm = ScriptedPolicy(config)
        self.fails = False
        self.raves: int | None = None

    @property
    def spec(self) -> PolicySpec:
        """That of the scripted policy."""
        return self._calm.spec

    def warm_up(self) -> None:
        """Does nothing."""

    def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        """Returns the scripted chunks, or what it was told to.

        Raises:
            PolicyError: it was told to fail.
        """
        if self.fails:
            raise PolicyError("told to fail")
        return [self._moody(output) for output in self._calm.infer(batch)]

    def _moody(self, output: PolicyOutput) -> PolicyOutput:
        robot = output.robot_actions
        if self.raves is not None:
            robot = robot.copy()
            robot[self.raves % len(robot), self.raves % robot.shape[1]] = (np.nan, np.inf)[self.raves % 2]
            robot = robot[: len(robot) - self.raves % 3]
        return replace(output, robot_actions=robot, model_actions=robot / MODEL_SCALE)


class WeakRobot(FakeRobot):
    """Goes only a share of the way that it is told to, and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.share = 1.0

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Goes towards `action`, shape (A,), and returns where it went."""
        if self.share < 1.0:
            action = self._position + self.share * (action - self._position)
        return super().write(action, now_ns)


@dataclass(frozen=True, slots=True)
class Healing:
    """The moment at which a fault of the link was over.

    Attributes:
        waits: whether the arm was waiting for a chunk by then.
        level: at which it was.
        deadline_ns: of the request that was still awaited on a link that seemed good; else 0.
    """

    fault: Fault
    at_ns: int
    waits: bool
    level: SafetyLevel
    deadline_ns: int


@dataclass(frozen=True, slots=True)
class World:
    """All that a fault may touch, and the healings it leaves behind."""

    simulation: Simulation
    client: SimClient
    robot: WeakRobot
    policy: MoodyPolicy
    healings: list[Healing]


def strike(world: World, fault: Fault) -> None:
    """Enters a fault into the agenda of the simulation: its begin, and its end if it has one."""
    begin, end = _HANDS[fault.kind]
    world.simulation.at(fault.at_ns, lambda: begin(world, fault))
    if end is not None:
        world.simulation.at(fault.until_ns, lambda: end(world, fault))


# --- the server ---------------------------------------------------------------------------------


def _kill(world: World, fault: Fault) -> None:
    world.simulation.kill_server()


def _start(world: World, fault: Fault) -> None:
    world.simulation.start_server()
    _healed(world, fault)


def _start_other(world: World, fault: Fault) -> None:
    world.simulation.kill_server()
    other = ScriptedConfig(
        action_hz=world.policy.spec.action_hz, horizon=world.policy.spec.horizon, name="other"
    )
    world.simulation.start_server(MoodyPolicy(other))


def _stop(world: World, fault: Fault) -> None:
    world.simulation.server.stop()


def _continue(world: World, fault: Fault) -> None:
    world.simulation.server.resume(world.simulation.now_ns)
    _healed(world, fault)


def _forget(world: World, fault: Fault) -> None:
    world.simulation.server.restart()


def _fill(world: World, fault: Fault) -> None:
    world.simulation.server.mischief.refuse_opens = Reason.FULL
    world.simulation.reset_connections()


def _drain(world: World, fault: Fault) -> None:
    mischief = world.simulation.server.mischief
    mischief.refuse_opens = mischief.refuse_requests = Reason.DRAINING


def _let_in(world: World, fault: Fault) -> None:
    mischief = world.simulation.server.mischief
    mischief.refuse_opens = mischief.refuse_requests = None
    if fault.kind is FaultKind.DRAIN:
        world.simulation.server.restart()
    _healed(world, fault)


def _slow(world: World, fault: Fault) -> None:
    time = world.simulation.server.time
    world.simulation.server.time = replace(time, stretch=lambda _: fault.amount)


def _quick(world: World, fault: Fault) -> None:
    time = world.simulation.server.time
    world.simulation.server.time = ServiceTime(time.inference_ms, time.latency_ms)


# --- the policy and what it says ----------------------------------------------------------------


def _fail(world: World, fault: Fault) -> None:
    world.policy.fails = True


def _rave(world: World, fault: Fault) -> None:
    world.policy.raves = fault.choice


def _calm(world: World, fault: Fault) -> None:
    world.policy.fails, world.policy.raves = False, None


def _garble(world: World, fault: Fault) -> None:
    world.simulation.server.mischief.garble += int(fault.amount)


def _spoil(world: World, fault: Fault) -> None:
    count = 3 if fault.kind is FaultKind.THREE_BAD else int(fault.amount)
    for index in range(count):
        world.simulation.server.mischief.tampers.append(_BAD[(fault.choice + index) % len(_BAD)])


def _make_odd(world: World, fault: Fault) -> None:
    world.simulation.server.mischief.tampers.append(_ODD[fault.choice % len(_ODD)])


def _mislabel(world: World, fault: Fault) -> None:
    world.simulation.server.mischief.tampers.append(_MISLABELLED[fault.choice % len(_MISLABELLED)])


def _with_value(chunk: ActionChunk, value: float) -> ActionChunk:
    actions = chunk.robot_actions.copy()
    actions[len(actions) // 2, 0] = value
    return replace(chunk, robot_actions=actions)


def _jumpy(chunk: ActionChunk) -> ActionChunk:
    """Returns a chunk that sends every joint past a limit, now the lower, now the upper."""
    low, high = (FakeRobot().spec.action.array(side) for side in ("low", "high"))
    rows = np.arange(len(chunk.robot_actions))[:, None] // 5 % 2
    return replace(chunk, robot_actions=np.where(rows == 0, high + 1.0, low - 1.0))


Tamper = Callable[[ActionChunk], ActionChunk]

_BAD: tuple[Tamper, ...] = (
    lambda chunk: _with_value(chunk, math.nan),
    lambda chunk: _with_value(chunk, 1e30),
    lambda chunk: replace(chunk, robot_actions=chunk.robot_actions[:, :-1]),
    lambda chunk: _with_value(chunk, -math.inf),
    lambda chunk: replace(chunk, robot_actions=np.repeat(chunk.robot_actions, 2, axis=0)),
)
_ODD: tuple[Tamper, ...] = (
    _jumpy,
    lambda chunk: replace(chunk, robot_actions=chunk.robot_actions[:1]),
    lambda chunk: replace(chunk, robot_actions=chunk.robot_actions[:6], model_actions=None),
)
_MISLABELLED: tuple[Tamper, ...] = (
    lambda chunk: replace(chunk, request_number=max(1, chunk.request_number - 1)),
    lambda chunk: replace(chunk, request_number=chunk.request_number + 1),
    lambda chunk: replace(chunk, epoch=chunk.epoch + 1),
    lambda chunk: replace(chunk, epoch=max(0, chunk.epoch - 1)),
    lambda chunk: replace(chunk, start_step=chunk.start_step + 1),
)


# --- the network --------------------------------------------------------------------------------


def _cut(world: World, fault: Fault) -> None:
    link = world.client.end.link
    up, down = fault.kind is not FaultKind.CUT_DOWN, fault.kind is not FaultKind.CUT_UP
    cut = Partition(fault.at_ns, fault.until_ns, up, down)
    link.model = replace(link.model, partitions=(*link.model.partitions, cut))


def _healed(world: World, fault: Fault) -> None:
    """Notes how things stood when the fault was over."""
    executor, now_ns = world.client.executor, world.simulation.now_ns
    if executor is None:
        return
    awaited = executor.scheduler.outstanding if world.client.end.state is LinkState.READY else None
    waits, level = len(executor.queue) == 0, executor.watchdog.level
    world.healings.append(Healing(fault, now_ns, waits, level, awaited.deadline_ns if awaited else 0))


def _bend(world: World, fault: Fault) -> None:
    link = world.client.end.link
    match fault.kind:
        case FaultKind.LOSS:
            link.model = replace(link.model, loss=fault.amount)
        case FaultKind.SPIKE:
            link.model = replace(link.model, delay_ms=fault.amount, jitter_ms=fault.amount)
        case FaultKind.REORDER:
            link.model = replace(link.model, reorder=True, jitter_ms=fault.amount)
        case _:
            link.model = replace(link.model, duplicate=0.5, duplicate_ms=fault.amount)


def _straighten(world: World, fault: Fault) -> None:
    link = world.client.end.link
    link.model = replace(world.client.setup.link, partitions=link.model.partitions)


def _reset(world: World, fault: Fault) -> None:
    world.simulation.reset_connections()
    _healed(world, fault)


# --- the robot's side ---------------------------------------------------------------------------


def _blind(world: World, fault: Fault) -> None:
    world.client.end.mail.append(CameraFailed("told to fail"))


def _see(world: World, fault: Fault) -> None:
    world.client.end.mail.append(CameraWorks())


def _stall(world: World, fault: Fault) -> None:
    world.client.stalled_until_ns = max(world.client.stalled_until_ns, fault.until_ns)


def _new_episode(world: World, fault: Fault) -> None:
    if world.client.executor is not None:
        world.client.executor.reset()


def _weaken(world: World, fault: Fault) -> None:
    world.robot.share = fault.amount


def _strengthen(world: World, fault: Fault) -> None:
    world.robot.share = 1.0


def _signal(world: World, fault: Fault) -> None:
    if world.client.executor is not None:
        world.client.executor.stop(ExitReason.SIGNALLED)


def _break(world: World, fault: Fault) -> None:
    world.robot.fails = "told to fail"


Hand = Callable[[World, Fault], None]

# Who does it, and who undoes it.
_HANDS: Mapping[FaultKind, tuple[Hand, Hand | None]] = MappingProxyType(
    {
        FaultKind.KILL: (_kill, _start),
        FaultKind.STOP: (_stop, _continue),
        FaultKind.CUT_UP: (_cut, _healed),
        FaultKind.CUT_DOWN: (_cut, _healed),
        FaultKind.CUT: (_cut, _healed),
        FaultKind.LOSS: (_bend, _straighten),
        FaultKind.SPIKE: (_bend, _straighten),
        FaultKind.REORDER: (_bend, _straighten),
        FaultKind.DUPLICATE: (_bend, _straighten),
        FaultKind.RESET: (_reset, None),
        FaultKind.SLOW: (_slow, _quick),
        FaultKind.POLICY_FAILS: (_fail, _calm),
        FaultKind.POLICY_RAVES: (_rave, _calm),
        FaultKind.BAD_CHUNKS: (_spoil, None),
        FaultKind.ODD_CHUNK: (_make_odd, None),
        FaultKind.WRONG_ANSWER: (_mislabel, None),
        FaultKind.GARBLE: (_garble, None),
        FaultKind.FORGET: (_forget, None),
        FaultKind.FULL: (_fill, _let_in),
        FaultKind.DRAIN: (_drain, _let_in),
        FaultKind.CAMERA: (_blind, _see),
        FaultKind.STALL: (_stall, None),
        FaultKind.NEW_EPISODE: (_new_episode, None),
        FaultKind.WEAK_DRIVER: (_weaken, _strengthen),
        FaultKind.OTHER_POLICY: (_start_other, None),
        FaultKind.SIGNAL: (_signal, None),
        FaultKind.ROBOT: (_break, None),
        FaultKind.THREE_BAD: (_spoil, None),
        FaultKind.CAMERA_GONE: (_blind, None),
        FaultKind.GONE: (_kill, None),
    }
)
