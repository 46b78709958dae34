"""A second opinion on a simulated run: plan, request and reasons, worked out again from what was said.

The checker sees only commands. The oracle sees what the executor asked, took,
dropped and announced as well, and keeps its own books of them, with none of
the executor's code: which request is open, how many steps were begun since,
which action of which chunk stands for which step, how many failures came in a
row. Where the executor acts against these books, a `Finding` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from segue.clock import NS_PER_S
from segue.core.facts import (
    ChunkDropped,
    ChunkTaken,
    Event,
    ExecutorConfig,
    ExitReason,
    LevelChanged,
    RequestMissed,
    Tick,
)
from segue.core.schedule import DropReason
from segue.core.types import ChunkRequest, FloatArray, Strategy
from segue.core.watchdog import Cause, Resume, SafetyLevel
from segue.testing.asking import AskingBooks
from segue.testing.faults import MODEL_SCALE
from segue.testing.simulation import KeptTick

# A run that is to end for one of these parks as soon as it holds.
_ENDS = (
    Cause.DONE,
    Cause.STOP_ASKED,
    Cause.OFFLINE,
    Cause.BLIND,
    Cause.OTHER_POLICY,
    Cause.REFUSED,
    Cause.PAUSED,
)
_AT_REST = (SafetyLevel.HOLD, SafetyLevel.FAULT)
_BAD = (DropReason.BAD_SHAPE, DropReason.NOT_FINITE, DropReason.OUT_OF_RANGE)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be: when, which rule, and in words."""

    t_ns: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule} at {self.t_ns / NS_PER_S:.2f} s: {self.text}"


@dataclass(slots=True)
class _Open:
    """The request that is awaited, and how many steps had begun when it was made.

    `doubtful`: while a camera fails a request may be given up without a word.
    """

    request: ChunkRequest
    begun: int
    doubtful: bool = False


@dataclass(slots=True)
class _Tally:
    """What adds up over a run.

    Attributes:
        begun, merged, skipped: actions.
        issued: the newest request number.
        misses, bad: failures and bad chunks in a row.
        lost_since_ns: since the second failure in a row; the longest such time is `longest_lost_ns`.
        blind_since_ns, longest_blind_ns: the same of the cameras.
    """

    begun: int = 0
    merged: int = 0
    skipped: int = 0
    issued: int = 0
    misses: int = 0
    bad: int = 0
    lost_since_ns: int | None = None
    longest_lost_ns: int = 0
    blind_since_ns: int | None = None
    longest_blind_ns: int = 0


@dataclass(slots=True)
class _Hold:
    """The present rest, and where the arm is to be in it."""

    since_ns: int
    origin: FloatArray
    target: FloatArray | None


@dataclass(slots=True)
class _State:
    """Where the run stands, by the oracle's own books."""

    epoch: int = 1
    level: SafetyLevel = SafetyLevel.RUN
    applied: FloatArray | None = None
    sent: FloatArray | None = None
    awaited: _Open | None = None
    hold: _Hold | None = None
    taken_in_epoch: bool = False
    bad_limit_passed: bool = False
    linked: bool = False
    plan: dict[int, FloatArray] = field(default_factory=dict)


