"""What goes wrong in a minute of robot time, drawn from a seed: the setting, and at least five faults.

One number gives everything: rate, strategy, trigger, limits and network of the
run, and which fault strikes when and for how long. Half of the plans keep
their faults apart, so that each can be judged by itself; the other half lets
them fall together. One plan in four holds a fault that ends the run, mostly
late. `strike` makes a fault of the plan happen; this file only draws.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from segue.clock import NS_PER_MS, NS_PER_S
from segue.core.feasibility import oldest_action_ns
from segue.core.merge import AGGREGATIONS
from segue.core.schedule import RequestRule
from segue.core.types import Strategy
from segue.core.watchdog import OnLinkLoss, Resume, SafetyConfig
from segue.testing.simlink import LinkModel

MINUTE_S = 60.0
CONTROL_HZ = 100.0
ACTION_RATES_HZ = (10.0, 30.0, 100.0 / 3.0)
MOST_APART = 7
# Of the plans in which the policy is far slower than it says, all the time.
SLOW_SHARE = 0.2
_FIRST_S, _LAST_S = 2.0, 57.0
_SOON_S = 2.0  # says go who has another fault to judge


class FaultKind(StrEnum):
    """What may go wrong; `amount` of a fault means what is said here."""

    KILL = "kill"  # server killed, and started again at the end
    STOP = "stop"  # server stopped and continued: everything held, then all at once
    CUT_UP = "cut_up"  # what the robot sends is swallowed
    CUT_DOWN = "cut_down"  # what the server sends is swallowed
    CUT = "cut"  # both
    LOSS = "loss"  # amount: share of messages lost
    SPIKE = "spike"  # amount: one-way delay, ms, with as much jitter again
    REORDER = "reorder"  # amount: jitter, ms
    DUPLICATE = "duplicate"  # amount: mean lateness of the second copy, ms
    RESET = "reset"  # every connection breaks
    SLOW = "slow"  # amount: an inference takes so many times as long
    POLICY_FAILS = "policy_fails"  # the policy raises: the server refuses
    POLICY_RAVES = "policy_raves"  # the policy returns numbers or shapes that its server refuses
    BAD_CHUNKS = "bad_chunks"  # amount: so many chunks in a row that the client has to refuse
    ODD_CHUNK = "odd_chunk"  # a valid chunk that is short, or far from where the arm is
    WRONG_ANSWER = "wrong_answer"  # a chunk with another number, epoch or start step
    GARBLE = "garble"  # amount: so many replies that cannot be decoded
    FORGET = "forget"  # the server forgets its sessions, not its connections
    FULL = "full"  # every connection breaks, and there is no place for a while
    DRAIN = "drain"  # the server drains for a while, then is another one
    OPENS_DRAINING = "opens_draining"  # the server opens sessions and drains at every request
    FORGETS = "forgets"  # the server opens sessions and forgets every one of them
    BUSY = "busy"  # the server refuses every request for want of room
    LATE_BY_ONE = "late_by_one"  # every answer comes when the next one is due
    SLOWER = "slower"  # amount: each inference takes so many times as long as the one before
    LOOKUP = "lookup"  # every connection breaks, and the server's name is not found for a while
    TLS = "tls"  # every connection breaks, and is turned away for a while
    PAUSE = "pause"  # the arm rests between two episodes, and the connection breaks three times meanwhile
    CAMERA = "camera"  # no picture for a while
    STALL = "stall"  # the control process stands still: ticks are missing
    SLEEP = "sleep"  # the robot's computer sleeps; amount: seconds until a person says go, where one has to
    NEW_EPISODE = "new_episode"  # executor.reset() whatever is under way
    WEAK_DRIVER = "weak_driver"  # amount: the driver applies that share of the way
    BUS_STALL = "bus_stall"  # the motors hear and answer nothing; of odd choice the goal before is lost, too
    # What follows ends the run.
    OTHER_POLICY = "other_policy"  # the server is back with other weights
    SIGNAL = "signal"  # an orderly stop is asked for
    ROBOT = "robot"  # the robot fails
    THREE_BAD = "three_bad"  # three bad chunks in a row
    CAMERA_GONE = "camera_gone"  # no picture any more
    GONE = "gone"  # the server is killed for good
    NO_ROOM = "no_room"  # the server refuses every request for want of room, for good
    OTHER_SPEC = "other_spec"  # the server is back with another spec under the same hash
    MISFIT = "misfit"  # the server is back with joints in another order


ENDINGS = (
    FaultKind.OTHER_POLICY,
    FaultKind.SIGNAL,
    FaultKind.ROBOT,
    FaultKind.THREE_BAD,
    FaultKind.CAMERA_GONE,
    FaultKind.GONE,
    FaultKind.NO_ROOM,
    FaultKind.OTHER_SPEC,
    FaultKind.MISFIT,
)
_PASSING = tuple(kind for kind in FaultKind if kind not in ENDINGS)

# How long each lasts, s; what is not listed happens at one moment.
_LASTS_S: Mapping[FaultKind, tuple[float, float]] = MappingProxyType(
    {
        FaultKind.KILL: (0.2, 8.0),
        FaultKind.STOP: (0.2, 6.0),
        FaultKind.CUT_UP: (0.1, 6.0),
        FaultKind.CUT_DOWN: (0.1, 6.0),
        FaultKind.CUT: (0.1, 8.0),
        FaultKind.LOSS: (0.5, 4.0),
        FaultKind.SPIKE: (0.2, 3.0),
        FaultKind.REORDER: (0.5, 5.0),
        FaultKind.DUPLICATE: (0.5, 5.0),
        FaultKind.SLOW: (0.3, 5.0),
        FaultKind.POLICY_FAILS: (0.05, 3.0),
        FaultKind.POLICY_RAVES: (0.05, 3.0),
        FaultKind.FULL: (0.3, 5.0),
        FaultKind.DRAIN: (0.3, 5.0),
        FaultKind.OPENS_DRAINING: (0.3, 5.0),
        FaultKind.FORGETS: (0.3, 5.0),
        FaultKind.BUSY: (0.3, 5.0),
        FaultKind.LATE_BY_ONE: (0.3, 5.0),
        FaultKind.SLOWER: (0.3, 5.0),
        FaultKind.LOOKUP: (0.1, 5.0),
        FaultKind.TLS: (0.1, 5.0),
        FaultKind.PAUSE: (2.0, 24.0),
        FaultKind.CAMERA: (0.05, 4.5),
        FaultKind.STALL: (0.02, 0.4),
        FaultKind.SLEEP: (0.3, 20.0),
        FaultKind.WEAK_DRIVER: (0.2, 4.0),
        FaultKind.BUS_STALL: (0.01, 0.19),
    }
)
_AMOUNTS: Mapping[FaultKind, tuple[float, float]] = MappingProxyType(
    {
        FaultKind.LOSS: (0.05, 0.6),
        FaultKind.SPIKE: (50.0, 900.0),
        FaultKind.REORDER: (20.0, 300.0),
        FaultKind.DUPLICATE: (20.0, 1500.0),
        FaultKind.SLOW: (5.0, 100.0),
        FaultKind.SLOWER: (1.2, 2.0),
        FaultKind.BAD_CHUNKS: (1.0, 2.999),
        FaultKind.GARBLE: (1.0, 2.999),
        FaultKind.WEAK_DRIVER: (0.0, 0.8),
        FaultKind.SLEEP: (0.2, 8.0),
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong; what `amount` and `choice` mean says `kind`."""

    kind: FaultKind
    at_ns: int
    lasts_ns: int
    amount: float
    choice: int

    @property
    def until_ns(self) -> int:
        """When it is over."""
        return self.at_ns + self.lasts_ns

    def __str__(self) -> str:
        lasts = f" for {self.lasts_ns / NS_PER_S:.2f} s" if self.lasts_ns else ""
        return f"{self.at_ns / NS_PER_S:.2f} s {self.kind.value}{lasts} ({self.amount:.2f})"


