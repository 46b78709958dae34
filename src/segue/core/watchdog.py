"""From facts to a safety level: run, degrade, hold, latch or park.

Every tick the executor states the facts; `demand` turns them into the most
severe level that any of them asks for (levels are ordered, `max` wins), and
the table `MOVES` says what may follow what: HOLD is left only with a chunk
computed from an observation taken after it began, FAULT is latched and never
moves, PARK is entered from HOLD alone. Numbers are configuration; nothing here
reads a clock or moves anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType

NS_PER_S = 1_000_000_000

# A camera that fails again so soon had not recovered: its limit goes on counting.
CAMERA_FLAP_NS = NS_PER_S
BAD_CHUNKS_LIMIT = 3
MISSES_UNTIL_LOST = 2
# When the link was lost three times without an answer, it is listened for one that cannot be used.
LISTEN_AFTER = 3 * MISSES_UNTIL_LOST
LISTEN_NS = 10 * NS_PER_S


class SafetyLevel(IntEnum):
    """How well things are, from best to worst."""

    RUN = 0  # executing, or waiting for the first chunk
    DEGRADED = 1  # requests fail, the plan is still good
    STARVED = 2  # plan empty: the last target is held
    HOLD = 3  # held; goes on only with a chunk from a fresh observation
    FAULT = 4  # latched: held until a person looks
    PARK = 5  # slow move to the rest pose, then waiting there


class OnLinkLoss(StrEnum):
    """What to do with the plan when the link is lost."""

    PLAY_OUT = "play_out"
    STOP_NOW = "stop_now"


class Resume(StrEnum):
    """Who lets the arm go on after the computer slept."""

    ASK = "ask"
    AUTO = "auto"


class Cause(StrEnum):
    """Why a level is what it is."""

    FINE = "fine"
    STARTED = "started"
    REQUEST_FAILED = "request_failed"
    CAMERA = "camera"
    EMPTY_PLAN = "empty_plan"
    LINK_LOST = "link_lost"
    TOO_OLD = "action_too_old"
    OTHER_POLICY = "other_policy"
    BAD_CHUNKS = "bad_chunks"
    ROBOT = "robot"
    DANGER = "danger"
    SLEPT = "slept"
    PAUSED = "paused"
    STOP_ASKED = "stop_asked"
    DONE = "done"
    OFFLINE = "offline_limit"
    BLIND = "camera_limit"
    REFUSED = "refused"
    GRACE_OVER = "hold_grace_over"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True)
class Choices:
    """What an arm does by itself, and what it leaves to a person.

    Attributes:
        on_link_loss: what becomes of the plan.
        resume: after the computer slept; who stood beside the arm before may be anywhere by then.
    """

    on_link_loss: OnLinkLoss = OnLinkLoss.PLAY_OUT
    resume: Resume = Resume.ASK


@dataclass(frozen=True, slots=True)
class SafetyConfig(Choices):
    """The choices, and the numbers of FAULTS.md; all are configuration.

    Attributes:
        max_action_age_ns: the most that H / action_hz + 2 x forecast may come to; None pins it when
            the run begins (`feasibility.age_ceiling_ns`).
        play_out_ns: how much of the plan is played after the link was lost, at most.
        hold_ramp_ns, resume_ramp_ns: ramps into a hold and out of it.
        park_ns: longest duration of the move to the rest pose.
    """

    max_action_age_ns: int | None = None
    play_out_ns: int = 1 * NS_PER_S
    hold_grace_ns: int = 10 * NS_PER_S
    offline_limit_ns: int = 60 * NS_PER_S
    camera_limit_ns: int = 30 * NS_PER_S
    hold_ramp_ns: int = NS_PER_S // 5
    resume_ramp_ns: int = 3 * NS_PER_S // 10
    park_ns: int = 4 * NS_PER_S
    min_deadline_ns: int = NS_PER_S // 2

    def action_age_limit_ns(self, horizon: int, action_hz: float, forecast_ns: int) -> int:
        """Returns the oldest an action may be when it begins: now - capture of its observation."""
        natural = int(horizon * NS_PER_S / action_hz) + 2 * forecast_ns
        return natural if self.max_action_age_ns is None else min(natural, self.max_action_age_ns)

    def request_deadline_ns(
        self, forecast_ns: int, age_limit_ns: int, overdue: int = 0, ceiling_ns: int | None = None
    ) -> int:
        """Returns how long to wait for a reply: 2 x forecast between 500 ms and the age limit.

        Args:
            forecast_ns: the delay forecast.
            age_limit_ns: an answer that comes later could not be used, as far as is known.
            overdue: deadlines that passed since the forecast last learnt anything.
            ceiling_ns: an answer that comes later could not be used whatever is learnt; None for the limit.
        """
        wait_ns = min(max(2 * forecast_ns, self.min_deadline_ns), age_limit_ns)
        return self._patient_ns(wait_ns, overdue, age_limit_ns if ceiling_ns is None else ceiling_ns)

    def first_deadline_ns(self, expected_ns: int, ceiling_ns: int, overdue: int = 0) -> int:
        """Returns how long to wait for the first reply after a handshake, which may be a cold one.

        Args:
            expected_ns: the handshake's round trip and the warm inference that the policy declares.
            ceiling_ns: an answer that comes later could not be used whatever is learnt.
            overdue: deadlines that passed since the forecast last learnt anything.
        """
        return self._patient_ns(max(2 * NS_PER_S, 3 * expected_ns), overdue, ceiling_ns)

    def _patient_ns(self, wait_ns: int, overdue: int, ceiling_ns: int) -> int:
        """Returns `wait_ns`, doubled for each so many deadlines that passed as lose the link.

        A server that became slower than its deadline would otherwise miss every one, and the
        forecast would never hear of it. Where an answer that is still of use does not come either,
        the wait goes on beyond: such an answer moves nothing, but it tells how long answers take.
        """
        patience = 1 << min(overdue // MISSES_UNTIL_LOST, 16)
        most_ns = max(ceiling_ns, LISTEN_NS) if overdue >= LISTEN_AFTER else ceiling_ns
        return min(wait_ns * patience, most_ns)


@dataclass(slots=True)
class Spell:
    """Since when something fails; a recovery shorter than `CAMERA_FLAP_NS` does not interrupt it."""

    since_ns: int = 0
    until_ns: int = -CAMERA_FLAP_NS

    def begin(self, now_ns: int) -> None:
        """Notes that it fails from now on."""
        if now_ns - self.until_ns >= CAMERA_FLAP_NS:
            self.since_ns = now_ns

    def end(self, now_ns: int) -> None:
        """Notes that it works from now on."""
        self.until_ns = now_ns


@dataclass(slots=True)
class LinkTroubles:
    """What is wrong with the link, as far as anybody has said.

    Attributes:
        misses: requests or dials that failed in a row.
        overdue: deadlines that passed since the forecast last learnt anything.
        lost_since_ns: when the second miss in a row came; None while the link is good.
        said: why requests fail, in the words of the last failure that said more than silence.
        ends_as: the `ExitReason` of a run in which that goes on; None while nothing was said.
    """

    misses: int = 0
    overdue: int = 0
    lost_since_ns: int | None = None
    said: str = ""
    ends_as: str | None = None

    def words(self) -> str:
        """Returns why requests fail, in words; empty while none do."""
        return self.said if self.misses else ""

    def failed(self, cause: str, ends_as: str | None = None) -> None:
        """Notes why a request or a dial failed; silence takes nothing back that was said."""
        if ends_as or not self.said:
            self.said, self.ends_as = cause, ends_as

    def well(self) -> None:
        """Notes that the link works: a chunk came, or in a pause a session was opened."""
        self.misses, self.lost_since_ns = 0, None
        self.said, self.ends_as = "", None


@dataclass(slots=True)
class Troubles:
    """What is wrong at present, as far as anybody has said; the executor keeps it up to date.

    Attributes:
        link: what is wrong with the link.
        bad_chunks: rejected chunks in a row.
        camera: which failed and how, in words; None when all work.
        camera_spell: since when.
        latched: what is wrong with the robot (ROBOT: it failed, DANGER: it says that it is not
            safe), in words; the first of them stays.
        other_policy: which policy came instead of the agreed one, in words.
        paused: the arm is to rest until somebody says go, as between two episodes.
        stop: why an orderly stop is due; None when none is.
    """

    link: LinkTroubles = field(default_factory=LinkTroubles)
    bad_chunks: int = 0
    camera: str | None = None
    camera_spell: Spell = field(default_factory=Spell)
    latched: tuple[Cause, str] | None = None
    other_policy: str | None = None
    paused: bool = False
    stop: Cause | None = None

    @property
    def rest(self) -> Cause | None:
        """Why the arm is to go to rest: to end, or for a pause; None when it is not."""
        return self.stop or (Cause.PAUSED if self.paused else None)

    def words(self) -> str:
        """Returns what failed beside the link, in words; empty when nothing did."""
        return (self.latched[1] if self.latched else None) or self.camera or self.other_policy or ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The state of the plan at one tick.

    Attributes:
        left: planned actions.
        under_way: an action is being executed.
        waiting: nothing was planned yet since the start, or the pause of `sync`.
        fresh_chunk: a chunk of the present epoch has been merged.
        next_age_ns: age of the next action, None without one.
        asked_age_ns: age of the observation behind the outstanding request, None without one.
        age_limit_ns: oldest that either may be.
    """

    left: int
    under_way: bool
    waiting: bool
    fresh_chunk: bool
    next_age_ns: int | None
    asked_age_ns: int | None
    age_limit_ns: int


