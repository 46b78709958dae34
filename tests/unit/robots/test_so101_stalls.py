"""Whatever the bus loses, no servo is told to go further in a tick than its joint may."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from segue.core.types import FloatArray
from segue.errors import RobotFault, SafetyLatch
from segue.robots import so101_model
from segue.robots.sts3215 import GOAL_POSITION
from segue.testing.goal_checker import check_goals, servo_speeds
from segue.testing.servo_line import ServoLine
from tests.unit.robots.emulated_arm import TICK_NS, Bench, bench, resting

MS = 1_000_000
REACH = 1.8  # of a body joint in a tick, degrees
SIX = frozenset(range(1, 7))


def nothing(tick: int) -> None:
    """Does nothing."""


class Run:
    """An arm under torque whose base turns at full speed, from one end towards the other and back."""

    def __init__(self, tick_ns: int = TICK_NS) -> None:
        self.bench: Bench = bench(replace(resting(), tick_ns=tick_ns))
        self.bench.arm.connect()
        self.line: ServoLine = self.bench.line
        self.wanted: FloatArray = so101_model.REST_POSE.copy()
        self.applied: list[FloatArray] = []
        self.before: Callable[[int], None] = nothing
        self.between: Callable[[int], None] = nothing
        self.tick_ns = tick_ns
        self.way = self.bench.arm.spec.action.array("max_speed") * tick_ns / 1e9

    def go(self, ticks: int, to: Callable[[int], FloatArray] | None = None) -> None:
        """Makes so many ticks; the command goes where `to` says within the speed limit, or to and fro."""
        for tick in range(ticks):
            began_ns = self.bench.clock.now_ns()
            self.before(tick)
            self.bench.arm.read(began_ns)
            self.between(tick)
            goal = self._to_and_fro(tick) if to is None else to(tick)
            self.wanted = np.clip(goal, self.wanted - self.way, self.wanted + self.way)
            self.applied.append(self.bench.arm.write(self.wanted, 0))
            self.bench.clock.sleep_until(began_ns + self.tick_ns)

    def wrong(self, ticks: int, on: Callable[[], object], off: Callable[[], object] = dict) -> None:
        """Lets something be wrong from tick 20 on, when all goes at full speed, for so many ticks."""

        def before(tick: int) -> None:
            if tick in (20, 20 + ticks):
                (on if tick == 20 else off)()

        self.before = before

    def set(self, **faults: object) -> None:
        """Sets faults of the line."""
        for name, value in faults.items():
            setattr(self.line.faults, name, value)

    def judge(self) -> None:
        """Fails where a servo, or the driver's own word, leaps or rushes."""
        speeds = servo_speeds(self.bench.arm.config.units)
        found = check_goals(self.line.goals, speeds, 1e9 / self.tick_ns)
        assert not found, "\n".join(map(str, found[:5]))
        steps = np.abs(np.diff(np.array(self.applied), axis=0))
        assert (steps <= self.way * 1.00001).all(), steps.max(axis=0)

    def _to_and_fro(self, tick: int) -> FloatArray:
        return so101_model.REST_POSE + np.array([95.0, 0, 0, 0, 0, 0]) * (1 if tick % 200 < 100 else -1)


def silence_of_all(run: Run, ticks: int) -> None:
    """Nobody hears anything."""
    run.wrong(ticks, lambda: run.set(silent_until_ns=run.bench.clock.now_ns() + ticks * TICK_NS))


def all_mute(run: Run, ticks: int) -> None:
    """All hear, obey and do not answer."""
    run.wrong(ticks, lambda: run.set(mute=SIX), lambda: run.set(mute=frozenset()))


def one_mute(run: Run, ticks: int) -> None:
    """One hears, obeys and does not answer."""
    run.wrong(ticks, lambda: run.set(mute=frozenset({1})), lambda: run.set(mute=frozenset()))


def garbled(run: Run, ticks: int) -> None:
    """No answer has a good checksum."""
    run.wrong(ticks, lambda: run.set(garble_replies=10**6), lambda: run.set(garble_replies=0))