class Oracle:
    """Goes through a run tick by tick."""

    def __init__(self, config: ExecutorConfig) -> None:
        self.findings: list[Finding] = []
        self.tally = _Tally()
        self._config = config
        self._asking = AskingBooks(config)
        self._state = _State()
        self._now_ns = 0
        self._waits = False  # for a person's go, after a sleep
        self._low, self._high = (config.action.array(side) for side in ("low", "high"))
        self._reach = config.action.array("max_speed") / config.control_hz

    def __repr__(self) -> str:
        return f"<Oracle {self.tally.begun} begun, {len(self.findings)} findings>"

    def judge(self, ticks: Sequence[KeptTick]) -> list[Finding]:
        """Returns what was wrong, in order of time."""
        for kept in ticks:
            self._now_ns = kept.row.t_ns
            self._tick(kept)
        return self.findings

    def _tick(self, kept: KeptTick) -> None:
        state, tick = self._state, kept.tick
        state.linked = kept.linked
        self._asking.begins(kept.linked)
        self._note_sleep(kept)
        self._note_blindness(kept.blind)
        self._note_epoch(kept)
        for event in tick.events:
            self._event(event)
        self._expect(state.level is tick.level, "level", f"{tick.level.name} was not announced")
        if state.awaited is not None:
            state.awaited.doubtful |= kept.blind
        self._rule_6(kept)
        if tick.request is not None:
            self._asked(tick.request)
        if tick.began is not None:
            self._began(tick)
        self._at_rest(tick)
        self._waiting(kept)
        if tick.exit is not None:
            self._ended(tick.exit)
        self._books(kept)
        if kept.paused:
            self._paused(kept)
        state.sent = tick.action
        state.applied = state.applied if kept.applied is None else kept.applied

    @property
    def _step(self) -> int:
        """The next step: those that were begun, and those that were gone past."""
        return self.tally.begun + self._asking.jumped

    def _expect(self, holds: bool, rule: str, text: str) -> None:
        if not holds:
            self.findings.append(Finding(self._now_ns, rule, text))

    # --- events -------------------------------------------------------------------------------

    def _note_epoch(self, kept: KeptTick) -> None:
        """Tells a reset, which nobody announces, from a hold, which is; each begins one epoch."""
        state = self._state
        rests = sum(isinstance(e, LevelChanged) and e.change.after in _AT_REST for e in kept.tick.events)
        resets = kept.row.epoch - state.epoch - rests
        self._expect(resets >= 0, "epoch", f"{rests} holds began but the epoch went up by {rests + resets}")
        if resets > 0:
            self._forget()
        state.epoch = kept.row.epoch

    def _note_sleep(self, kept: KeptTick) -> None:
        """Lets every limit begin anew after a sleep, and after the go that ends the waiting."""
        state, tally = self._state, self.tally
        if not (kept.slept or kept.went):
            return
        if kept.slept:
            self._waits = self._config.safety.resume is Resume.ASK and state.level is not SafetyLevel.FAULT
        if kept.went:
            self._waits = False
        lost = tally.lost_since_ns is not None and not kept.linked
        tally.misses = tally.misses if lost else 0
        tally.lost_since_ns = self._now_ns if lost else None
        tally.blind_since_ns = None
        if state.hold is not None:
            state.hold.since_ns = self._now_ns

    def _waiting(self, kept: KeptTick) -> None:
        """Checks that a sleep holds the arm, and that nothing is done until a person says go."""
        tick = kept.tick
        held = tick.level in _AT_REST
        self._expect(held or not kept.slept, "slept", f"{tick.level.name} in the tick after a sleep")
        if self._waits:
            idle = tick.request is None and tick.began is None
            self._expect(idle and held, "go", f"{tick.level.name}, or more, before a person said go")

    def _forget(self) -> None:
        self._state.plan.clear()
        self._state.awaited = None
        self._state.taken_in_epoch = False

    def _note_blindness(self, blind: bool) -> None:
        tally = self.tally
        if not blind:
            tally.blind_since_ns = None
            return
        tally.blind_since_ns = self._now_ns if tally.blind_since_ns is None else tally.blind_since_ns
        tally.longest_blind_ns = max(tally.longest_blind_ns, self._now_ns - tally.blind_since_ns)

    def _event(self, event: Event) -> None:
        tally, awaited = self.tally, self._state.awaited
        match event:
            case ChunkTaken():
                self._taken(event)
            case ChunkDropped():
                if awaited and (event.number, event.epoch) == (awaited.request.number, awaited.request.epoch):
                    self._state.awaited = None
                    if event.reason is DropReason.ALL_PAST:
                        self._all_past(awaited, event.delay_steps)
                    elif event.reason is DropReason.TOO_OLD:
                        round_trip_ns = self._now_ns - awaited.request.requested_ns
                        self._note(self._asking.too_old(round_trip_ns, event.delay_steps, self._state.linked))
                    elif event.reason in _BAD:
                        tally.bad += 1
                        self._state.bad_limit_passed |= tally.bad >= 3
            case RequestMissed():
                self._asking.missed(event)
                if awaited and event.number == awaited.request.number:
                    self._state.awaited = None
                tally.misses += 1
                if tally.misses >= 2 and tally.lost_since_ns is None:
                    tally.lost_since_ns = self._now_ns
            case LevelChanged():
                self._changed(event)

    def _good_news(self) -> None:
        tally = self.tally
        tally.bad = 0
        if not self._state.linked:
            return  # an answer that came just before the link broke says nothing of it now
        if tally.lost_since_ns is not None:
            tally.longest_lost_ns = max(tally.longest_lost_ns, self._now_ns - tally.lost_since_ns)
        tally.misses, tally.lost_since_ns = 0, None

    def _note(self, wrong: str) -> None:
        self._expect(not wrong, "forecast", wrong)

    def _learn(self, request: ChunkRequest, said: int | None) -> None:
        """Lets the books of delays learn from an answer that was taken."""
        round_trip_ns = self._now_ns - request.requested_ns
        self._note(self._asking.answered(request, round_trip_ns, said, self._state.linked))

    def _all_past(self, awaited: _Open, delay_steps: int | None) -> None:
        begun = self.tally.begun - awaited.begun
        self._expect(begun > 0, "all_past", f"{begun} steps begun since, and a chunk was all past")
        self._learn(awaited.request, delay_steps)
        self._good_news()

    def _taken(self, event: ChunkTaken) -> None:
        state, chunk, tally = self._state, event.chunk, self.tally
        self._good_news()
        pauses = state.taken_in_epoch and state.level < SafetyLevel.HOLD
        state.taken_in_epoch = True
        awaited, state.awaited = state.awaited, None
        if awaited is None:
            self._expect(False, "stale", f"chunk {chunk.request_number} was taken, nothing was asked")
            return
        request = awaited.request
        same = (chunk.request_number, chunk.epoch, chunk.start_step) == (
            request.number,
            request.epoch,
            request.start_step,
        )
        text = f"chunk {chunk.request_number} of epoch {chunk.epoch} answered request {request.number}"
        self._expect(same, "stale", text)
        expected = self._asking.asked.forecast if self._asking.asked else None
        right = expected in (None, event.forecast_steps)
        self._expect(right, "forecast", f"{event.forecast_steps} were forecast, must be {expected}")
        self._learn(request, event.delay_steps)
        used = np.clip(chunk.robot_actions[: self._config.rule.horizon], self._low, self._high)
        jumped = self._jumped(request, len(used)) if pauses else 0
        due, said = jumped + tally.begun - awaited.begun, event.merged.skipped
        self._expect(said == due, "skip", f"{said} actions skipped, {due} steps begun since the request")
        tally.merged += len(used)
        tally.skipped += due
        for index, target in enumerate(used[due:], due):
            state.plan[request.start_step + index] = target

    def _jumped(self, request: ChunkRequest, length: int) -> int:
        """Returns how far `sync` goes after a pause to be where the time is, if anything is left there."""
        rule = self._config.rule
        if rule.strategy is not Strategy.SYNC or not rule.aligned:
            return 0
        passed = self._asking.passed(self._now_ns - request.requested_ns)
        jumped = passed if passed < length else 0
        self._asking.jumped += jumped
        return jumped

    def _changed(self, event: LevelChanged) -> None:
        state, change = self._state, event.change
        if change.before in (SafetyLevel.HOLD, SafetyLevel.PARK) and change.after < SafetyLevel.HOLD:
            text = "the arm went on without a chunk that was asked for after it stopped"
            self._expect(state.taken_in_epoch and bool(state.plan), "resume", text)
            state.hold = None
        if change.after in _AT_REST:
            self._forget()
            target = state.applied if state.applied is not None else state.sent
            if target is not None and state.sent is not None:
                state.hold = _Hold(self._now_ns, state.sent, np.clip(target, self._low, self._high))
        if change.after is SafetyLevel.PARK:
            self._parks(event)
        state.level = change.after

    def _parks(self, event: LevelChanged) -> None:
        state = self._state
        held_ns = self._now_ns - state.hold.since_ns if state.hold else 0
        grace_over = held_ns >= self._config.safety.hold_grace_ns
        right = grace_over or event.change.cause in _ENDS
        self._expect(right, "park", f"parked after {held_ns / NS_PER_S:.2f} s of hold")
        if state.sent is not None:
            state.hold = _Hold(self._now_ns, state.sent, None)

    def _paused(self, kept: KeptTick) -> None:
        """In a pause nothing is asked; a session that is open says that the link is well."""
        self._expect(kept.tick.request is None, "pause", "a request in a pause")
        if kept.linked:
            self.tally.misses, self.tally.lost_since_ns = 0, None

    # --- what the tick does -------------------------------------------------------------------

    def _asked(self, request: ChunkRequest) -> None:
        state, tally = self._state, self.tally
        free = state.awaited is None or state.awaited.doubtful
        self._expect(free, "two_requests", f"request {request.number} while one is awaited")
        right = request.number == tally.issued + 1
        self._expect(right, "number", f"request {request.number} follows {tally.issued}")
        self._expect(request.epoch == state.epoch, "epoch", f"request of epoch {request.epoch}")
        tally.issued = max(tally.issued, request.number)
        state.awaited = _Open(request, tally.begun)
        self._asking.ask()
        start = request.start_step
        self._expect(start == self._step, "start_step", f"{start}, the next step is {self._step}")
        self._leftover(request)

    def _rule_6(self, kept: KeptTick) -> None:
        """Checks that a chunk is asked for when it is time, and not before."""
        state, tick, step = self._state, kept.tick, self._step
        if tick.level >= SafetyLevel.HOLD:
            return  # nothing planned counts there, so whatever is asked is asked rightly
        left = sum(planned >= step for planned in state.plan)
        due = self._asking.due(left, step)
        if tick.request is not None:
            self._expect(due is not False, "early", f"asked at step {step} with {left} left")
            return
        may_ask = state.awaited is None and kept.linked and not kept.blind
        boundary = tick.began is not None or tick.level is SafetyLevel.STARVED
        if may_ask and boundary:
            self._expect(due is not True, "late", f"not asked at step {step} with {left} left")

    def _leftover(self, request: ChunkRequest) -> None:
        planned = [step for step in self._state.plan if step >= request.start_step]
        if self._config.rule.strategy is not Strategy.RTC or not planned:
            self._expect(request.leftover is None, "leftover", "there is none to continue")
            return
        expected = np.array([self._state.plan[step] for step in sorted(planned)])
        said = request.leftover
        if said is None or said.robot_actions.shape != expected.shape:
            self._expect(False, "leftover", f"{said and len(said)} actions, {len(expected)} are planned")
            return
        same = np.array_equal(said.robot_actions, expected)
        self._expect(same, "leftover", "other actions than those planned")
        self._expect(1 <= request.delay_steps <= len(expected), "delay", f"{request.delay_steps}")
        model = said.model_actions
        intact = model is None or np.allclose(model * MODEL_SCALE, expected)
        self._expect(intact, "leftover", "model actions that are not behind the plan")

    def _began(self, tick: Tick) -> None:
        state, began = self._state, tick.began
        if began is None:
            return
        text = f"step {began.step} began, the next was {self._step}"
        self._expect(began.step == self._step, "step", text)
        planned = state.plan.pop(self._step, None)
        self._expect(planned is not None, "plan", f"step {began.step} began and was not planned")
        blends = self._config.blend is not None
        right = blends or planned is None or np.array_equal(planned, began.target)
        self._expect(right, "plan", f"step {began.step} began with another action than was planned")
        self.tally.begun += 1

    def _at_rest(self, tick: Tick) -> None:
        """Checks that a hold is where the driver last was, and that nothing but parking moves."""
        hold, safety = self._state.hold, self._config.safety
        if tick.level not in _AT_REST or hold is None or hold.target is None:
            return
        passed_ns = self._now_ns - hold.since_ns
        if passed_ns < safety.hold_ramp_ns:
            return
        # Where the speed limit held it back it may still be on its way, as fast as it may.
        ticks = passed_ns * self._config.control_hz / NS_PER_S
        late = np.maximum(0.0, np.abs(hold.target - hold.origin) - self._reach * ticks)
        there = bool((np.abs(tick.action - hold.target) <= late + 1e-9).all())
        off = float(np.abs(tick.action - hold.target).max())
        self._expect(there, "hold", f"{off:.4g} away from where the driver was when the hold began")

    def _ended(self, reason: ExitReason) -> None:
        tally, safety, state = self.tally, self._config.safety, self._state
        if tally.lost_since_ns is not None:
            tally.longest_lost_ns = max(tally.longest_lost_ns, self._now_ns - tally.lost_since_ns)
        allowed = {
            ExitReason.LINK_LOST: tally.longest_lost_ns >= safety.offline_limit_ns,
            ExitReason.OVERLOADED: tally.longest_lost_ns >= safety.offline_limit_ns,
            ExitReason.POLICY_FAILED: tally.longest_lost_ns >= safety.offline_limit_ns,
            ExitReason.PROTOCOL: tally.longest_lost_ns >= safety.offline_limit_ns,
            ExitReason.CAMERA: tally.longest_blind_ns >= safety.camera_limit_ns,
            ExitReason.BAD_CHUNKS: state.bad_limit_passed,
        }
        self._expect(allowed.get(reason, True), "exit", f"{reason.value} without its reason")
        latched = reason in (ExitReason.BAD_CHUNKS, ExitReason.ROBOT)
        right = state.level is (SafetyLevel.FAULT if latched else SafetyLevel.PARK)
        self._expect(right, "exit", f"{reason.value} in {state.level.name}")

    def _books(self, kept: KeptTick) -> None:
        tally, counts, left = self.tally, kept.counts, kept.row.left
        balanced = counts.merged == counts.executed + counts.skipped + counts.replaced + left
        self._expect(balanced, "books", f"{counts} with {left} left do not add up")
        mine = (tally.merged, tally.begun, tally.skipped, len(self._state.plan))
        theirs = (counts.merged, counts.executed, counts.skipped, left)
        self._expect(mine == theirs, "books", f"merged, executed, skipped, left: {theirs}, must be {mine}")
