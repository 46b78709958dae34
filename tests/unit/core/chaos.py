"""A random life of an executor: ticks, replies of every age, timeouts, resets, holds and stalls.

Every action carries in its gripper the number of the request that it answers
and in its joint the step that it is meant for, so that each command confesses
where it comes from. `Chaos` checks after every tick what must hold whatever
happens.
"""

from __future__ import annotations

import random

import numpy as np

from segue.core.facts import Tick
from segue.core.schedule import RequestRule
from segue.core.types import ChunkRequest, Strategy
from segue.core.watchdog import OnLinkLoss, SafetyConfig, SafetyLevel

from .driver import Driver, config_of

EVENTS = ("tick", "reply", "late", "timeout", "reset", "hold", "stall")
WEIGHTS = (12, 5, 2, 1, 1, 1, 1)


class Chaos:
    """One random life, repeatable by its seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        rule = RequestRule(
            strategy=self.dice.choice((Strategy.RTC, Strategy.ASYNC, Strategy.SYNC)),
            horizon=self.dice.choice((4, 10)),
            threshold=self.dice.choice((0.3, 0.7, 1.0)),
            min_execution_steps=self.dice.choice((1, 3)),
        )
        safety = SafetyConfig(on_link_loss=self.dice.choice(list(OnLinkLoss)))
        control_hz = self.dice.choice((10.0, 15.0, 30.0))
        self.driver = Driver(config_of(control_hz=control_hz, rule=rule, safety=safety))
        self.driver.open(forecast_s=self.dice.choice((0.05, 0.35)))
        self.epochs: dict[int, int] = {}
        self.last_step = -1
        self.gripper = 0.0
        self.seen: set[str] = set()

    def live(self, events: int) -> None:
        """Goes through that many random events."""
        for event in self.dice.choices(EVENTS, WEIGHTS, k=events):
            getattr(self, event)()

    def tick(self) -> None:
        tick = self.driver.bare_tick()
        if tick.request is not None:
            assert tick.request.number not in self.epochs
            self.epochs[tick.request.number] = tick.request.epoch
        self.check(tick)

    def reply(self) -> None:
        if self.driver.requests:
            self._answer(self.driver.requests[-1])

    def late(self) -> None:
        if self.driver.requests:
            self._answer(self.dice.choice(self.driver.requests))

    def timeout(self) -> None:
        waiting = self.driver.executor.scheduler.outstanding
        while waiting is not None and self.driver.now_ns < waiting.deadline_ns:
            self.driver.stall(1)
        self.tick()

    def reset(self) -> None:
        self.driver.executor.reset()

    def hold(self) -> None:
        for _ in range(2):
            self.driver.executor.request_failed(self.driver.now_ns, 0, "cut")
        self.tick()

    def stall(self) -> None:
        self.driver.stall(self.dice.randint(1, 5))

    def _answer(self, asked: ChunkRequest) -> None:
        steps = asked.start_step + np.arange(self.dice.randint(1, 12), dtype=np.float64)
        actions = np.stack([steps, np.full_like(steps, asked.number)], axis=1)
        self.driver.executor.receive(self.driver.chunk(asked, actions))

    def check(self, tick: Tick) -> None:
        """Checks the laws of table L."""
        executor = self.driver.executor
        counts = executor.queue.counts
        self.seen.add(tick.level.name)
        assert counts.executed + counts.skipped + counts.replaced + len(executor.queue) == counts.merged
        if tick.began is None:
            assert tick.action[1] == self.gripper, "a command came from nowhere"
            return
        meant_for, number = tick.began.target
        assert tick.level < SafetyLevel.HOLD
        assert tick.began.step == self.last_step + 1 == meant_for, "a step was repeated, lost or shifted"
        assert self.epochs[int(number)] == executor.epoch, "a command of an older epoch"
        assert tick.action[1] == number
        self.last_step, self.gripper = tick.began.step, number
