"""The one object that ties the core together: ticks and events in, commands and requests out.

On a tick that may begin a step the order is fixed (TIMELINE rule 2): drain the
inbox and merge, judge the situation, decide whether to ask, begin the step. So
observation, step and leftover of a request are one snapshot of one tick, and
the leftover includes the action that begins right after. In mid-step nothing is
merged and nothing is asked. The executor owns no clock, thread or robot; it
never waits, and whatever arrives when, no step is begun twice or backwards.

    tick = executor.tick(now_ns, observation)
    if tick.request is not None: outbox.put(tick.request)
    executor.applied(robot.write(tick.action))
"""

from __future__ import annotations

from dataclasses import replace

from segue.core.check import BAD_CHUNK, fault_of
from segue.core.delay import DelayForecast
from segue.core.facts import (
    CAUSES,
    DEADLINE,
    ChunkDropped,
    ChunkTaken,
    ExecutorConfig,
    ExitReason,
    LevelChanged,
    RequestMissed,
    SessionOpened,
    Tick,
)
from segue.core.history import ObservationHistory
from segue.core.interpolate import StepGrid
from segue.core.limits import finite
from segue.core.merge import Plan
from segue.core.motion import Motion
from segue.core.pace import Pace
from segue.core.queue import ActionQueue, Merged, PlannedAction
from segue.core.schedule import DropReason, Outstanding, RequestScheduler
from segue.core.specs import Kind
from segue.core.state import Mail, Session
from segue.core.types import ActionChunk, ChunkRequest, FloatArray, Observation, Strategy
from segue.core.watchdog import (
    MISSES_UNTIL_LOST,
    NS_PER_S,
    Cause,
    Facts,
    LevelChange,
    SafetyLevel,
    Troubles,
    Watchdog,
)


