"""What horizon, delay and rate allow: how much of the time a plan lasts, and how old an action gets.

The laws of TIMELINE rule 6 and of the age of actions, each written once, as
functions of a *steady* delay. Whoever advises, refuses or judges asks here;
nothing in this file waits for anything or decides anything.
"""

from __future__ import annotations

import math

from segue.core.schedule import RequestRule
from segue.core.types import Strategy

NS_PER_S = 1_000_000_000

# Beside the time that a chunk lasts: what an answer may take at least, however fast the policy says
# that it is, and at most, however slow.
LEAST_PATIENCE_NS = 3 * NS_PER_S
MOST_PATIENCE_NS = 10 * NS_PER_S
INFERENCES_PATIENT = 3


def longest_delay(horizon: int) -> int:
    """Returns the longest delay, in steps, with which a plan of `horizon` actions never runs dry."""
    return horizon // 2


def starved_share(horizon: int, delay_steps: int) -> float:
    """Returns the share of the time, 0..1, in which nothing is planned although chunks are asked for in time.

    Args:
        horizon: H, actions used per chunk.
        delay_steps: d, of every round trip.

    Source: TIMELINE rule 6. In 2d steps two chunks are asked for and merged, and together they bring
    H actions that are not past. From d = H on the next is asked for when the last has ended.
    """
    if 2 * delay_steps <= horizon:
        return 0.0
    if delay_steps >= horizon:
        return delay_steps / (delay_steps + horizon)
    return 1.0 - horizon / (2 * delay_steps)


def delay_steps(action_hz: float, round_trip_ns: int) -> int:
    """Returns a round trip in steps, rounded up, at least 1."""
    return max(1, -int(-round_trip_ns * action_hz // NS_PER_S))


def oldest_action_ns(rule: RequestRule, action_hz: float, round_trip_ns: int, blends: bool = False) -> int:
    """Returns how old the observation behind an action gets when all goes well.

    A chunk is d steps old when it is merged. It is used until the next is asked for, and for d
    steps more until that one is merged, but never beyond its own end. Where chunks are blended an
    action is as old as the oldest of them, which is the one that reached furthest: a whole chunk,
    of which nothing was skipped after a hold. A whole chunk is also what `sync` executes.
    """
    d, horizon = delay_steps(action_hz, round_trip_ns), rule.horizon
    used = horizon
    if rule.strategy is not Strategy.SYNC and not blends and d < horizon:
        # Of the first chunk after a start or a hold nothing is skipped, so it lasts longest.
        by_wish = max(rule.min_execution_steps, horizon - rule.low_water)
        used = min(horizon, min(by_wish, horizon - (d + 1)) + d)
    return math.floor((d + used) * NS_PER_S / action_hz)


def age_ceiling_ns(horizon: int, action_hz: float, warm_inference_ns: int) -> int:
    """Returns the age that no action may pass, whatever replies come: it depends on no measurement.

    Args:
        horizon: H, actions used per chunk.
        action_hz: steps per second.
        warm_inference_ns: as the policy declared it when the run began.
    """
    patience_ns = max(LEAST_PATIENCE_NS, INFERENCES_PATIENT * warm_inference_ns)
    return int(horizon * NS_PER_S / action_hz) + min(patience_ns, MOST_PATIENCE_NS)
