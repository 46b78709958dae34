from __future__ import annotations

import numpy as np
import pytest

from segue.core.history import ObservationHistory
from segue.core.types import Observation

MS = 1_000_000


def at(ms: float) -> Observation:
    return Observation(step=0, captured_ns=round(ms * MS), state=np.zeros(1))


def stamps(history: ObservationHistory, present_ms: float) -> list[float]:
    return [each.captured_ns / MS for each in history.before(at(present_ms))]


def test_there_are_always_as_many_as_the_policy_wants() -> None:
    """Before there is enough past the oldest observation stands for what is missing."""
    history = ObservationHistory(3, action_hz=10.0, control_hz=100.0)
    assert stamps(history, 0) == [0, 0, 0]
    history.add(at(0))
    history.add(at(100))
    assert stamps(history, 200) == [0, 0, 100]


def test_looks_while_nothing_is_under_way_are_a_step_apart() -> None:
    """A hundred looks a second while the robot waits leave observations a step apart."""
    history = ObservationHistory(3, action_hz=20.0, control_hz=100.0)
    for ms in range(0, 400, 10):
        history.add(at(ms + 0.3))
    assert stamps(history, 400) == [250.3, 300.3, 350.3]


@pytest.mark.parametrize(
    ("action_hz", "begins"), [(30.0, [0, 40, 70, 100, 140]), (100.0, [0, 10, 20, 30, 40])]
)
def test_every_step_is_remembered_where_steps_lie_unevenly(action_hz: float, begins: list[int]) -> None:
    """At 30 Hz on 100 Hz steps begin 30 and 40 ms apart, and none is left out."""
    history = ObservationHistory(4, action_hz, control_hz=100.0)
    for ms in begins:
        history.add(at(ms))
    assert stamps(history, 500) == begins[1:]


def test_a_new_epoch_forgets() -> None:
    """After a reset nothing of before is shown."""
    history = ObservationHistory(2, action_hz=10.0, control_hz=10.0)
    history.add(at(0))
    history.clear()
    assert stamps(history, 900) == [900, 900]


def test_a_policy_that_does_not_look_back_gets_nothing() -> None:
    """Without a wish for history there is none."""
    history = ObservationHistory(0, action_hz=10.0, control_hz=10.0)
    history.add(at(0))
    assert history.before(at(100)) == ()