# From a level, the demanded level is taken when it is listed; otherwise the level stays.
# RUN in the row of HOLD and PARK is taken with a fresh chunk only (see `Watchdog.update`).
_RUNNING = frozenset({SafetyLevel.RUN, SafetyLevel.DEGRADED, SafetyLevel.STARVED})
MOVES = MappingProxyType(
    {
        SafetyLevel.RUN: _RUNNING | {SafetyLevel.HOLD, SafetyLevel.FAULT},
        SafetyLevel.DEGRADED: _RUNNING | {SafetyLevel.HOLD, SafetyLevel.FAULT},
        SafetyLevel.STARVED: _RUNNING | {SafetyLevel.HOLD, SafetyLevel.FAULT},
        SafetyLevel.HOLD: frozenset(
            {SafetyLevel.RUN, SafetyLevel.DEGRADED, SafetyLevel.PARK, SafetyLevel.FAULT}
        ),
        SafetyLevel.PARK: frozenset({SafetyLevel.RUN, SafetyLevel.DEGRADED, SafetyLevel.FAULT}),
        SafetyLevel.FAULT: frozenset[SafetyLevel](),
    }
)


def demand(facts: Facts, troubles: Troubles, config: SafetyConfig, now_ns: int) -> tuple[SafetyLevel, Cause]:
    """Returns the most severe level that the facts ask for, and why."""
    return max(_demands(facts, troubles, config, now_ns), key=lambda d: d[0])


