"""Laws that hold on every tick of any life: of the steps, of their age, and of the command stream.

Hypothesis invents the life: chunks of every length and place, answers late,
twice, of another epoch or not at all, links that break and come back, cameras
that fail, resets, stalls, a driver that lags behind. It runs through starving,
holding, resuming and parking; the laws are checked tick by tick.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from segue.core.facts import Tick
from segue.core.merge import AGGREGATIONS
from segue.core.queue import PlannedAction
from segue.core.schedule import RequestRule
from segue.core.specs import ActionSpec, Dimension, Kind
from segue.core.types import ChunkRequest, FloatArray, Strategy
from segue.core.watchdog import OnLinkLoss, SafetyConfig, SafetyLevel

from .driver import MS, SECOND, Driver, config_of

MAX_SPEED = 60.0
SPEC = ActionSpec(
    (
        Dimension("joint", "deg", low=-80.0, high=80.0, max_speed=MAX_SPEED),
        Dimension("gripper", "", Kind.DISCRETE, low=0.0, high=1000.0),
        Dimension("wheel", "m/s", Kind.VELOCITY),
        Dimension("torque", "Nm", Kind.EFFORT),
    )
)
POSE = np.array([3.0, 500.0, 0.0, 0.0])
REST = np.array([-70.0, 123.0, 5.0, 5.0])


class ExecutorLaws(RuleBasedStateMachine):
    """One life at one pair of rates."""

    def __init__(self, action_hz: float, control_hz: float) -> None:
        super().__init__()
        self.rates = (action_hz, control_hz)
        self.grippers = {POSE[1]}
        self.sent = POSE
        self.under_way: PlannedAction | None = None
        self.last_step = -1
        self.lag = 1.0

    @initialize(
        strategy=st.sampled_from(Strategy),
        aggregate=st.sampled_from(sorted(AGGREGATIONS)),
        min_steps=st.integers(1, 6),
        on_link_loss=st.sampled_from(OnLinkLoss),
        max_age_ms=st.none() | st.integers(200, 1500),
        seed=st.integers(0, 2**31),
    )
    def start(
        self,
        strategy: Strategy,
        aggregate: str,
        min_steps: int,
        on_link_loss: OnLinkLoss,
        max_age_ms: int | None,
        seed: int,
    ) -> None:
        self.dice = np.random.default_rng(seed)
        safety = SafetyConfig(
            on_link_loss=on_link_loss,
            max_action_age_ns=None if max_age_ms is None else max_age_ms * MS,
            play_out_ns=300 * MS,
            hold_grace_ns=500 * MS,
            park_ns=1 * SECOND,
            min_deadline_ns=150 * MS,
        )
        config = config_of(
            *self.rates,
            spec=SPEC,
            rule=RequestRule(strategy, horizon=12, threshold=0.7, min_execution_steps=min_steps),
            aggregate=aggregate,
            safety=safety,
            rest_pose=REST,
        )
        self.driver = Driver(config, pose=POSE)
        self.driver.open(forecast_s=0.1)
        self.tick(2)

    # --- what may happen ----------------------------------------------------------------------

    @rule(count=st.integers(1, 25))
    def tick(self, count: int) -> None:
        for _ in range(count):
            now_ns = self.driver.now_ns
            tick = self.driver.bare_tick()
            self.driver.executor.applied(self.applied(tick.action))
            self.check_steps(tick, now_ns)
            self.check_commands(tick)
            self.sent = tick.action

    @rule(count=st.integers(60, 260))
    def tick_for_long(self, count: int) -> None:
        self.tick(count)

    @precondition(lambda self: self.driver.executor.scheduler.outstanding)
    @rule(length=st.integers(1, 20))
    def reply(self, length: int) -> None:
        self.answer(self.driver.requests[-1], length)

    @precondition(lambda self: self.driver.executor.scheduler.outstanding)
    @rule(length=st.integers(5, 20), ticks=st.integers(1, 40))
    def reply_and_go_on(self, length: int, ticks: int) -> None:
        self.answer(self.driver.requests[-1], length)
        self.tick(ticks)

    @precondition(lambda self: self.driver.requests)
    @rule(length=st.integers(1, 20), which=st.integers(0, 10**6))
    def reply_late(self, length: int, which: int) -> None:
        self.answer(self.driver.requests[which % len(self.driver.requests)], length)

    @rule()
    def fail(self) -> None:
        self.driver.executor.request_failed(self.driver.now_ns, 0, "cut")

    @rule()
    def close(self) -> None:
        self.driver.executor.link_closed(self.driver.now_ns, "reset")

    @rule()
    def open(self) -> None:
        self.driver.open(forecast_s=0.1)

    @rule(works=st.booleans())
    def camera(self, works: bool) -> None:
        if works:
            self.driver.executor.camera_works(self.driver.now_ns)
        else:
            self.driver.executor.camera_failed(self.driver.now_ns, "front")

    @rule()
    def reset(self) -> None:
        self.driver.executor.reset()

    @rule(ticks=st.integers(1, 30))
    def stall(self, ticks: int) -> None:
        self.driver.stall(ticks)

    @rule(lag=st.sampled_from([1.0, 0.7]))
    def driver_lags(self, lag: float) -> None:
        self.lag = lag

    def applied(self, target: FloatArray) -> FloatArray:
        """Returns what a driver that lags behind in its position says it applied."""
        return np.concatenate([target[:1] * self.lag, target[1:]])

    def answer(self, asked: ChunkRequest, length: int) -> None:
        """Answers with a chunk that may begin anywhere, also a little beyond a limit."""
        actions = self.dice.uniform(-90.0, 90.0) + self.dice.normal(0.0, 4.0, size=(length, 4)).cumsum(axis=0)
        actions[:, 0] = np.clip(actions[:, 0], -200.0, 200.0)
        actions[:, 1] = self.dice.integers(0, 1000, size=length)
        self.grippers |= set(actions[:, 1].tolist())
        self.driver.executor.receive(self.driver.chunk(asked, actions))

    # --- what must hold -----------------------------------------------------------------------

    def check_steps(self, tick: Tick, now_ns: int) -> None:
        """Each step at most once, never backwards, never too old, and every action accounted for."""
        executor = self.driver.executor
        if tick.began is not None:
            assert tick.began.step == self.last_step + 1 == executor.step - 1
            assert now_ns - tick.began.captured_ns <= executor.age_limit_ns
            assert tick.level < SafetyLevel.HOLD
            self.last_step, self.under_way = tick.began.step, tick.began
        counts = executor.queue.counts
        assert counts.executed == executor.step == self.last_step + 1
        assert counts.executed + counts.skipped + counts.replaced + len(executor.queue) == counts.merged

    def check_commands(self, tick: Tick) -> None:
        """Never faster than allowed, never beyond a limit, each kind of dimension in its own way."""
        joint, gripper, *rates = tick.action
        assert abs(joint - self.sent[0]) <= MAX_SPEED / self.rates[1] + 1e-9
        assert -80.0 <= joint <= 80.0
        assert gripper in self.grippers
        if not self.driver.executor.motion.under_way:
            self.under_way = None
        if self.under_way is None:
            assert rates == [0.0, 0.0]
            assert gripper == self.sent[1]
        else:
            assert rates == self.under_way.target[2:].tolist()
            assert gripper == self.under_way.target[1]


@pytest.mark.parametrize(("action_hz", "control_hz"), [(10.0, 100.0), (30.0, 100.0)])
def test_the_laws_hold_in_any_life(action_hz: float, control_hz: float) -> None:
    """Through any merges, starving, holds, resumes and parking, every tick obeys the laws."""
    make: Callable[[], ExecutorLaws] = lambda: ExecutorLaws(action_hz, control_hz)  # noqa: E731
    run_state_machine_as_test(make, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))


def test_a_life_goes_through_every_level_but_fault() -> None:
    """The events of these lives do lead through starving, holding, resuming and parking."""
    life = ExecutorLaws(10.0, 100.0)
    life.start(Strategy.RTC, "latest_only", 1, OnLinkLoss.STOP_NOW, None, 7)
    levels = []
    events: list[tuple[Callable[[], None], int]] = [
        (lambda: life.reply(3), 15),
        (lambda: None, 20),
        (lambda: life.reply(12), 15),
        (life.close, 0),
        (life.fail, 5),
        (lambda: None, 60),
        (life.open, 2),
        (lambda: life.reply(12), 15),
    ]
    for event, ticks in events:
        event()
        life.tick(ticks)
        levels.append(life.driver.executor.watchdog.level.name)
    assert levels == ["RUN", "STARVED", "RUN", "RUN", "HOLD", "PARK", "PARK", "RUN"]
