"""Executors and drivers with one rule broken, to show that the seeds would notice: each is one patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from segue.core import pace, watchdog
from segue.core.delay import DelayForecast
from segue.core.executor import ChunkExecutor
from segue.core.limits import Limits
from segue.core.link import dial, machine
from segue.core.link.dial import Dialer
from segue.core.link.events import Welcomed
from segue.core.link.heard import Heard
from segue.core.link.machine import LinkMachine
from segue.core.link.reports import Closed
from segue.core.motion import Motion
from segue.core.pace import Pace
from segue.core.queue import ActionQueue
from segue.core.schedule import DropReason, Outstanding, RequestRule, RequestScheduler
from segue.core.types import FloatArray, Leftover, Observation, Strategy
from segue.core.watchdog import Cause, SafetyLevel, Troubles, Watchdog
from segue.robots.goals import GoalLimit
from segue.testing.faultplan import FaultKind
from segue.testing.faults import WeakRobot
from segue.testing.simulation import _Sleep

Mutant = Callable[[pytest.MonkeyPatch], None]


def merge_by_forecast(patch: pytest.MonkeyPatch) -> None:
    """Skips as many actions as were forecast, not as many as were executed."""
    take, merge = ChunkExecutor._take, ActionQueue.merge
    forecast: list[int] = [0]

    def taken(self: ChunkExecutor, now_ns: int, chunk: Any, asked: Outstanding) -> None:
        forecast[0] = asked.forecast_steps
        take(self, now_ns, chunk, asked)

    def merged(self: ActionQueue, chunk: Any, start_step: int, *rest: Any) -> Any:
        return merge(self, chunk, max(0, self.step - forecast[0]), *rest)

    patch.setattr(ChunkExecutor, "_take", taken)
    patch.setattr(ActionQueue, "merge", merged)


def accept_stale_replies(patch: pytest.MonkeyPatch) -> None:
    """Takes any reply while a request is open, whichever request it answers."""

    def match(self: RequestScheduler, number: int, epoch: int) -> Outstanding | DropReason:
        waiting, self.outstanding = self.outstanding, None
        return waiting or DropReason.NOT_ASKED

    patch.setattr(RequestScheduler, "match", match)


def leftover_without_the_next_action(patch: pytest.MonkeyPatch) -> None:
    """Sends plan[step + 1:] as leftover."""
    leftover = ActionQueue.leftover

    def shorter(self: ActionQueue) -> Leftover | None:
        whole = leftover(self)
        if whole is None or len(whole) == 1:
            return whole
        model = whole.model_actions
        return Leftover(whole.robot_actions[1:], None if model is None else model[1:])

    patch.setattr(ActionQueue, "leftover", shorter)


def ignore_the_age_limit(patch: pytest.MonkeyPatch) -> None:
    """Begins actions however old they are."""
    patch.setattr(watchdog, "_too_old", lambda facts: False)


def keep_the_epoch_on_hold(patch: pytest.MonkeyPatch) -> None:
    """Clears the plan when a hold begins, but stays in the old epoch."""
    renew = ChunkExecutor._new_epoch

    def renewed(self: ChunkExecutor) -> None:
        renew(self)
        self._session.epoch -= 1

    patch.setattr(ChunkExecutor, "_new_epoch", renewed)


def keep_the_plan_on_hold(patch: pytest.MonkeyPatch) -> None:
    """Goes on with what was planned before a hold or a reset."""
    patch.setattr(ActionQueue, "clear", lambda self: 0)


def go_on_while_held(patch: pytest.MonkeyPatch) -> None:
    """Finishes the step under way instead of going back to where the driver is."""
    patch.setattr(Motion, "hold_at", lambda self, target, tick, ramp_s: None)


def no_speed_limit(patch: pytest.MonkeyPatch) -> None:
    """Sends what is wanted, however far away."""

    def slew(self: Limits, last: FloatArray, wanted: FloatArray, period_s: float) -> FloatArray:
        return wanted

    patch.setattr(Limits, "slew", slew)


def resume_without_a_fresh_look(patch: pytest.MonkeyPatch) -> None:
    """Leaves HOLD as soon as nothing is wrong any more, without a chunk from after it began."""
    rest = Watchdog._from_rest

    def from_rest(
        self: Watchdog, wanted: SafetyLevel, cause: Cause, facts: Any, troubles: Troubles, now_ns: int
    ) -> tuple[SafetyLevel, Cause]:
        if wanted < SafetyLevel.HOLD:
            return min(wanted, SafetyLevel.DEGRADED), Cause.RESUMED
        return rest(self, wanted, cause, facts, troubles, now_ns)

    patch.setattr(Watchdog, "_from_rest", from_rest)


def ask_while_asking(patch: pytest.MonkeyPatch) -> None:
    """Forgets that a request is open when a chunk is due, and sends another."""
    may_ask = ChunkExecutor._may_ask

    def forgetful(self: ChunkExecutor) -> bool:
        waiting = self.scheduler.outstanding
        if waiting is not None and self.step - waiting.start_step > self.config.rule.min_execution_steps + 3:
            self.scheduler.outstanding = None
        return may_ask(self)

    patch.setattr(ChunkExecutor, "_may_ask", forgetful)


def repeat_a_number(patch: pytest.MonkeyPatch) -> None:
    """Gives a request the number of the one before, every tenth time."""
    issue = RequestScheduler.issue

    def issued(self: RequestScheduler, outstanding: Outstanding) -> None:
        number = outstanding.number
        issue(self, outstanding)
        if number % 10 == 0:
            self.issued = number - 1

    patch.setattr(RequestScheduler, "issue", issued)


def exit_early(patch: pytest.MonkeyPatch) -> None:
    """Parks and exits before the offline limit has passed."""
    due = ChunkExecutor._due

    def sooner(self: ChunkExecutor, now_ns: int) -> Any:
        lost = self.troubles.link.lost_since_ns
        earlier = replace(self.troubles.link, lost_since_ns=None if lost is None else lost - 8_000_000_000)
        shifted = replace(self.troubles, link=earlier)
        kept, self.troubles = self.troubles, shifted
        try:
            return due(self, now_ns)
        finally:
            self.troubles = kept

    patch.setattr(ChunkExecutor, "_due", sooner)


def count_steps_from_the_merge(patch: pytest.MonkeyPatch) -> None:
    """Lets s steps begin between a merge and the next request, which makes s + d of them."""
    take = ChunkExecutor._take

    def taken(self: ChunkExecutor, now_ns: int, chunk: Any, asked: Outstanding) -> None:
        take(self, now_ns, chunk, asked)
        self._session.answered_step = self.step

    patch.setattr(ChunkExecutor, "_take", taken)


def never_yield(patch: pytest.MonkeyPatch) -> None:
    """Waits for s steps although the plan ends before."""

    def wants(self: RequestRule, left: int, begun: int, forecast_steps: int) -> bool:
        if left == 0 or self.strategy is Strategy.SYNC or forecast_steps >= self.horizon:
            return left == 0
        return left <= max(self.low_water, forecast_steps + 1) and begun >= self.min_execution_steps

    patch.setattr(RequestRule, "wants", wants)


def ask_early_for_what_outlasts_a_chunk(patch: pytest.MonkeyPatch) -> None:
    """Asks while something is planned although the answer takes a chunk's time or more."""

    def wants(self: RequestRule, left: int, begun: int, forecast_steps: int) -> bool:
        if left == 0 or self.strategy is Strategy.SYNC:
            return left == 0
        due = left <= self.low_water and begun >= self.min_execution_steps
        return due or left <= forecast_steps + 1

    patch.setattr(RequestRule, "wants", wants)