@dataclass(frozen=True, slots=True)
class Service:
    """The network, and how long an answer takes: see `ServiceTime`.

    `slow`: about as long as a chunk lasts, which the policy does not say.
    """

    link: LinkModel
    inference_ms: float
    latency_ms: float
    slow: bool


@dataclass(frozen=True, slots=True)
class Setting:
    """What the run is like without any fault."""

    action_hz: float
    rule: RequestRule
    aggregate: str
    safety: SafetyConfig
    service: Service


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """A minute of robot time; `apart` says that its faults do not overlap and the network is good."""

    seed: int
    setting: Setting
    faults: tuple[Fault, ...]
    apart: bool

    def __str__(self) -> str:
        rule = self.setting.rule
        return (
            f"seed {self.seed}: {rule.strategy.value} {self.setting.action_hz:.4g} Hz H={rule.horizon} "
            f"g={rule.threshold} s={rule.min_execution_steps} {self.setting.aggregate}"
            f"{' aligned' if rule.aligned and rule.strategy is Strategy.SYNC else ''}, "
            + "; ".join(str(fault) for fault in self.faults)
        )

    @property
    def ends(self) -> bool:
        """Whether it holds a fault that ends the run."""
        return any(fault.kind in ENDINGS for fault in self.faults)


def draw(seed: int) -> FaultPlan:
    """Returns the plan of `seed`."""
    dice = random.Random(seed)
    apart = dice.random() < 0.5
    setting = _setting(dice, apart, random.Random(f"other dice {seed}"))
    count = dice.randint(5, MOST_APART if apart else 10)
    times = _times(dice, count, apart)
    faults = [_fault(dice, dice.choice(_PASSING), at_s) for at_s in times]
    if apart:
        faults = [_shortened(fault, (_LAST_S - _FIRST_S) / count - 4.0) for fault in faults]
    if dice.random() < 0.25:
        faults[-1] = _fault(dice, dice.choice(ENDINGS), max(faults[-1].at_ns / NS_PER_S, 40.0))
    return FaultPlan(seed, setting, tuple(faults), apart)