def halved(run: Run, ticks: int) -> None:
    """Half of each answer comes, and noise after it."""
    run.wrong(ticks, lambda: run.set(halve_replies=10**6), lambda: run.set(halve_replies=0))


def goals_lost(run: Run, ticks: int) -> None:
    """Questions are answered, goals are lost."""
    run.wrong(ticks, lambda: run.set(lose_goals=10**6), lambda: run.set(lose_goals=0))


def held_back(run: Run, ticks: int) -> None:
    """The adapter stands still, and then delivers at once what it was given."""

    def hold() -> None:
        run.line.adapter.waits.held_until_ns = run.bench.clock.now_ns() + ticks * TICK_NS

    run.wrong(ticks, hold)


KINDS = (silence_of_all, all_mute, one_mute, garbled, halved, goals_lost, held_back)


@pytest.mark.parametrize("ticks", [1, 2, 5, 15])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stall_of_the_bus_is_followed_by_no_leap(kind: Callable[[Run, int], None], ticks: int) -> None:
    """After 10 to 150 ms at full speed the joint goes on from the goal that it has, and catches up."""
    run = Run()
    kind(run, ticks)
    run.go(100)
    run.before = nothing
    run.go(60, lambda tick: so101_model.REST_POSE)
    run.judge()
    assert run.applied[-1] == pytest.approx(so101_model.REST_POSE)
    assert run.bench.goals() == pytest.approx(
        list(run.bench.arm.config.units.to_counts(so101_model.REST_POSE).values()), abs=1
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_stall_that_begins_between_question_and_goal_is_no_worse(kind: Callable[[Run, int], None]) -> None:
    """The goal of the tick in which the line falls silent is lost although its questions were answered."""
    run = Run()
    kind(run, 6)
    run.between, run.before = run.before, run.between
    run.go(160)
    run.judge()


class Weather:
    """Anything may be wrong in any tick, and the joints turn about at random."""

    def __init__(self, seed: int, run: Run) -> None:
        self.goal = so101_model.REST_POSE
        self._dice, self._run = random.Random(seed), run
        self._ends = [run.bench.arm.spec.action.array(end) for end in ("low", "high")]

    def __call__(self, tick: int) -> None:
        """Draws what is wrong in this tick."""
        dice, run, now_ns = self._dice, self._run, self._run.bench.clock.now_ns()

        def rarely(share: float) -> bool:
            return dice.random() < share

        run.set(
            mute=frozenset(servo for servo in SIX if rarely(0.3)) if rarely(0.1) else frozenset(),
            garble_replies=dice.randrange(12) if rarely(0.1) else 0,
            halve_replies=dice.randrange(12) if rarely(0.05) else 0,
            lose_goals=int(rarely(0.2)),
            lose_requests=dice.randrange(3) if rarely(0.05) else 0,
        )
        if rarely(0.02):
            run.set(silent_until_ns=now_ns + dice.randrange(90) * MS)
        if rarely(0.02):
            run.line.adapter.waits.held_until_ns = now_ns + dice.randrange(60) * MS
        if rarely(0.02):
            run.bench.clock.sleep_until(now_ns + dice.choice((35, 90, 350)) * MS)
        if rarely(0.1):
            self.goal = np.array([dice.choice(pair) for pair in zip(*self._ends, strict=True)])


@pytest.mark.parametrize("seed", range(12))
def test_no_mixture_of_stalls_makes_a_servo_leap(seed: int) -> None:
    """On a line on which anything may be wrong in any tick no joint leaps, up to a fault if there is one."""
    run = Run()
    weather = run.before = Weather(seed, run)
    with contextlib.suppress(RobotFault, SafetyLatch):
        run.go(400, lambda tick: weather.goal)
    run.judge()
    assert len(run.applied) > 20


@pytest.mark.parametrize("stall_ms", [35, 100, 350, 1000])
def test_a_control_process_that_stood_still_sends_no_leap(stall_ms: int) -> None:
    """Whatever time passed unnoticed, the next goal is one tick's way from the last one."""
    run = Run()
    for at in (20, 50):
        run.before = lambda tick, at=at: run.bench.wait(stall_ms / 1000) if tick == at else None
        run.go(80)
    run.between = lambda tick: run.bench.wait(stall_ms / 1000) if tick == 30 else None
    run.go(80)
    run.judge()


def test_another_goal_than_the_one_wished_is_told() -> None:
    """While the servos are silent the driver says where they are, and not where they were to be."""
    run = Run()
    all_mute(run, 15)
    run.go(30)
    assert {each[0] for each in run.applied[20:30]} == {run.applied[19][0]}
    behind = run.wanted[0] - run.applied[-1][0]
    assert behind == pytest.approx(10 * REACH, abs=0.01)
    run.before = nothing
    run.line.faults.mute = frozenset()
    run.go(1)
    assert run.applied[-1][0] == pytest.approx(run.applied[-2][0] + REACH, abs=0.01)


def test_goals_lost_one_after_the_other_move_nothing_on_trust() -> None:
    """As long as no goal arrives none is further than a tick's way from the one that the servo has."""
    run = Run()
    run.line.faults.lose_goals = 15
    has = run.line.servo("shoulder_pan").get(GOAL_POSITION)
    run.go(15)
    assert all(abs(each[0]) <= REACH * 1.0001 for each in run.applied)
    assert run.line.servo("shoulder_pan").get(GOAL_POSITION) == has
    run.go(30)
    run.judge()


@pytest.mark.parametrize("mute", [frozenset({1}), SIX])
def test_a_goal_that_was_lost_before_a_long_silence_is_remembered(mute: frozenset[int]) -> None:
    """After 160 ms a servo is found with the goal before the last one, and is no stranger for that."""
    run = Run()
    run.go(30)
    run.set(lose_goals=1)
    run.go(1)
    run.set(mute=mute)
    run.go(16)
    run.set(mute=frozenset())
    run.go(60)
    run.judge()
    assert run.bench.arm.summary()["bus_lost_goals"] >= 1


def test_a_servo_that_lost_its_power_is_told_nothing() -> None:
    """A servo that was away comes back with a goal of its own, and is never driven to the plan's."""
    run = Run()
    all_mute(run, 6)
    run.go(22)
    run.line.servo("elbow_flex").power_cycle()
    run.before, told = nothing, len(run.line.goals)
    run.go(3)
    run.set(mute=frozenset())
    with pytest.raises(RobotFault, match=r"elbow_flex .* has lost"):
        run.go(40)
    assert len(run.line.goals) == told


def test_a_plug_that_comes_back_is_taken_up_where_the_arm_is() -> None:
    """After the port went away and came back a new driver begins at the servos' own positions."""
    run = Run()
    run.go(40)
    run.line.faults.unplugged = True
    with pytest.raises(RobotFault, match="torque state is unknown"):
        run.go(1)
    run.bench.arm.disconnect()
    run.line.faults.unplugged = False
    run.bench.wait(1)
    before = run.bench.positions()
    again = bench(of=run.bench)
    again.arm.connect()
    again.tick(3, lambda: again.arm.write(run.wanted, 0))
    assert [goal - at for goal, at in zip(again.goals(), before, strict=True)] == pytest.approx(
        [np.clip(3 * 20.5, 0, abs(again.goals()[0] - before[0]))] + [0] * 5, abs=2
    )
    run.judge()


@pytest.mark.parametrize("hz", [30, 50, 100, 200])
def test_the_way_of_a_tick_is_that_of_its_rate(hz: int) -> None:
    """At any rate full speed is passed on as it is, and a stall of 80 ms is followed by no leap."""
    run = Run(round(1e9 / hz))
    run.go(hz // 4)
    assert run.applied[-1] == pytest.approx(run.wanted)
    all_mute(run, hz * 8 // 100)
    run.go(60 + hz // 2)
    run.judge()
