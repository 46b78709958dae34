"""What is measured of a fault, from the records of the arm that suffered it; and what was promised of it."""

from __future__ import annotations

from tests.processes import Arm

MS = 1_000_000
INFERENCE_MS = 50.0
DEADLINE_MS = 500.0
TICK_MS = 10.0
STEP_MS = 1000 / 30
# The arm asks when half of its 50 actions are left, so 25 steps after a merge at the latest; a request
# that the fault has met is missed at its deadline, which is seen when a step ends.
FIRST_MISS_MS = 25 * STEP_MS + DEADLINE_MS + STEP_MS + TICK_MS
# After healing: one second, and one inference.
BACK_MS = 1000.0 + INFERENCE_MS


def lost_after_ms(arm: Arm, since_ns: int) -> tuple[float, float]:
    """Returns when the first miss came after `since_ns`, and how long after it the link was given up, ms."""
    first = arm.first("request_missed", since_ns)["mono_ns"]
    second = arm.first("request_missed", first + 1)["mono_ns"]
    return (first - since_ns) / MS, (second - first) / MS


def held_ms(arm: Arm, since_ns: int) -> float:
    """Waits until the arm holds, and returns how long after `since_ns` that was, ms."""
    return float((arm.first("level", since_ns, state_to="HOLD")["mono_ns"] - since_ns) / MS)


def back_ms(arm: Arm, since_ns: int) -> float:
    """Waits for the first good chunk, and returns how long after `since_ns` it was merged, ms."""
    return float((arm.first("chunk", since_ns)["mono_ns"] - since_ns) / MS)
