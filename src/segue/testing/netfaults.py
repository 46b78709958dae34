"""What can go wrong with a connection, and when: changes, and schedules of them.

A `Change` is a value: it says what becomes different from now on, in which
directions. A `Schedule` is a list of changes with their times, written down or
drawn from a seed; the same seed draws the same list, so a bad night can be had
again. Nothing here opens a socket or looks at a clock: `segue.testing.proxy`
carries changes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np


class NetFault(StrEnum):
    """What a change changes."""

    DELAY = "delay"
    THROTTLE = "throttle"
    SWALLOW = "swallow"
    FLIP = "flip"
    REFUSE = "refuse"
    RESET = "reset"
    CLOSE = "close"
    FORGET = "forget"


# These happen once; the others last until another change ends them.
MOMENTARY = (NetFault.RESET, NetFault.CLOSE)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that becomes different.

    Attributes:
        fault: what it is.
        value: milliseconds of delay, bytes per second (0: no limit), the share of bytes in which a
            bit is flipped, seconds of silence after which a connection is forgotten (0: never), or,
            to swallow and to refuse, 1 for yes and 0 for no.
        jitter_ms: mean of an exponential delay on top of a delay.
        up, down: in which directions it acts, client to server and back.
        reset: at the end of swallowing, connections are reset instead of what was held being delivered;
            what is sent on a forgotten connection is answered by a reset instead of not at all.
    """

    fault: NetFault
    value: float = 0.0
    jitter_ms: float = 0.0
    up: bool = True
    down: bool = True
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """Changes with the time of each, in seconds since the schedule begins."""

    changes: tuple[tuple[float, Change], ...]

    @classmethod
    def random(
        cls, seed: int, duration_s: float, every_s: float = 4.0, faults: Sequence[NetFault] = ()
    ) -> Schedule:
        """Draws faults one after another, each of which is over before the next; all is well at the end.

        Connections that were forgotten meanwhile stay so: who uses one has to connect anew.

        Args:
            seed: the same one draws the same schedule.
            duration_s: no change comes later.
            every_s: mean time from the begin of one fault to the begin of the next.
            faults: the kinds to draw from; by default all but flipped bits.
        """
        kinds = tuple(faults) or tuple(f for f in NetFault if f is not NetFault.FLIP)
        rng = np.random.default_rng(seed)
        changes: list[tuple[float, Change]] = []
        at_s = float(rng.uniform(0.25, 0.75) * every_s)
        while at_s < duration_s:
            begin, lasts_s = _draw(kinds[int(rng.integers(len(kinds)))], rng), rng.uniform(0.1, 0.5) * every_s
            changes.append((at_s, begin))
            if begin.fault not in MOMENTARY:
                changes.append((min(at_s + float(lasts_s), duration_s), _end_of(begin, rng)))
            at_s += float(rng.uniform(0.5, 1.5) * every_s)
        return cls(tuple(changes))


def _draw(fault: NetFault, rng: np.random.Generator) -> Change:
    """Returns a fault of that kind, as bad as chance has it, in one direction or both."""
    which = int(rng.integers(3))
    size = float(rng.random())
    change = Change(fault, 1.0, up=which != 1, down=which != 2)
    if fault is NetFault.DELAY:
        return replace(change, value=10.0 + 290.0 * size, jitter_ms=100.0 * float(rng.random()))
    if fault is NetFault.THROTTLE:
        return replace(change, value=20_000.0 + 480_000.0 * size)
    if fault is NetFault.FLIP:
        return replace(change, value=1e-4 * size)
    if fault is NetFault.FORGET:
        return replace(change, value=0.1 + 2.0 * size, reset=which == 1)
    return change


def _end_of(begin: Change, rng: np.random.Generator) -> Change:
    resets = begin.fault is NetFault.SWALLOW and bool(rng.integers(2))
    return replace(begin, value=0.0, jitter_ms=0.0, reset=resets)
