from __future__ import annotations

import numpy as np
import pytest

from segue.client.seam import SeamJerk
from segue.core.queue import PlannedAction


def begun(jerk: SeamJerk, targets: list[float], first: int = 0) -> None:
    for k, value in enumerate(targets):
        jerk.began(PlannedAction(first + k, np.array([value, 0.0]), 0))


def test_a_kink_at_a_merge_is_the_second_difference_of_the_targets() -> None:
    """A plan that stands still and then jumps by 3 at the merge bends by 3 twice."""
    jerk = SeamJerk()
    begun(jerk, [0, 0, 0, 0, 0])
    jerk.merged(5)
    begun(jerk, [3, 3, 3, 3, 3], first=5)
    bends = [0, 3, 3, 0, 0]  # centred on steps 3 … 7
    assert jerk.p95() == pytest.approx(np.percentile(bends, 95))


@pytest.mark.parametrize(("kink", "counts"), [(2, False), (3, True), (5, True), (7, True), (8, False)])
def test_only_steps_within_two_of_a_merge_count(kink: int, counts: bool) -> None:
    """A bend centred three steps before or after the merge at step 5 is not a seam's."""
    jerk = SeamJerk()
    for step in range(12):
        if step == 5:
            jerk.merged(5)
        begun(jerk, [max(0.0, step - kink)], first=step)  # the slope changes at step `kink`
    assert ((jerk.p95() or 0.0) > 0) == counts


def test_the_norm_is_over_all_dimensions() -> None:
    """A kink of 3 in one joint and 4 in another is one of 5."""
    jerk = SeamJerk()
    jerk.merged(1)
    for step, target in enumerate(([0.0, 0.0], [0.0, 0.0], [3.0, 4.0])):
        jerk.began(PlannedAction(step, np.array(target), 0))
    assert jerk.p95() == pytest.approx(5.0)


def test_a_hold_separates_what_lies_before_from_what_comes_after() -> None:
    """No bend is taken over a hold, however far the arm was moved meanwhile."""
    jerk = SeamJerk()
    jerk.merged(0)
    begun(jerk, [0, 0, 0])
    jerk.interrupted()
    jerk.merged(3)
    begun(jerk, [90, 90, 90], first=3)
    assert jerk.p95() == 0.0


def test_without_a_merge_there_is_no_seam() -> None:
    """A plan that was never merged into has no seam jerk."""
    jerk = SeamJerk()
    begun(jerk, [0, 1, 0, 1])
    assert jerk.p95() is None
