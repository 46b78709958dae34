"""Drives a real `ChunkExecutor` tick by tick and writes down what a table of the timeline shows.

Actions are symbols: action k of chunk "a" is 100 + k, of chunk "b" 200 + k, and
so on, in every dimension, so that a command says whose action it is. Tick n is
at n / control_hz; a driver made `with_plan` spends tick -1 on getting chunk
"a", so that a0 begins at tick 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from segue.core.executor import ChunkExecutor
from segue.core.facts import ChunkDropped, ChunkTaken, ExecutorConfig, LevelChanged, SessionOpened, Tick
from segue.core.schedule import DropReason, RequestRule
from segue.core.specs import ActionSpec, Dimension, Kind
from segue.core.types import ActionChunk, ChunkRequest, FloatArray, Observation
from segue.core.watchdog import SafetyLevel

SECOND = 1_000_000_000
MS = 1_000_000
START_NS = 1_000 * SECOND
POLICY = "hash-of-weights"
LETTERS = "abcdefgh"

# One joint that interpolates, and a discrete gripper that shows at once whose action is executed.
SPEC = ActionSpec((Dimension("joint", "deg"), Dimension("gripper", "", Kind.DISCRETE)))
Symbol = str | float


def values_of(letter: str, length: int, width: int = 2) -> FloatArray:
    """Returns the actions of chunk `letter`, shape (length, width)."""
    numbers = 100.0 * (LETTERS.index(letter) + 1) + np.arange(length)
    return np.repeat(numbers[:, None], width, axis=1)


def symbol(value: float) -> Symbol:
    """Returns "b3" for 203.0; numbers that are no action stay numbers."""
    hundreds, rest = divmod(value, 100)
    if rest != int(rest) or not 1 <= hundreds <= len(LETTERS):
        return float(value)
    return f"{LETTERS[int(hundreds) - 1]}{int(rest)}"


def symbols(actions: FloatArray | None) -> list[Symbol]:
    """Returns the names of the rows of `actions`, by their joint."""
    return [] if actions is None else [symbol(v) for v in actions[:, 0]]


def names(letter: str, first: int, last: int) -> list[Symbol]:
    """Returns ["a4", …, "a10"]."""
    return [f"{letter}{k}" for k in range(first, last + 1)]


def config_of(
    action_hz: float = 10.0, control_hz: float = 10.0, spec: ActionSpec = SPEC, **changes: object
) -> ExecutorConfig:
    """Returns a configuration whose rule and other fields may be changed."""
    base = ExecutorConfig(action=spec, action_hz=action_hz, control_hz=control_hz, policy_horizon=100)
    return replace(
        base, **{"rule": RequestRule(horizon=11, threshold=0.65, min_execution_steps=4), **changes}
    )


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    tick: int
    step: int
    asked: int | None
    leftover: list[Symbol]
    skip: int | None
    dropped: list[DropReason]
    begun: Symbol | None
    cmd: Symbol
    after: int
    state: str
    waiting: bool


class Driver:
    """An executor, its time, and all that it did."""

    def __init__(self, config: ExecutorConfig, pose: FloatArray | None = None, first_tick: int = 0) -> None:
        self.config = config
        self.pose = np.zeros(len(config.action)) if pose is None else pose
        self.executor = ChunkExecutor(config, self.pose)
        self.next_tick = first_tick
        self.ticks: list[Tick] = []
        self.rows: list[Row] = []
        self.requests: list[ChunkRequest] = []

    @classmethod
    def with_plan(cls, config: ExecutorConfig, length: int, forecast_s: float = 0.35) -> Driver:
        """Returns a driver whose next tick is 0 and begins a0 of `length` actions."""
        driver = cls(config, first_tick=-1)
        driver.open(forecast_s)
        driver.tick()
        driver.reply("a", length)
        return driver

    def open(self, forecast_s: float = 0.35, policy_hash: str = POLICY) -> None:
        """Opens the link; handshake and declared inference together take `forecast_s`."""
        handshake_ns = 50 * MS
        warm_ns = max(0, round(forecast_s * SECOND) - handshake_ns)
        self.executor.link_opened(
            SessionOpened(min(handshake_ns, round(forecast_s * SECOND)), warm_ns, policy_hash)
        )

    @property
    def now_ns(self) -> int:
        """The time of the next tick."""
        return START_NS + round(self.next_tick * SECOND / self.config.control_hz)

    @property
    def last(self) -> Tick:
        """What the last tick came to."""
        return self.ticks[-1]

    @property
    def level(self) -> SafetyLevel:
        """The present safety level."""
        return self.last.level

    def stall(self, ticks: int) -> None:
        """Lets `ticks` ticks pass without being run."""
        self.next_tick += ticks

    def tick(self, count: int = 1) -> Tick:
        """Runs ticks and returns the last."""
        for _ in range(count):
            step, number = self.executor.step, self.next_tick
            tick = self.bare_tick()
            self.ticks.append(tick)
            self.rows.append(self._row(number, step, tick))
        return self.last

    def run(self, until: int) -> Tick:
        """Runs ticks up to and with tick number `until`."""
        return self.tick(until + 1 - self.next_tick)

    def bare_tick(self) -> Tick:
        """Runs one tick and writes down nothing but its request: for very long lives."""
        now_ns = self.now_ns
        tick = self.executor.tick(now_ns, Observation(step=-1, captured_ns=now_ns, state=self.pose))
        self.executor.applied(tick.action)
        self.next_tick += 1
        if tick.request is not None:
            self.requests.append(tick.request)
        return tick

    def _row(self, number: int, step: int, tick: Tick) -> Row:
        asked, taken = tick.request, [e for e in tick.events if isinstance(e, ChunkTaken)]
        leftover = asked.leftover.robot_actions if asked and asked.leftover else None
        return Row(
            tick=number,
            step=step,
            asked=asked.start_step if asked else None,
            leftover=symbols(leftover),
            skip=taken[0].merged.skipped if taken else None,
            dropped=[e.reason for e in tick.events if isinstance(e, ChunkDropped)],
            begun=symbol(tick.began.target[0]) if tick.began else None,
            cmd=symbol(tick.action[0]),
            after=self.executor.step,
            state=tick.level.name,
            waiting=tick.waiting,
        )

    def table(self, first: int, last: int, *columns: str) -> list[tuple[object, ...]]:
        """Returns the given columns of ticks `first` to `last`."""
        rows = [r for r in self.rows if first <= r.tick <= last]
        return [tuple(getattr(r, c) for c in columns) for r in rows]

    def events(self, kind: type) -> list[object]:
        """Returns all events of one kind so far."""
        return [e for t in self.ticks for e in t.events if isinstance(e, kind)]

    def changes(self) -> list[tuple[str, str, str]]:
        """Returns all changes of level so far: before, after, cause."""
        found = [e.change for t in self.ticks for e in t.events if isinstance(e, LevelChanged)]
        return [(c.before.name, c.after.name, c.cause.value) for c in found]

    def reply(
        self, letter: str, length: int, request: ChunkRequest | None = None, **changes: object
    ) -> ActionChunk:
        """Puts the answer to `request` (the last one) into the inbox."""
        asked = request or self.requests[-1]
        chunk = self.chunk(asked, values_of(letter, length, len(self.config.action)), **changes)
        self.executor.receive(chunk)
        return chunk

    def chunk(self, asked: ChunkRequest, actions: FloatArray, **changes: object) -> ActionChunk:
        """Returns a good answer to `asked`, with `changes`; model units are a tenth of the robot's."""
        chunk = ActionChunk(
            request_number=asked.number,
            epoch=asked.epoch,
            start_step=asked.start_step,
            captured_ns=asked.observation.captured_ns,
            robot_actions=actions,
            model_actions=actions / 10.0,
            conditioned_delay=asked.delay_steps,
            policy_hash=POLICY,
        )
        return replace(chunk, **changes)

    def planned(self) -> list[Symbol]:
        """Returns the plan from the next step on."""
        leftover = self.executor.queue.leftover()
        return symbols(leftover.robot_actions if leftover else None)


def stepped(values: Sequence[float], width: int = 2) -> FloatArray:
    """Returns actions with the given values in every dimension, shape (n, width)."""
    return np.repeat(np.asarray(values, dtype=np.float64)[:, None], width, axis=1)
