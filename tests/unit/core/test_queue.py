"""The queue against a model that is nothing but a dictionary from step to action."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from segue.core.merge import AGGREGATIONS, Plan
from segue.core.queue import ActionQueue, Merged

from .driver import names, stepped, symbols, values_of

NO_LIMIT = np.full(2, np.inf)
DISCRETE = np.array([False, True])


def plan_of(letter: str, length: int, captured_ns: int = 0) -> Plan:
    actions = values_of(letter, length)
    return Plan.of_chunk(actions, actions / 10, captured_ns, -NO_LIMIT, NO_LIMIT)


def queue_with(letter: str, length: int) -> ActionQueue:
    queue = ActionQueue(DISCRETE)
    queue.merge(plan_of(letter, length), 0, None)
    return queue


def test_an_empty_queue_has_neither_leftover_nor_age() -> None:
    """Without a plan there is no leftover: None, not an empty array."""
    queue = ActionQueue(DISCRETE)
    assert (len(queue), queue.step, queue.leftover(), queue.next_captured_ns()) == (0, 0, None, None)


def test_begin_takes_the_next_action_and_moves_on_by_one() -> None:
    """Each action is taken once, in order, with its step and the stamp of its observation."""
    queue = ActionQueue(DISCRETE)
    queue.merge(plan_of("a", 3, captured_ns=7), 0, None)
    taken = [queue.begin() for _ in range(3)]
    assert [(a.step, a.captured_ns) for a in taken] == [(0, 7), (1, 7), (2, 7)]
    assert symbols(np.array([a.target for a in taken])) == names("a", 0, 2)
    assert (queue.step, len(queue)) == (3, 0)


def test_skip_is_the_steps_begun_since_the_request() -> None:
    """A chunk meant for step 1 that comes at step 3 loses exactly its first two actions."""
    queue = queue_with("a", 5)
    for _ in range(3):
        queue.begin()
    assert queue.merge(plan_of("b", 6), 1, None) == Merged(skipped=2, kept=4, replaced=2)
    assert symbols(queue.leftover().robot_actions) == names("b", 2, 5)


@pytest.mark.parametrize(("start_step", "length"), [(0, 3), (1, 2), (2, 1), (4, 9)])
def test_a_chunk_of_the_past_or_the_future_is_refused(start_step: int, length: int) -> None:
    """A chunk without an action for the next step changes nothing."""
    queue = queue_with("a", 5)
    for _ in range(3):
        queue.begin()
    assert queue.merge(plan_of("b", length), start_step, None) is None
    assert symbols(queue.leftover().robot_actions) == ["a3", "a4"]
    assert queue.counts.merged == 5


def test_steps_that_are_gone_past_are_counted_as_skipped() -> None:
    """Whoever goes on to a later step skips what a chunk planned before it, and nothing is lost."""
    queue = queue_with("a", 1)
    queue.begin()
    queue.skip_to(5)
    assert queue.merge(plan_of("b", 9), 1, None) == Merged(skipped=4, kept=5, replaced=0)
    assert symbols(queue.leftover().robot_actions) == names("b", 4, 8)
    assert queue.begin().step == 5
    counts = queue.counts
    assert (counts.merged, counts.executed, counts.skipped, counts.replaced) == (10, 2, 4, 0)


def test_clear_forgets_the_plan_and_keeps_the_step() -> None:
    """After a reset nothing is planned, and the step goes on counting."""
    queue = queue_with("a", 5)
    queue.begin()
    assert queue.clear() == 4
    assert (queue.step, len(queue), queue.leftover(), queue.counts.replaced) == (1, 0, None, 4)


def test_a_leftover_that_was_handed_out_never_changes() -> None:
    """The snapshot in a request stays what it was, whatever is blended or executed later."""
    queue = queue_with("a", 5)
    snapshot = queue.leftover()
    queue.merge(plan_of("b", 5), 0, AGGREGATIONS["average"])
    queue.begin()
    assert symbols(snapshot.robot_actions) == symbols(snapshot.model_actions * 10) == names("a", 0, 4)


class QueueLaws(RuleBasedStateMachine):
    """Merges, executes and clears at random, beside a dictionary that does the same."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = ActionQueue(DISCRETE)
        self.model: dict[int, float] = {}
        self.executed: list[int] = []
        self.gone: set[int] = set()
        self.asked = 0
        self.numbers = iter(range(1, 1_000_000))

    @rule()
    def ask(self) -> None:
        self.asked = self.queue.step

    @precondition(lambda self: not len(self.queue))
    @rule(steps=st.integers(1, 4))
    def skip(self, steps: int) -> None:
        self.gone.update(range(self.queue.step, self.queue.step + steps))
        self.queue.skip_to(self.queue.step + steps)

    @rule(length=st.integers(1, 12))
    def merge(self, length: int) -> None:
        values = [1000.0 * next(self.numbers) + k for k in range(length)]
        plan = Plan.of_chunk(stepped(values), None, 0, -NO_LIMIT, NO_LIMIT)
        merged = self.queue.merge(plan, self.asked, None)
        skip = self.queue.step - self.asked
        assert (merged is None) == (skip >= length)
        for k, value in list(enumerate(values))[skip:]:
            self.model[self.asked + k] = value

    @precondition(lambda self: len(self.queue))
    @rule()
    def begin(self) -> None:
        action = self.queue.begin()
        assert action.target.tolist() == [self.model.pop(action.step)] * 2
        self.executed.append(action.step)

    @rule()
    def clear(self) -> None:
        self.queue.clear()
        self.model.clear()

    @invariant()
    def every_step_is_executed_at_most_once_and_never_backwards(self) -> None:
        assert self.executed == [step for step in range(self.queue.step) if step not in self.gone]

    @invariant()
    def the_plan_is_that_of_the_model(self) -> None:
        assert sorted(self.model) == list(range(self.queue.step, self.queue.step + len(self.queue)))
        leftover = self.queue.leftover()
        planned = [] if leftover is None else leftover.robot_actions[:, 0].tolist()
        assert planned == [self.model[t] for t in sorted(self.model)]

    @invariant()
    def no_action_is_lost_from_the_account(self) -> None:
        counts = self.queue.counts
        assert counts.executed + counts.skipped + counts.replaced + len(self.queue) == counts.merged


QueueLaws.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueueLaws = QueueLaws.TestCase