def no_ceiling(patch: pytest.MonkeyPatch) -> None:
    """Lets the age limit follow the forecast however slow the answers become."""
    patch.setattr(pace, "age_ceiling_ns", lambda horizon, action_hz, warm_inference_ns: 10**15)


def too_old_teaches_nothing(patch: pytest.MonkeyPatch) -> None:
    """Forgets how long an answer took that was refused for its age."""

    def refused(self: Pace, round_trip_ns: int, cold: bool, perhaps_cold: bool) -> int | None:
        self.after_handshake = False
        return None

    patch.setattr(Pace, "refused", refused)


def align_with_the_forecast(patch: pytest.MonkeyPatch) -> None:
    """Lets an aligned sync jump by the steps that were forecast, not by those whose time has passed."""
    patch.setattr(DelayForecast, "begun_in", lambda self, round_trip_ns: self.steps)


# --- the link -----------------------------------------------------------------------------------


def dial_without_a_pause(patch: pytest.MonkeyPatch) -> None:
    """Dials again at once, however often it failed."""
    patch.setattr(Dialer, "wait_ns", lambda self, failures: 0)


def give_a_connection_no_time(patch: pytest.MonkeyPatch) -> None:
    """Gives up a connection after 50 ms."""
    connect = Dialer._connect

    def hurried(self: Dialer, now_ns: int) -> None:
        connect(self, now_ns)
        self.dial.until_ns = now_ns + 50_000_000

    patch.setattr(Dialer, "_connect", hurried)


