"""Makes the faults of a plan happen to a simulated run, each by the hand that would do it in life.

The server is killed, stopped and told to misbehave, the network bent, the
policy made slow or mad, the driver weakened, the executor reset in mid-flight.
Nothing here looks at what comes of it.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from segue.clock import NS_PER_S, SLEEP_NS
from segue.core.facts import ExitReason
from segue.core.link.heard import Heard, Status
from segue.core.link.reports import CameraFailed, CameraWorks
from segue.core.link.states import LinkState
from segue.core.specs import PolicySpec
from segue.core.types import ActionChunk, FloatArray
from segue.core.watchdog import Resume, SafetyLevel
from segue.errors import PolicyError
from segue.policies.base import PolicyInput, PolicyOutput
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy
from segue.robots.base import RobotState
from segue.robots.goals import GoalLimit
from segue.testing.faultplan import CONTROL_HZ, Fault, FaultKind
from segue.testing.goal_log import GoalLog
from segue.testing.robots import FakeRobot
from segue.testing.simlink import Partition
from segue.testing.simulation import SimClient, Simulation
from segue.wire.refusal import Reason

_TICK_NS = NS_PER_S // 100
MODEL_SCALE = 100.0  # robot units in one model unit of `MoodyPolicy`


class MoodyPolicy:
    """The scripted policy, which may be told to fail or to rave; it has model actions as well."""

    def __init__(self, config: ScriptedConfig) -> None:
        self.config = config
        self.pretends: Callable[[PolicySpec], PolicySpec] = lambda spec: spec
        self._calm = ScriptedPolicy(config)
        self.fails = False
        self.raves: int | None = None

    @property
    def spec(self) -> PolicySpec:
        """That of the scripted policy, or what it pretends to be."""
        return self.pretends(self._calm.spec)

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
    """Goes only a share of the way that it is told to, or hears nothing for a while, and says so.

    Its goals are limited as those of an arm on a bus are (`GoalLimit`): after a silence it goes on
    from where it is.

    Attributes:
        share: of the way, 0 to 1.
        silent: nothing is heard and nothing answered; the last state is known, with its age.
    """

    def __init__(self) -> None:
        super().__init__()
        self.share = 1.0
        self.silent = False
        reach = self.spec.action.array("max_speed") / CONTROL_HZ
        self._limit = GoalLimit(reach, self._position)
        self._all = np.ones(len(reach), dtype=np.bool_)
        self._taken: list[tuple[int, FloatArray]] = []
        self._seen_ns = 0

    @property
    def goals(self) -> GoalLog:
        """What its motors took, and when."""
        times, goals = zip(*self._taken, strict=True) if self._taken else ((), ())
        return GoalLog.of_columns(self.spec.action.names, times, np.array(goals))

    def fall_silent(self, loses_one: bool) -> None:
        """Hears nothing any more; `loses_one`: the newest goal was lost on its way already."""
        if loses_one and not self.silent and len(self._taken) > 1:
            self._taken.pop()
            self._position = self._taken[-1][1]
        self.silent = True

    def read(self, now_ns: int) -> RobotState:
        """Returns where it is, or was when it was heard last.

        Raises:
            RobotFault: it was told to fail.
        """
        seen = super().read(now_ns)
        if self.silent:
            return replace(seen, captured_ns=self._seen_ns)
        if self._position is self._limit.told:
            self._limit.arrived(self._all)
        else:
            self._limit.found(self._position, self._all)
        self._seen_ns = now_ns
        return seen

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Goes towards `action`, shape (A,), and returns what it was told last.

        Raises:
            RobotFault: it was told to fail.
        """
        if self.share < 1.0:
            action = self._position + self.share * (action - self._position)
        if not self.silent:
            self._limit.tell(self._limit.within(action), self._all)
            super().write(self._limit.told, now_ns)
            self._position = self._limit.told
            self._taken.append((now_ns, self._position))
        return self._limit.told


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


_SAYS_NO = {
    FaultKind.OPENS_DRAINING: Reason.DRAINING,
    FaultKind.FORGETS: Reason.UNKNOWN_SESSION,
    FaultKind.BUSY: Reason.OUT_OF_MEMORY,
    FaultKind.NO_ROOM: Reason.OUT_OF_MEMORY,
}


def _say_no(world: World, fault: Fault) -> None:
    world.simulation.server.mischief.refuse_requests = _SAYS_NO[fault.kind]


def _fall_behind(world: World, fault: Fault) -> None:
    world.simulation.server.mischief.late_by_one = True


def _catch_up(world: World, fault: Fault) -> None:
    world.simulation.server.mischief.late_by_one = False
    _healed(world, fault)


def _slow_down(world: World, fault: Fault) -> None:
    factors = itertools.accumulate(itertools.repeat(fault.amount), operator.mul)
    time = world.simulation.server.time
    world.simulation.server.time = replace(time, stretch=lambda _: min(next(factors), 500.0))


def _start_misfit(world: World, fault: Fault) -> None:
    """Brings the server back with a policy that its own checks find in order, and the robot must not."""
    world.simulation.kill_server()
    policy = MoodyPolicy(world.policy.config)
    policy.pretends = _reversed if fault.kind is FaultKind.MISFIT else _OTHERWISE[fault.choice % 3]
    world.simulation.start_server(policy)
    world.simulation.server.mischief.takes_everybody = True