def _demands(
    facts: Facts, troubles: Troubles, config: SafetyConfig, now_ns: int
) -> list[tuple[SafetyLevel, Cause]]:
    found = [(SafetyLevel.RUN, Cause.FINE)]
    dry = facts.left == 0 and not facts.under_way
    if troubles.link.misses:
        found.append((SafetyLevel.DEGRADED, Cause.REQUEST_FAILED))
    if troubles.camera is not None:
        found.append((SafetyLevel.HOLD if dry else SafetyLevel.DEGRADED, Cause.CAMERA))
    if dry and not facts.waiting:
        found.append((SafetyLevel.STARVED, Cause.EMPTY_PLAN))
    if _too_old(facts):
        found.append((SafetyLevel.HOLD, Cause.TOO_OLD))
    if troubles.link.lost_since_ns is not None and (
        dry or _play_out_is_over(troubles.link.lost_since_ns, config, now_ns)
    ):
        found.append((SafetyLevel.HOLD, Cause.LINK_LOST))
    if troubles.other_policy is not None:
        found.append((SafetyLevel.HOLD, Cause.OTHER_POLICY))
    if troubles.rest is not None:
        found.append((SafetyLevel.HOLD, troubles.rest))
    if troubles.bad_chunks >= BAD_CHUNKS_LIMIT:
        found.append((SafetyLevel.FAULT, Cause.BAD_CHUNKS))
    if troubles.latched is not None:
        found.append((SafetyLevel.FAULT, troubles.latched[0]))
    return found