def open_again_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Opens on the same channel again, however often the server forgets the session."""

    def reopen(self: LinkMachine, heard: Heard, now_ns: int) -> None:
        self._report(Closed(str(heard)))
        self._dialer.reopen(now_ns)

    patch.setattr(LinkMachine, "_reopen", reopen)


def keep_a_silent_channel(patch: pytest.MonkeyPatch) -> None:
    """Asks on, however many requests were not answered."""
    patch.setattr(LinkMachine, "_miss", lambda self, now_ns: None)


def throw_a_channel_away_at_once(patch: pytest.MonkeyPatch) -> None:
    """Takes one miss for two."""
    patch.setattr(machine, "MISSES_UNTIL_LOST", 1)


def ask_on_after_refusals(patch: pytest.MonkeyPatch) -> None:
    """Reports every refusal at once."""
    patch.setattr(machine, "FAILURES_AT_ONCE", 10**9)


def keep_the_first_session(patch: pytest.MonkeyPatch) -> None:
    """Names the session of the first handshake for ever."""
    handlers = dial._HANDLERS
    welcomed = handlers[Welcomed]

    def kept(self: Dialer, event: Any, now_ns: int) -> None:
        first = self.session
        welcomed(self, event, now_ns)
        if first is not None and self.session is not None:
            self.session = replace(self.session, session_id=first.session_id)

    patch.setattr(dial, "_HANDLERS", {**handlers, Welcomed: kept})


def take_any_policy(patch: pytest.MonkeyPatch) -> None:
    """Compares neither spec, neither with the robot nor with what the run began with."""
    patch.setattr(dial, "differences", lambda robot, policy: [])
    patch.setattr(dial, "respecified", lambda first, now: [])


def add_up_breaks_in_a_pause(patch: pytest.MonkeyPatch) -> None:
    """Remembers in a pause that the link was lost, although a session is open again."""
    opened = ChunkExecutor.link_opened

    def remembered(self: ChunkExecutor, handshake: Any) -> None:
        before = replace(self.troubles.link)
        opened(self, handshake)
        if self.troubles.paused:
            self.troubles.link = before

    patch.setattr(ChunkExecutor, "link_opened", remembered)


def forget_what_the_server_said(patch: pytest.MonkeyPatch) -> None:
    """Ends every run for want of a server, whatever it said."""
    patch.setattr(machine, "ends_as", lambda heard: "")


def ask_in_a_pause(patch: pytest.MonkeyPatch) -> None:
    """Asks although the arm is to rest."""
    may_ask = ChunkExecutor._may_ask

    def eager(self: ChunkExecutor) -> bool:
        paused, self.troubles.paused = self.troubles.paused, False
        try:
            return may_ask(self)
        finally:
            self.troubles.paused = paused

    patch.setattr(ChunkExecutor, "_may_ask", eager)


def sleep_through_the_sleep(patch: pytest.MonkeyPatch) -> None:
    """Does not notice that the computer slept."""
    patch.setattr(ChunkExecutor, "slept", lambda self, now_ns: None)


def let_time_stand_still_in_a_sleep(patch: pytest.MonkeyPatch) -> None:
    """Tells the time by a clock that does not run while the computer sleeps, and notices no sleep either."""
    begin, tick = _Sleep.begin, ChunkExecutor.tick
    asleep: list[int] = [0]

    def begun(self: _Sleep, now_ns: int, until_ns: int) -> None:
        asleep[0] += until_ns - now_ns
        begin(self, now_ns, until_ns)

    def ticked(self: ChunkExecutor, now_ns: int, observation: Observation) -> Any:
        asleep[0] = 0 if self.ticks == 0 else asleep[0]
        seen = replace(observation, captured_ns=observation.captured_ns - asleep[0])
        return tick(self, now_ns - asleep[0], seen)

    patch.setattr(_Sleep, "begin", begun)
    patch.setattr(ChunkExecutor, "tick", ticked)
    patch.setattr(ChunkExecutor, "slept", lambda self, now_ns: None)


def go_on_without_a_go(patch: pytest.MonkeyPatch) -> None:
    """Holds after a sleep, and waits for nobody."""
    slept = Watchdog.slept

    def careless(self: Watchdog, now_ns: int) -> Any:
        change = slept(self, now_ns)
        self.waits_for_go = False
        return change

    patch.setattr(Watchdog, "slept", careless)


def park_without_a_go(patch: pytest.MonkeyPatch) -> None:
    """Takes the way to rest for no motion while a person is waited for."""
    rest = Watchdog._from_rest

    def from_rest(self: Watchdog, *facts: Any) -> tuple[SafetyLevel, Cause]:
        waits, self.waits_for_go = self.waits_for_go, False
        wanted, cause = rest(self, *facts)
        self.waits_for_go = waits
        return (self.level, self.cause) if waits and wanted < SafetyLevel.HOLD else (wanted, cause)

    patch.setattr(Watchdog, "_from_rest", from_rest)


def ask_without_a_go(patch: pytest.MonkeyPatch) -> None:
    """Asks the server while a person is waited for."""
    may_ask = ChunkExecutor._may_ask

    def eager(self: ChunkExecutor) -> bool:
        waits, self.watchdog.waits_for_go = self.watchdog.waits_for_go, False
        may = may_ask(self)
        self.watchdog.waits_for_go = waits
        return may

    patch.setattr(ChunkExecutor, "_may_ask", eager)


def keep_the_plan_over_a_sleep(patch: pytest.MonkeyPatch) -> None:
    """Executes after a sleep what was planned or asked before it."""
    patch.setattr(ChunkExecutor, "_begin_anew", lambda self, now_ns: None)


def make_up_for_a_silence(patch: pytest.MonkeyPatch) -> None:
    """Lets the first goal after a silence be as far away as the time that passed allows."""
    write, silent = WeakRobot.write, [0]

    def wrote(self: WeakRobot, action: FloatArray, now_ns: int) -> FloatArray:
        silent[0] = silent[0] + 1 if self.silent else 0
        limit, usual = self._limit, self._limit._reach
        limit._reach = usual * (1 + waited[0])
        waited[0] = silent[0]
        try:
            return write(self, action, now_ns)
        finally:
            limit._reach = usual

    waited = [0]
    patch.setattr(WeakRobot, "write", wrote)


def say_what_was_meant(patch: pytest.MonkeyPatch) -> None:
    """Lets a driver whose motors are silent say that it applied what it was told."""
    write = WeakRobot.write

    def wrote(self: WeakRobot, action: FloatArray, now_ns: int) -> FloatArray:
        write(self, action, now_ns)
        return action

    patch.setattr(WeakRobot, "write", wrote)


def believe_that_all_arrives(patch: pytest.MonkeyPatch) -> None:
    """Counts from the newest goal that was sent, although a motor was found to have an older one."""
    patch.setattr(GoalLimit, "found", lambda self, goals, of: self.arrived(of))


MUTANTS: Mapping[str, Mutant] = {
    each.__name__: each
    for each in (
        merge_by_forecast,
        accept_stale_replies,
        leftover_without_the_next_action,
        ignore_the_age_limit,
        keep_the_epoch_on_hold,
        keep_the_plan_on_hold,
        go_on_while_held,
        no_speed_limit,
        resume_without_a_fresh_look,
        ask_while_asking,
        repeat_a_number,
        exit_early,
        dial_without_a_pause,
        give_a_connection_no_time,
        open_again_for_ever,
        keep_a_silent_channel,
        throw_a_channel_away_at_once,
        ask_on_after_refusals,
        keep_the_first_session,
        take_any_policy,
        add_up_breaks_in_a_pause,
        forget_what_the_server_said,
        ask_in_a_pause,
        count_steps_from_the_merge,
        never_yield,
        ask_early_for_what_outlasts_a_chunk,
        no_ceiling,
        too_old_teaches_nothing,
        align_with_the_forecast,
        sleep_through_the_sleep,
        let_time_stand_still_in_a_sleep,
        go_on_without_a_go,
        park_without_a_go,
        ask_without_a_go,
        keep_the_plan_over_a_sleep,
        make_up_for_a_silence,
        say_what_was_meant,
        believe_that_all_arrives,
    )
}

# What only one kind of fault can show is looked for where that strikes.
SHOWN_BY: Mapping[str, FaultKind] = dict.fromkeys(
    (
        sleep_through_the_sleep.__name__,
        let_time_stand_still_in_a_sleep.__name__,
        go_on_without_a_go.__name__,
        park_without_a_go.__name__,
        ask_without_a_go.__name__,
        keep_the_plan_over_a_sleep.__name__,
    ),
    FaultKind.SLEEP,
)