def _reversed(spec: PolicySpec) -> PolicySpec:
    dimensions = tuple(reversed(spec.action.dimensions))
    observation = replace(spec.observation, state=dimensions)
    return replace(spec, action=replace(spec.action, dimensions=dimensions), observation=observation)


_OTHERWISE: tuple[Callable[[PolicySpec], PolicySpec], ...] = (
    lambda spec: replace(spec, action_hz=spec.action_hz / 2),
    lambda spec: replace(spec, history_steps=2),
    lambda spec: replace(spec, model_action_dim=spec.model_action_dim + 1),
)


def _slow(world: World, fault: Fault) -> None:
    time = world.simulation.server.time
    world.simulation.server.time = replace(time, stretch=lambda _: fault.amount)


def _quick(world: World, fault: Fault) -> None:
    time = world.simulation.server.time
    world.simulation.server.time = replace(time, stretch=None)


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


def _lose_the_way(world: World, fault: Fault) -> None:
    lookup = fault.kind is FaultKind.LOOKUP
    status = Status.UNKNOWN_HOST if lookup else Status.NO_CONNECTION
    text = "the name is not known to this computer" if lookup else "the TLS handshake failed"
    world.client.end.lookup_fails = Heard(status, text)
    world.simulation.reset_connections()


def _find_the_way(world: World, fault: Fault) -> None:
    world.client.end.lookup_fails = None
    _healed(world, fault)


# --- the robot's side ---------------------------------------------------------------------------


def _blind(world: World, fault: Fault) -> None:
    world.client.end.mail.append(CameraFailed("told to fail"))


def _see(world: World, fault: Fault) -> None:
    world.client.end.mail.append(CameraWorks())


def _stall(world: World, fault: Fault) -> None:
    world.client.stalled_until_ns = max(world.client.stalled_until_ns, fault.until_ns)


# When the connection breaks in a pause, as shares of it: two breaks lose a link, the last comes much later.
_BREAKS = (0.05, 0.1, 0.9)


def _pause(world: World, fault: Fault) -> None:
    if world.client.executor is None:
        return
    world.client.executor.pause()
    for share in _BREAKS:
        at_ns = fault.at_ns + int(share * fault.lasts_ns)
        world.simulation.at(at_ns, world.simulation.reset_connections)


def _go(world: World, fault: Fault) -> None:
    if world.client.executor is not None:
        world.client.executor.go()
        _healed(world, fault)


def _fall_asleep(world: World, fault: Fault) -> None:
    world.client.sleep_until(world.simulation.now_ns, fault.until_ns)


def _wake(world: World, fault: Fault) -> None:
    """Lets a person see that the computer is awake again, and say go after a while if one has to."""
    executor = world.client.executor
    wait_ns = int(fault.amount * NS_PER_S)
    if fault.lasts_ns <= SLEEP_NS or executor is None or executor.config.safety.resume is Resume.AUTO:
        wait_ns = 0

    def go() -> None:
        world.client.say_go(world.simulation.now_ns)
        if fault.lasts_ns > SLEEP_NS:
            _healed(world, fault)

    # At the first tick at the latest it knows of its sleep.
    world.simulation.at(fault.until_ns + _TICK_NS + wait_ns, go)


def _new_episode(world: World, fault: Fault) -> None:
    if world.client.executor is not None:
        world.client.executor.reset()


def _weaken(world: World, fault: Fault) -> None:
    world.robot.share = fault.amount


def _strengthen(world: World, fault: Fault) -> None:
    world.robot.share = 1.0


def _silence(world: World, fault: Fault) -> None:
    world.robot.fall_silent(loses_one=bool(fault.choice % 2))


def _unsilence(world: World, fault: Fault) -> None:
    world.robot.silent = False


def _signal(world: World, fault: Fault) -> None:
    if world.client.executor is not None:
        world.client.executor.stop(ExitReason.SIGNALLED)
        world.client.say_go(world.simulation.now_ns)  # a person's word, for the way to rest


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
        FaultKind.OPENS_DRAINING: (_say_no, _let_in),
        FaultKind.FORGETS: (_say_no, _let_in),
        FaultKind.BUSY: (_say_no, _let_in),
        FaultKind.LATE_BY_ONE: (_fall_behind, _catch_up),
        FaultKind.SLOWER: (_slow_down, _quick),
        FaultKind.LOOKUP: (_lose_the_way, _find_the_way),
        FaultKind.TLS: (_lose_the_way, _find_the_way),
        FaultKind.PAUSE: (_pause, _go),
        FaultKind.CAMERA: (_blind, _see),
        FaultKind.STALL: (_stall, None),
        FaultKind.SLEEP: (_fall_asleep, _wake),
        FaultKind.NEW_EPISODE: (_new_episode, None),
        FaultKind.WEAK_DRIVER: (_weaken, _strengthen),
        FaultKind.BUS_STALL: (_silence, _unsilence),
        FaultKind.OTHER_POLICY: (_start_other, None),
        FaultKind.SIGNAL: (_signal, None),
        FaultKind.ROBOT: (_break, None),
        FaultKind.THREE_BAD: (_spoil, None),
        FaultKind.CAMERA_GONE: (_blind, None),
        FaultKind.GONE: (_kill, None),
        FaultKind.NO_ROOM: (_say_no, None),
        FaultKind.OTHER_SPEC: (_start_misfit, None),
        FaultKind.MISFIT: (_start_misfit, None),
    }
)