def _too_old(facts: Facts) -> bool:
    """Whether the next action, or while dry the request that is awaited, has passed the age limit."""
    dry = facts.left == 0 and not facts.under_way
    age = facts.asked_age_ns if dry else facts.next_age_ns
    return age is not None and age > facts.age_limit_ns


def _play_out_is_over(lost_since_ns: int, config: SafetyConfig, now_ns: int) -> bool:
    if config.on_link_loss is OnLinkLoss.STOP_NOW:
        return True
    return now_ns - lost_since_ns >= config.play_out_ns


@dataclass(frozen=True, slots=True)
class LevelChange:
    """The fact that the level changed."""

    before: SafetyLevel
    after: SafetyLevel
    cause: Cause


class Watchdog:
    """Holds the present level and since when; `waits_for_go` since the computer slept."""

    def __init__(self, config: SafetyConfig) -> None:
        self.config = config
        self.level = SafetyLevel.RUN
        self.cause = Cause.STARTED
        self.since_ns = 0
        self.now_ns = 0
        self.waits_for_go = False

    def __repr__(self) -> str:
        return f"<Watchdog {self.level.name} cause={self.cause.value}>"

    def update(self, facts: Facts, troubles: Troubles, now_ns: int) -> LevelChange | None:
        """Moves to the level that the facts demand, as far as `MOVES` allows; returns the change, if any."""
        self.now_ns = now_ns
        wanted, cause = demand(facts, troubles, self.config, now_ns)
        if self.level in (SafetyLevel.HOLD, SafetyLevel.PARK):
            wanted, cause = self._from_rest(wanted, cause, facts, troubles, now_ns)
        if wanted == self.level or wanted not in MOVES[self.level]:
            return None
        change = LevelChange(self.level, wanted, cause)
        self.level, self.cause, self.since_ns = wanted, cause, now_ns
        return change

    def slept(self, now_ns: int) -> LevelChange | None:
        """Holds from `now_ns` on, even on the way to rest; returns the change, None in HOLD and FAULT."""
        if self.level is SafetyLevel.FAULT:
            return None
        before, self.level = self.level, SafetyLevel.HOLD
        self.cause, self.since_ns = Cause.SLEPT, now_ns
        self.waits_for_go = self.config.resume is Resume.ASK
        return LevelChange(before, self.level, self.cause) if before is not self.level else None

    def go_on(self, now_ns: int) -> bool:
        """Ends the waiting for a person's go; returns whether there was any. The grace begins anew."""
        waited, self.waits_for_go = self.waits_for_go, False
        if waited:
            self.since_ns = now_ns
        return waited

    def _from_rest(
        self, wanted: SafetyLevel, cause: Cause, facts: Facts, troubles: Troubles, now_ns: int
    ) -> tuple[SafetyLevel, Cause]:
        """Decides what follows HOLD or PARK."""
        if wanted is SafetyLevel.FAULT:
            return wanted, cause
        if self.waits_for_go:  # whatever moves an arm, to rest as well
            return self.level, self.cause
        if wanted < SafetyLevel.HOLD and facts.fresh_chunk and facts.left:
            return min(wanted, SafetyLevel.DEGRADED), Cause.RESUMED
        ramp_is_over = now_ns - self.since_ns >= self.config.hold_ramp_ns
        if self.level is SafetyLevel.HOLD:
            if troubles.rest is not None and ramp_is_over:
                return SafetyLevel.PARK, troubles.rest
            if now_ns - self.since_ns >= self.config.hold_grace_ns:
                return SafetyLevel.PARK, Cause.GRACE_OVER
        return self.level, self.cause