def _setting(dice: random.Random, apart: bool, other_dice: random.Random) -> Setting:
    """Draws a setting; what `other_dice` say leaves everything else of a seed as it was without them."""
    action_hz = dice.choice(ACTION_RATES_HZ)
    rule = RequestRule(
        strategy=dice.choice(list(Strategy)),
        horizon=dice.choice((12, 20, 50) if action_hz < 20 else (25, 35, 50)),
        threshold=dice.choice((0.3, 0.5, 0.7, 1.0)),
        min_execution_steps=dice.choice((1, 5, 10)),
        aligned=other_dice.random() < 0.5,
    )
    aggregate = dice.choice(list(AGGREGATIONS))
    link = _link(dice, apart)
    inference_ms, latency_ms = dice.uniform(10.0, 60.0), dice.choice((0.0, 0.0, 250.0))
    slow = other_dice.random() < SLOW_SHARE
    if slow:
        latency_ms = other_dice.uniform(0.7, 1.3) * 1000 * rule.horizon / action_hz
    # The strictest that can be kept on this network when nothing is wrong; less holds for ever, rightly.
    round_trip_ns = int(
        (max(inference_ms, latency_ms) + 2.0 * (link.delay_ms + 3.0 * link.jitter_ms)) * NS_PER_MS
    )
    blends = rule.strategy is Strategy.ASYNC and AGGREGATIONS[aggregate] is not None
    strictest_ns = oldest_action_ns(rule, action_hz, round_trip_ns, blends)
    strict_ns = int(strictest_ns * dice.uniform(1.0, 1.3))
    safety = SafetyConfig(
        max_action_age_ns=dice.choice((None, strict_ns)),
        on_link_loss=dice.choice(list(OnLinkLoss)),
        resume=dice.choice(list(Resume)),
        hold_grace_ns=dice.choice((2, 4, 10)) * NS_PER_S,
        offline_limit_ns=dice.choice((12, 60)) * NS_PER_S,
        camera_limit_ns=dice.choice((5, 9)) * NS_PER_S,
    )
    return Setting(action_hz, rule, aggregate, safety, Service(link, inference_ms, latency_ms, slow))


def _link(dice: random.Random, apart: bool) -> LinkModel:
    if apart:
        return LinkModel(delay_ms=dice.uniform(0.2, 10.0), jitter_ms=dice.uniform(0.0, 2.0))
    return LinkModel(
        delay_ms=dice.uniform(0.2, 30.0),
        jitter_ms=dice.uniform(0.0, 20.0),
        loss=dice.choice((0.0, 0.0, 0.01, 0.03)),
        reorder=dice.random() < 0.5,
        duplicate=dice.choice((0.0, 0.05)),
    )


def _times(dice: random.Random, count: int, apart: bool) -> list[float]:
    if not apart:
        return sorted(dice.uniform(_FIRST_S, _LAST_S) for _ in range(count))
    slot_s = (_LAST_S - _FIRST_S) / count
    return [_FIRST_S + slot_s * index + dice.uniform(0.0, 1.0) for index in range(count)]


def _fault(dice: random.Random, kind: FaultKind, at_s: float) -> Fault:
    # Squared: short faults are commoner than long ones, and strike between two deadlines.
    shortest, longest = _LASTS_S.get(kind, (0.0, 0.0))
    lasts_s = shortest + (longest - shortest) * dice.random() ** 2
    amount = dice.uniform(*_AMOUNTS.get(kind, (0.0, 0.0)))
    return Fault(kind, int(at_s * NS_PER_S), int(lasts_s * NS_PER_S), amount, dice.randrange(1_000_000))


def _shortened(fault: Fault, most_s: float) -> Fault:
    """Returns the fault, over early enough for all to be well before the next one."""
    lasts_ns = min(fault.lasts_ns, int(most_s * NS_PER_S))
    amount = min(fault.amount, _SOON_S) if fault.kind is FaultKind.SLEEP else fault.amount
    return Fault(fault.kind, fault.at_ns, lasts_ns, amount, fault.choice)