class ChunkExecutor:
    """Executes chunks on one robot."""

    def __init__(self, config: ExecutorConfig, pose: FloatArray) -> None:
        """Starts at rest.

        Args:
            config: the session's configuration.
            pose: present position of the robot, shape (A,): the first command continues from here.
        """
        self.config = config
        self.queue = ActionQueue(config.action.mask(Kind.DISCRETE))
        self.scheduler = RequestScheduler(config.rule)
        self.pace = Pace(config)
        self.watchdog = Watchdog(config.safety)
        grid = StepGrid.of(config.action_hz, config.control_hz)
        self.motion = Motion(config.action, grid, config.control_hz, pose)
        self.troubles = Troubles()
        self._session = Session()
        past = ObservationHistory(config.history_steps, config.action_hz, config.control_hz)
        self._mail = Mail(past)

    def __repr__(self) -> str:
        return f"<ChunkExecutor {self.watchdog.level.name} epoch={self.epoch} {self.queue!r}>"

    @property
    def step(self) -> int:
        """Index of the next action not yet begun."""
        return self.queue.step

    @property
    def epoch(self) -> int:
        """The present epoch."""
        return self._session.epoch

    @property
    def ticks(self) -> int:
        """How many ticks it has made."""
        return self._session.tick + 1

    @property
    def rested(self) -> bool:
        """Whether the arm is parked and has arrived there."""
        return self.watchdog.level is SafetyLevel.PARK and self.motion.arrived(self._session.tick)

    @property
    def forecast(self) -> DelayForecast:
        """The delay that is expected of the next request."""
        return self.pace.forecast

    @property
    def age_limit_ns(self) -> int:
        """The oldest an action may be when it begins."""
        return self.pace.age_limit_ns

    def words(self) -> str:
        """Returns what is wrong, in words; empty when nothing is or nobody said more."""
        return self.troubles.words() or self.pace.hopeless() or self.troubles.link.words()

    # --- what the outside reports -------------------------------------------------------------

    def link_opened(self, handshake: SessionOpened) -> None:
        """Notes that a session is open: requests may be sent, and the first reply is a cold one."""
        session = self._session
        if session.policy_hash is not None and handshake.policy_hash != session.policy_hash:
            self.troubles.other_policy = _instead(handshake.policy_hash, session.policy_hash)
        session.policy_hash = session.policy_hash or handshake.policy_hash
        session.ready = True
        self.pace.opened(handshake)
        if self.troubles.paused:  # nothing is asked, so no chunk can come to say that the link is well again
            self.troubles.link.well()

    def link_closed(self, now_ns: int, cause: str, ends_as: ExitReason | None = None) -> None:
        """Notes that the channel is gone; until it is opened again nothing is asked."""
        self._session.ready = False
        self.request_failed(now_ns, 0, cause, ends_as)

    def link_process_gone(self, now_ns: int) -> None:
        """Notes that the process beside us is dead: lost at once, there is nobody to try again."""
        self._session.ready = False
        cancelled = self._cancel()
        self.troubles.link.misses = max(self.troubles.link.misses, MISSES_UNTIL_LOST)
        if self.troubles.link.lost_since_ns is None:
            self.troubles.link.lost_since_ns = now_ns
        self._mail.events.append(RequestMissed(cancelled.number if cancelled else 0, "link process gone"))

    def request_failed(self, now_ns: int, number: int, cause: str, ends_as: ExitReason | None = None) -> None:
        """Notes that request `number` (0: whichever is outstanding) failed; two in a row lose the link.

        Args:
            now_ns: of the present tick.
            number: of the request.
            cause: in words.
            ends_as: the end of a run in which it goes on like this; None when nothing was said.
        """
        cancelled = self._cancel(number or None)
        if number and cancelled is None:
            return  # of a request that was given up or answered before
        if number and self.troubles.camera is not None:
            return  # without pictures there was nothing to send, which says nothing about the link
        self.troubles.link.failed(cause, ends_as)
        self.troubles.link.overdue += cause == DEADLINE
        self._miss(now_ns, cancelled.number if cancelled else 0, cause)

    def receive(self, chunk: ActionChunk) -> None:
        """Puts a reply into the inbox, which is drained on the next tick that may begin a step."""
        self._mail.inbox.append(chunk)

    def camera_failed(self, now_ns: int, what: str) -> None:
        """Notes that no picture can be had: nothing is asked until `camera_works`."""
        troubles = self.troubles
        if troubles.camera is None:
            troubles.camera_spell.begin(now_ns)
            troubles.camera = what

    def camera_works(self, now_ns: int) -> None:
        """Notes that all cameras deliver again."""
        self.troubles.camera = None
        self.troubles.camera_spell.end(now_ns)

    def robot_failed(self, what: str) -> None:
        """Latches a fault of the robot."""
        self.troubles.latched = self.troubles.latched or (Cause.ROBOT, what)

    def robot_in_danger(self, what: str) -> None:
        """Latches what the robot itself says is not safe, such as an overloaded servo."""
        self.troubles.latched = self.troubles.latched or (Cause.DANGER, what)

    def applied(self, target: FloatArray) -> None:
        """Notes the target that the driver really applied, shape (A,): what holding goes back to."""
        if target.shape != self.motion.sent.shape or not finite(target):
            self.robot_failed(f"the driver says that it applied {target!r}")
            return
        self._session.applied = target

    def reset(self) -> None:
        """Forgets the plan: a new episode, or a new task; what is under way in the network is void."""
        self._new_epoch()

    def pause(self) -> None:
        """Sends the arm to rest, where it waits for `go` and nothing is asked."""
        self.troubles.paused = True

    def go(self) -> None:
        """Ends the pause: asks anew, and goes on with what is seen from now on."""
        troubles = self.troubles
        if not troubles.paused:
            return
        troubles.paused = False
        self._new_epoch()  # an answer may have come while the arm was at rest
        if self._session.ready:
            troubles.link.well()

    def stop(self, reason: ExitReason) -> None:
        """Asks for an orderly end: no more requests, hold, park, then `Tick.exit`.

        DONE is for a run that goes on well when its end comes. One that does not, or that never
        executed anything, ends for the reason that keeps it from doing so.
        """
        if self.troubles.stop is None:
            reason = self._verdict() if reason is ExitReason.DONE else reason
            self.troubles.stop, self._session.ending = CAUSES[reason], reason

    def slept(self, now_ns: int) -> None:
        """Notes that the computer slept until now: nothing of before holds, and `resume` says who goes on."""
        facts = self._facts(now_ns, boundary=True)
        change = self.watchdog.slept(now_ns)
        self._begin_anew(now_ns)
        if change is not None:
            self._note(change, facts, now_ns)
            self._hold()

    def go_on(self, now_ns: int) -> None:
        """Says, for a person, that the arm may move again after the computer slept."""
        if self.watchdog.go_on(now_ns):
            self._begin_anew(now_ns)

    # --- the tick -----------------------------------------------------------------------------

    def tick(self, now_ns: int, observation: Observation) -> Tick:
        """Decides this tick: the command, and whether to ask.

        Args:
            now_ns: the scheduled time of this tick; consecutive ticks lie a whole number of periods apart.
            observation: taken at this tick; its step is filled in here.
        """
        self._session.tick += 1
        boundary = self.motion.at_boundary(self._session.tick)
        if boundary:
            self._drain(now_ns)
        if not self._mail.inbox:
            self._expire(now_ns)
        self._judge(now_ns, boundary)
        request = self._ask(now_ns, observation) if boundary else None
        began = self._begin() if boundary else None
        action = self.motion.command(self._session.tick)
        events, self._mail.events = tuple(self._mail.events), []
        level = self.watchdog.level
        waiting = self._waiting() and not self.motion.under_way and level < SafetyLevel.HOLD
        return Tick(action, request, began, level, waiting, events, self._exit(now_ns))

    def _drain(self, now_ns: int) -> None:
        inbox, self._mail.inbox = self._mail.inbox, []
        for chunk in inbox:
            asked = self.scheduler.match(chunk.request_number, chunk.epoch)
            if isinstance(asked, DropReason):
                self._mail.events.append(ChunkDropped(chunk.request_number, chunk.epoch, asked))
            else:
                self._take(now_ns, chunk, asked)

    def _take(self, now_ns: int, chunk: ActionChunk, asked: Outstanding) -> None:
        """Merges the awaited chunk, or says why not."""
        session = self._session
        reason = self._fault_of(now_ns, chunk, asked)
        if reason is not None:
            self._refuse(now_ns, chunk, asked, reason)
            return
        round_trip = now_ns - asked.requested_ns
        delay_steps = self.pace.taken(round_trip, chunk.cold or asked.after_handshake)
        self.troubles.bad_chunks = 0
        if session.ready:  # an answer that came just before the link broke says nothing of it now
            self.troubles.link.well()
        session.answered_step = asked.start_step
        merged = self._merge(chunk, asked, round_trip)
        if merged is None:
            fact = ChunkDropped(asked.number, asked.epoch, DropReason.ALL_PAST, round_trip, delay_steps)
            self._mail.events.append(fact)
        else:
            session.fresh_chunk = True
            taken = (chunk, merged, asked.forecast_steps, delay_steps, round_trip, len(self.queue))
            self._mail.events.append(ChunkTaken(*taken))
        self._learnt(delay_steps, now_ns)

    def _merge(self, chunk: ActionChunk, asked: Outstanding, round_trip_ns: int) -> Merged | None:
        """Joins a chunk that is good to the plan; None when all of it is past."""
        rule, spec = self.config.rule, self.config.action
        at_rest = self.watchdog.level >= SafetyLevel.HOLD
        if at_rest:
            self.queue.clear()  # nothing planned at rest is gone on with, nor blended into what is
        used = chunk.robot_actions[: rule.horizon]
        low, high = spec.array("low"), spec.array("high")
        plan = Plan.of_chunk(used, chunk.model_actions, asked.captured_ns, low, high)
        passed = self.forecast.begun_in(round_trip_ns)
        # From rest, and where a jump would leave nothing to execute, a chunk is played from its beginning.
        pauses = rule.strategy is Strategy.SYNC and self._session.fresh_chunk and not at_rest
        if pauses and rule.aligned and passed < len(plan):
            self.queue.skip_to(asked.start_step + passed)
        return self.queue.merge(plan, asked.start_step, self.config.blend)

    def _learnt(self, delay_steps: int | None, now_ns: int) -> None:
        """Notes that the forecast heard of a delay, and says so where the plan's prospects change."""
        if delay_steps is None:
            return
        self.troubles.link.overdue = 0
        changed = self.pace.changed(delay_steps, now_ns)
        if changed is not None:
            self._mail.events.append(changed)

    def _refuse(self, now_ns: int, chunk: ActionChunk, asked: Outstanding, reason: DropReason) -> None:
        """Notes what an awaited but useless answer says: of the policy, of the delay, or nothing in time."""
        round_trip, delay_steps = now_ns - asked.requested_ns, None
        if reason is DropReason.TOO_OLD:
            delay_steps = self.pace.refused(round_trip, chunk.cold, asked.after_handshake)
        self._mail.events.append(ChunkDropped(asked.number, asked.epoch, reason, round_trip, delay_steps))
        if reason in BAD_CHUNK:
            self.troubles.bad_chunks += 1
        elif reason is not DropReason.OTHER_POLICY:
            self._miss(now_ns, asked.number, reason.value)
        self._learnt(delay_steps, now_ns)

    def _fault_of(self, now_ns: int, chunk: ActionChunk, asked: Outstanding) -> DropReason | None:
        if chunk.policy_hash != self._session.policy_hash:
            self.troubles.other_policy = _instead(chunk.policy_hash, self._session.policy_hash)
            return DropReason.OTHER_POLICY
        unfit = fault_of(chunk, asked, self.config.action, self.config.policy_horizon)
        if unfit is None and now_ns - asked.captured_ns > self.age_limit_ns:
            return DropReason.TOO_OLD
        return unfit

    def _expire(self, now_ns: int) -> None:
        missed = self.scheduler.expire(now_ns)
        if missed is not None:
            self.troubles.link.overdue += 1
            self.troubles.link.failed(DEADLINE)
            self._miss(now_ns, missed.number, DEADLINE)

    def _cancel(self, number: int | None = None) -> Outstanding | None:
        """Cancels what is outstanding, unless its answer is here already: a server may answer and close."""
        waiting = self.scheduler.outstanding
        if waiting is not None and self._mail.answers(waiting):
            return None
        return self.scheduler.cancel(number)

    def _miss(self, now_ns: int, number: int, cause: str) -> None:
        self.troubles.link.misses += 1
        if self.troubles.link.misses >= MISSES_UNTIL_LOST and self.troubles.link.lost_since_ns is None:
            self.troubles.link.lost_since_ns = now_ns
        self._mail.events.append(RequestMissed(number, cause))

    def _judge(self, now_ns: int, boundary: bool) -> None:
        """Updates the level, and does what entering or leaving it means."""
        tick, safety = self._session.tick, self.config.safety
        facts = self._facts(now_ns, boundary)
        change = self.watchdog.update(facts, self.troubles, now_ns)
        if change is None:
            return
        self._note(change, facts, now_ns)
        if change.after in (SafetyLevel.HOLD, SafetyLevel.FAULT):
            # An answer that is waited for no longer is as overdue as one whose deadline passed.
            self.troubles.link.overdue += change.cause is Cause.TOO_OLD and facts.asked_age_ns is not None
            self._new_epoch()
            self._hold()
        elif change.after is SafetyLevel.PARK:
            self.motion.park_at(self._rest(), tick, safety.park_ns / NS_PER_S)
        elif change.before in (SafetyLevel.HOLD, SafetyLevel.PARK):
            self.motion.resume(tick, safety.resume_ramp_ns / NS_PER_S)

    def _hold(self) -> None:
        """Stays where the driver was told to be last."""
        last = self._session.applied if self._session.applied is not None else self.motion.sent
        self.motion.hold_at(last, self._session.tick, self.config.safety.hold_ramp_ns / NS_PER_S)

    def _rest(self) -> FloatArray:
        """Returns where PARK goes; an arm that never moved lies well where its owner put it."""
        rest = self.config.rest_pose
        return self.motion.sent if rest is None or not self.queue.counts.executed else rest

    def _facts(self, now_ns: int, boundary: bool) -> Facts:
        captured, asked = self.queue.next_captured_ns(), self.scheduler.outstanding
        return Facts(
            left=len(self.queue),
            under_way=self.motion.under_way and not boundary,
            waiting=self._waiting(),
            fresh_chunk=self._session.fresh_chunk,
            next_age_ns=None if captured is None or not boundary else now_ns - captured,
            asked_age_ns=None if asked is None else now_ns - asked.captured_ns,
            age_limit_ns=self.age_limit_ns,
        )

    def _waiting(self) -> bool:
        if len(self.queue):
            return False
        return self.config.rule.strategy is Strategy.SYNC or not self._session.fresh_chunk

    def _note(self, change: LevelChange, facts: Facts, now_ns: int) -> None:
        lost = self.troubles.link.lost_since_ns
        age = facts.next_age_ns if facts.next_age_ns is not None else facts.asked_age_ns
        detect = now_ns - lost if lost is not None else 0
        why = self.pace.too_old() if change.cause is Cause.TOO_OLD else ""
        self._mail.events.append(LevelChanged(change, why or self.words(), facts.left, age, detect))

    def _ask(self, now_ns: int, observation: Observation) -> ChunkRequest | None:
        """Returns a request if it is time for one (TIMELINE rules 5 to 7)."""
        seen = replace(observation, step=self.step)
        history = self._mail.history.before(seen)
        self._mail.history.add(seen)
        begun, forecast = self.step - self._session.answered_step, self.forecast.steps
        # While held nothing is begun, so a plan that was not enough to go on never becomes less.
        held = self.watchdog.level >= SafetyLevel.HOLD
        left = 0 if held else len(self.queue)
        if not self._may_ask() or not self.config.rule.wants(left, begun, forecast):
            return None
        continues = self.config.rule.strategy is Strategy.RTC and not held
        leftover = self.queue.leftover() if continues else None
        request = ChunkRequest(
            number=self.scheduler.issued + 1,
            epoch=self.epoch,
            start_step=self.step,
            observation=seen,
            history=history,
            leftover=leftover,
            delay_steps=min(max(1, forecast), len(leftover)) if leftover else 0,
            requested_ns=now_ns,
            deadline_ns=now_ns + self.pace.deadline_ns(self.troubles.link.overdue),
            slack_ns=int(left * NS_PER_S / self.config.action_hz),
        )
        self.scheduler.issue(Outstanding.of(request, forecast, self.pace.after_handshake))
        return request

    def _may_ask(self) -> bool:
        troubles = self.troubles
        free = self._session.ready and self.scheduler.outstanding is None
        well = troubles.camera is None and troubles.other_policy is None and troubles.rest is None
        may_move = self.watchdog.level is not SafetyLevel.FAULT and not self.watchdog.waits_for_go
        return free and well and may_move

    def _begin(self) -> PlannedAction | None:
        if self.watchdog.level >= SafetyLevel.HOLD or not len(self.queue):
            self.motion.pause(self._session.tick, self.config.safety.hold_ramp_ns / NS_PER_S)
            return None
        action = self.queue.begin()
        self.motion.begin(action.target, self._session.tick)
        return action

    def _new_epoch(self) -> None:
        self._session.epoch += 1
        self._session.fresh_chunk = False
        self.scheduler.cancel()
        self.queue.clear()
        self._mail.history.clear()

    def _begin_anew(self, now_ns: int) -> None:
        """Forgets what was planned and asked, and lets every limit count from now on."""
        self._new_epoch()
        troubles = self.troubles
        if self._session.ready:
            troubles.link.well()
        elif troubles.link.lost_since_ns is not None:
            troubles.link.lost_since_ns = now_ns
        troubles.camera_spell.since_ns = now_ns

    def _exit(self, now_ns: int) -> ExitReason | None:
        """Returns why the run is over, once the arm is at rest; where an end is due, asks for it first."""
        if self.watchdog.level is SafetyLevel.FAULT:
            settled = self.motion.arrived(self._session.tick)
            return ExitReason(self.watchdog.cause.value) if settled else None  # what latched it
        due = self._due(now_ns)
        if due is not None:
            self.stop(due)
        return self._session.ending if self.rested else None

    def _verdict(self) -> ExitReason:
        troubles = self.troubles
        if self.queue.counts.executed and (troubles.paused or self._goes_on()):
            return ExitReason.DONE
        if troubles.camera is not None:
            return ExitReason.CAMERA
        troubles.link.misses = max(troubles.link.misses, 1)  # so that its words are told
        troubles.link.failed("no chunk came in time")
        reason = ExitReason(troubles.link.ends_as or ExitReason.LINK_LOST)
        return ExitReason.NO_ANSWER if reason is ExitReason.LINK_LOST else reason

    def _goes_on(self) -> bool:
        """Whether the plan is executed, or ran dry no longer ago than a chunk takes to come."""
        level, since_ns = self.watchdog.level, self.watchdog.since_ns
        late = level is SafetyLevel.STARVED and self.watchdog.now_ns - since_ns > self.forecast.time_ns
        return level <= SafetyLevel.STARVED and not late

    def _due(self, now_ns: int) -> ExitReason | None:
        if self.watchdog.waits_for_go:  # nothing is asked, so nobody fails to answer
            return None
        troubles, safety = self.troubles, self.config.safety
        lost = troubles.link.lost_since_ns
        # In a pause nothing is asked, so no chunk can come to say that the link is well again.
        served = troubles.paused and self._session.ready
        if lost is not None and not served and now_ns - lost >= safety.offline_limit_ns:
            return ExitReason(troubles.link.ends_as or ExitReason.LINK_LOST)
        if troubles.camera is not None and now_ns - troubles.camera_spell.since_ns >= safety.camera_limit_ns:
            return ExitReason.CAMERA
        return ExitReason.OTHER_POLICY if troubles.other_policy is not None else None


def _instead(served: str, agreed: str | None) -> str:
    """Returns what there is to say of a policy that is not the one which was agreed on, by their hashes."""
    return f"policy {served} is served now, the session began with {agreed}"
