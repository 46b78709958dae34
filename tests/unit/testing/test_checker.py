from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from segue.client.commands import CommandLogHeader, CommandRow, row_of
from segue.clock import NS_PER_S
from segue.core import facts
from segue.core.specs import Dimension, Kind
from segue.core.types import FloatArray, Strategy
from segue.core.watchdog import SafetyLevel
from segue.policies.registry import load_policy
from segue.testing.checker import Rule, assert_clean, check_commands, missing_rows
from segue.testing.robots import FakeRobot
from segue.testing.simlink import LinkModel, Partition
from segue.testing.simserver import ServiceTime, SimServer
from segue.testing.simulation import SimClient, Simulation
from tests.sim.support import client

S = NS_PER_S
TICK = S // 100
CUT = LinkModel(delay_ms=5, partitions=(Partition(5 * S, 8 * S), Partition(12 * S, 30 * S)))
BAD = LinkModel(delay_ms=20, jitter_ms=25, loss=0.03, reorder=True)
AWFUL = LinkModel(delay_ms=100, jitter_ms=200, loss=0.2, reorder=True)


@dataclass(frozen=True)
class Log:
    """A log of commands and what its numbers are."""

    header: CommandLogHeader
    rows: list[CommandRow]

    def rules(self) -> set[Rule]:
        """Returns which rules it breaks."""
        return {v.rule for v in check_commands(self.rows, self.header)}

    def first(self, wanted: Callable[[CommandRow], bool], after: int = 0) -> int:
        """Returns the index of the first row from `after` on that is as wanted."""
        return next(i for i in range(after, len(self.rows)) if wanted(self.rows[i]))

    def but(self, index: int, **values: object) -> Log:
        """Returns the log with one row changed."""
        rows = list(self.rows)
        rows[index] = replace(rows[index], **values)  # type: ignore[arg-type]
        return Log(self.header, rows)

    def without(self, index: int, count: int = 10) -> Log:
        """Returns the log without `count` rows from `index` on."""
        return Log(self.header, [*self.rows[:index], *self.rows[index + count :]])

    def shifted(self, index: int, by: FloatArray, count: int | None = None) -> Log:
        """Returns the log with `by` added to `count` commands from `index` on, or to all of them."""
        rows = list(self.rows)
        for i in range(index, len(rows) if count is None else index + count):
            rows[i] = replace(rows[i], command=rows[i].command + by)
        return Log(self.header, rows)


def _recorded(made: SimClient) -> list[CommandRow]:
    """Returns a list that gets a row for each tick of `made`."""
    rows: list[CommandRow] = []
    plain = made.tick

    def tick(now_ns: int) -> facts.Tick | None:
        came = plain(now_ns)
        if came is not None and made.executor is not None:
            rows.append(row_of(made.executor, came, now_ns))
        return came

    made.tick = tick  # type: ignore[method-assign]
    return rows


def _header(made: SimClient) -> CommandLogHeader:
    assert made.executor is not None
    config = made.executor.config
    dimensions = config.action.dimensions
    return CommandLogHeader.of(config.control_hz, config.action_hz, config.safety, dimensions)


def _server(rate: str = "@10") -> SimServer:
    policy = load_policy(f"builtin:scripted{rate}")
    policy.warm_up()
    return SimServer(policy, ServiceTime(30.0))


def _run(
    strategy: Strategy, link: LinkModel, until_s: float, aggregate: str = "latest_only", rate: str = "@10"
) -> Log:
    made = client(FakeRobot(), strategy, aggregate, link=link, seed=7)
    rows = _recorded(made)
    Simulation(_server(rate), [made]).run(until_s)
    return Log(_header(made), rows)


@pytest.fixture(scope="module")
def log() -> Log:
    """A clean run with a hold, a resume, parking and a resume from there."""
    return _run(Strategy.RTC, CUT, 34.0)


@pytest.fixture(scope="module")
def faulted() -> Log:
    """A clean run that ends in FAULT."""
    made = client(FakeRobot(), Strategy.RTC, seed=1)
    rows = _recorded(made)
    simulation = Simulation(_server(), [made])
    simulation.run(3.0)
    assert made.executor is not None
    made.executor.robot_failed("told to")
    simulation.run(4.0)
    return Log(_header(made), rows)


def _joint(size: float, width: int = 6) -> FloatArray:
    """Returns a change of the first joint alone."""
    return np.concatenate([[size], np.zeros(width - 1)])


def _began(row: CommandRow) -> bool:
    return row.step is not None


def _at(level: SafetyLevel) -> Callable[[CommandRow], bool]:
    return lambda row: row.level is level


# --- real runs ----------------------------------------------------------------------------------

STRATEGIES = [
    (Strategy.SYNC, "latest_only"),
    (Strategy.ASYNC, "latest_only"),
    (Strategy.ASYNC, "weighted_average"),
    (Strategy.ASYNC, "temporal_ensemble"),
    (Strategy.RTC, "latest_only"),
]


@pytest.mark.parametrize(("strategy", "aggregate"), STRATEGIES)
@pytest.mark.parametrize("rate", ["@10", "@30"])
@pytest.mark.parametrize("link", [LinkModel(), BAD, AWFUL, CUT], ids=["good", "bad", "awful", "cut"])
def test_real_runs_are_clean(strategy: Strategy, aggregate: str, rate: str, link: LinkModel) -> None:
    """Runs of every strategy at both rates over good, bad and broken networks break no rule."""
    made = _run(strategy, link, 45.0, aggregate, rate)
    assert len(made.rows) > 2000
    assert_clean(made.rows, made.header)


@pytest.mark.parametrize(("strategy", "aggregate"), STRATEGIES)
def test_runs_whose_server_dies_are_clean(strategy: Strategy, aggregate: str) -> None:
    """A server that is killed and comes back three times leaves a log that breaks no rule."""
    made = client(FakeRobot(), strategy, aggregate, seed=3)
    rows = _recorded(made)
    simulation = Simulation(_server("@30"), [made])
    for k in range(3):
        simulation.run(3.0 + 6 * k)
        simulation.kill_server()
        simulation.run(6.0 + 6 * k)
        simulation.start_server()
    simulation.run(20.0)
    assert {SafetyLevel.RUN, SafetyLevel.HOLD} <= {row.level for row in rows}
    assert_clean(rows, _header(made))


def test_the_logs_that_are_spoilt_below_are_clean_and_rich(log: Log, faulted: Log) -> None:
    """The logs that the other tests spoil break no rule and visit every level that matters."""
    assert log.rules() == set() == faulted.rules()
    levels = {row.level for row in (*log.rows, *faulted.rows)}
    assert {SafetyLevel.RUN, SafetyLevel.HOLD, SafetyLevel.PARK, SafetyLevel.FAULT} <= levels


def test_a_minute_is_judged_at_once() -> None:
    """6000 commands of six joints are judged in well under 100 ms."""
    made = _run(Strategy.RTC, BAD, 64.0)
    rows, took = made.rows[:6000], []
    for _ in range(3):
        began = time.perf_counter()
        assert_clean(rows, made.header)
        took.append(time.perf_counter() - began)
    sys.stdout.write(f"{len(rows)} commands judged in {min(took) * 1e3:.1f} ms\n")
    assert len(rows) == 6000
    assert min(took) < 0.1


# --- what begins --------------------------------------------------------------------------------


def test_an_action_past_its_age_is_seen(log: Log) -> None:
    """An action that begins one nanosecond older than its limit is reported, at the limit it is not."""
    at = log.first(_began, 200)
    row = log.rows[at]
    assert row.captured_ns is not None
    age = row.t_ns - row.captured_ns
    assert log.but(at, age_limit_ns=age).rules() == set()
    assert log.but(at, age_limit_ns=age - 1).rules() == {Rule.AGE}


def test_an_age_limit_above_the_ceiling_is_reported(log: Log) -> None:
    """A row that allows more than the run's ceiling is reported, one that allows as much is not."""
    highest = max(row.age_limit_ns for row in log.rows)
    at = next(i for i, row in enumerate(log.rows) if row.age_limit_ns == highest)
    judged = Log(replace(log.header, age_ceiling_ns=highest), log.rows)
    assert judged.rules() == set()
    assert judged.but(at, age_limit_ns=highest + 1).rules() == {Rule.AGE}
    assert log.but(at, age_limit_ns=10 * highest).rules() == set()


def test_a_step_begun_twice_is_seen(log: Log) -> None:
    """A step that begins again is reported as such."""
    first = log.first(_began, 200)
    second = log.first(_began, first + 1)
    found = check_commands(log.but(second, step=log.rows[first].step).rows, log.header)
    assert [(v.rule, v.t_ns) for v in found] == [(Rule.TWICE, log.rows[second].t_ns)]


def test_a_step_backwards_is_seen(log: Log) -> None:
    """A step below one that has begun is reported, even when it was left out before and never began."""
    first = log.first(_began, 200)
    second = log.first(_began, first + 1)
    step = log.rows[first].step
    assert step is not None
    swapped = log.but(first, step=step + 1).but(second, step=step)
    assert swapped.rules() == {Rule.BACKWARD}


def test_an_action_from_before_a_hold_is_seen(log: Log) -> None:
    """The first action after a hold stems from an observation of that hold; one tick earlier is reported."""
    held = log.first(_at(SafetyLevel.HOLD))
    resumed = log.first(_began, held)
    began_ns = log.rows[held].t_ns
    assert log.but(resumed, captured_ns=began_ns).rules() == set()
    assert log.but(resumed, captured_ns=began_ns - 1).rules() == {Rule.EPOCH}


def test_a_hold_counts_even_when_the_epoch_did_not_change(log: Log) -> None:
    """An executor that forgets to begin an epoch when it holds does not hide an old action by that."""
    held = log.first(_at(SafetyLevel.HOLD))
    resumed = log.first(_began, held)
    rows = [replace(row, epoch=1) for row in log.rows]
    rows[resumed] = replace(rows[resumed], captured_ns=log.rows[held].t_ns - 1)
    assert Log(log.header, rows).rules() == {Rule.EPOCH}


def test_an_action_from_before_its_epoch_is_seen(log: Log) -> None:
    """When the epoch changes in mid-run, an action seen before that is reported."""
    at = log.first(_began, 200)
    rows = [replace(row, epoch=row.epoch + (i >= at)) for i, row in enumerate(log.rows)]
    assert Log(log.header, rows).rules() == {Rule.EPOCH}


def test_an_epoch_that_goes_back_is_seen(log: Log) -> None:
    """An epoch lower than one before is reported."""
    held = log.first(_at(SafetyLevel.HOLD))
    assert log.but(held + 5, epoch=1).rules() == {Rule.EPOCH}


def test_a_step_before_its_time_is_seen(log: Log) -> None:
    """At 10 to 100 Hz a step that begins nine ticks after the one before is reported."""
    first = log.first(_began, 200)
    second = log.first(_began, first + 1)
    row = log.rows[second]
    moved = log.but(second, step=None, captured_ns=None)
    moved = moved.but(second - 1, step=row.step, captured_ns=row.captured_ns)
    assert Rule.EARLY in moved.rules()


@pytest.mark.parametrize("level", [SafetyLevel.HOLD, SafetyLevel.PARK])
def test_a_step_begun_at_rest_is_seen(log: Log, level: SafetyLevel) -> None:
    """A step that begins in HOLD or PARK is reported, however fresh it is."""
    at = log.first(_at(level)) + 3
    step = max(row.step for row in log.rows[:at] if row.step is not None) + 1
    spoilt = log.but(at, step=step, captured_ns=log.rows[at].t_ns)
    assert Rule.BEGUN_AT_REST in spoilt.rules()


def test_a_step_begun_in_a_fault_is_seen(faulted: Log) -> None:
    """A step that begins in FAULT is reported."""
    last = len(faulted.rows) - 1
    row = faulted.rows[last]
    assert faulted.but(last, step=10_000, captured_ns=row.t_ns).rules() == {Rule.BEGUN_AT_REST}


# --- how it moves -------------------------------------------------------------------------------


def test_a_speed_above_the_limit_is_seen(log: Log) -> None:
    """A command a thousandth faster than allowed is reported, at the limit it is not."""
    at = log.first(_began, 200) + 3
    reach = log.header.dimensions[0].max_speed / 100.0
    before = log.rows[at - 1].command
    for share, rules in ((1.0, set()), (1.001, {Rule.SPEED})):
        wanted = before[0] + share * reach
        moved = log.shifted(at, _joint(wanted - log.rows[at].command[0]), 1)
        seen = Log(log.header, moved.rows[: at + 1])
        assert seen.rules() == rules


def test_a_position_beyond_a_limit_is_seen(log: Log) -> None:
    """An arm within its limits that crosses one is reported; one that starts outside may come back."""
    first = log.header.dimensions[0]

    def limited(high: float) -> set[Rule]:
        header = replace(log.header, dimensions=(replace(first, high=high), *log.header.dimensions[1:]))
        return Log(header, log.rows).rules()

    highest = max(row.command[0] for row in log.rows)
    assert limited(highest) == set()
    assert limited(highest - 0.001) == {Rule.LIMITS}
    coming = [_row(i, 12.0 - 0.1 * min(i, 10), step=0 if i == 0 else None) for i in range(11)]
    assert _small(Kind.POSITION, high=10.0, rows=coming[:10]).rules() == set()
    assert _small(Kind.POSITION, high=10.0, rows=coming[:10][::-1]).rules() >= {Rule.LIMITS}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_seen(log: Log, value: float) -> None:
    """A command that is not finite is reported."""
    at = log.first(_began, 200) + 3
    assert Rule.LIMITS in log.shifted(at, _joint(value), 1).rules()


def test_motion_after_the_last_step_is_seen() -> None:
    """A move on the tick after a step of ten ticks has ended is reported, one in its last tick is not."""
    held = [_row(i, 0.01 * min(i, 9), step=0 if i == 0 else None) for i in range(30)]
    assert _small(Kind.POSITION, rows=held).rules() == set()
    late = [_row(i, 0.01 * min(i, 10), step=0 if i == 0 else None) for i in range(30)]
    found = check_commands(late, _small(Kind.POSITION, rows=late).header)
    assert [(v.rule, v.t_ns) for v in found] == [(Rule.HELD, 11 * TICK)]


def test_what_the_speed_limit_held_back_may_be_finished_soon() -> None:
    """At the speed limit a position may go on for a hold's ramp after its step, not longer, not slower."""
    reach = 0.1
    for last, rules in ((29, set()), (30, {Rule.HELD})):
        rows = [_row(i, reach * min(i, last), step=0 if i == 0 else None) for i in range(50)]
        assert _small(Kind.POSITION, max_speed=10.0, rows=rows).rules() == rules
    # Half as fast it is still on its way at the second tick after the step, when nothing held it back.
    slower = [
        _row(i, reach * min(i, 9) + 0.05 * max(i - 9, 0), step=0 if i == 0 else None) for i in range(15)
    ]
    assert _small(Kind.POSITION, max_speed=10.0, rows=slower).rules() == {Rule.HELD}


def test_motion_before_the_first_step_is_seen(log: Log) -> None:
    """An arm that moves before its first step began is reported."""
    assert log.first(_began) > 2
    assert log.shifted(1, _joint(0.01)).rules() >= {Rule.HELD}


@pytest.mark.parametrize("kind", [Kind.VELOCITY, Kind.EFFORT])
def test_a_velocity_that_stays_is_seen(kind: Kind) -> None:
    """Velocities and efforts are zero from the tick after the last step on; one that stays is reported."""
    stops = [_row(i, 0.5 if i < 10 else 0.0, step=0 if i == 0 else None) for i in range(20)]
    assert _small(kind, rows=stops).rules() == set()
    stays = [_row(i, 0.5 if i < 11 else 0.0, step=0 if i == 0 else None) for i in range(20)]
    assert _small(kind, rows=stays).rules() == {Rule.HELD}


def test_a_velocity_brakes_as_hard_as_it_may() -> None:
    """Where the change of a velocity is limited it may brake at that limit, and not less."""
    for change, rules in ((0.1, set()), (0.05, {Rule.HELD})):
        rows = [
            _row(i, max(0.0, 0.5 - change * max(i - 9, 0)), step=0 if i == 0 else None) for i in range(25)
        ]
        assert _small(kind=Kind.VELOCITY, max_speed=10.0, rows=rows).rules() == rules


def test_a_discrete_jump_while_held_is_seen() -> None:
    """A discrete dimension jumps with a step as far as it likes, and never without one."""
    jumps = [_row(i, 3.0 * (i > 0), step=1 if i == 1 else None) for i in range(20)]
    assert _small(Kind.DISCRETE, max_speed=1.0, rows=jumps).rules() == set()
    late = [_row(i, 3.0 * (i > 14), step=1 if i == 1 else None) for i in range(20)]
    assert _small(Kind.DISCRETE, max_speed=1.0, rows=late).rules() == {Rule.HELD}


def test_motion_in_a_hold_is_seen(log: Log) -> None:
    """In HOLD a move in the last tick of the ramp is none of the judge's business, one tick later it is."""
    held = log.first(_at(SafetyLevel.HOLD))
    step = _joint(0.001)
    resumed = log.first(lambda row: row.level < SafetyLevel.HOLD, held)
    for after, rules in ((19, set()), (20, {Rule.REST})):
        assert log.shifted(held + after, step, resumed - held - after).rules() == rules


def test_motion_in_a_fault_is_seen(faulted: Log) -> None:
    """In FAULT nothing moves after the ramp."""
    rows = [*faulted.rows]
    for _ in range(30):  # the run ends when the arm has come to rest; the fault would last
        rows.append(replace(rows[-1], tick=rows[-1].tick + 1, t_ns=rows[-1].t_ns + TICK))
    longer = Log(faulted.header, rows)
    assert longer.rules() == set()
    assert longer.shifted(len(rows) - 3, _joint(0.001)).rules() == {Rule.REST}


def test_parking_off_the_line_is_seen(log: Log) -> None:
    """A joint that leaves the straight line to rest, or all that turn back on it, are reported."""
    parked = log.first(_at(SafetyLevel.PARK))
    middle = parked + 40
    assert log.shifted(middle, _joint(0.01), 1).rules() == {Rule.REST}
    back = log.but(middle + 2, command=log.rows[middle].command)
    assert back.rules() == {Rule.REST}


def test_parking_has_an_end(log: Log) -> None:
    """Motion in PARK after the longest duration of parking is reported."""
    parked = log.first(_at(SafetyLevel.PARK))
    header = replace(log.header, park_s=0.5)
    found = check_commands(log.rows, header)
    assert {v.rule for v in found} == {Rule.REST}
    assert found[0].t_ns == log.rows[parked + 50].t_ns


# --- levels and ticks ---------------------------------------------------------------------------


def test_parking_without_a_hold_is_seen(log: Log) -> None:
    """PARK that follows RUN is reported, and so is a log that begins with it."""
    at = log.first(_began, 200) + 1
    assert Rule.LEVELS in log.but(at, level=SafetyLevel.PARK).rules()
    assert Rule.LEVELS in log.but(0, level=SafetyLevel.PARK).rules()


def test_a_fault_that_is_left_is_seen(faulted: Log) -> None:
    """RUN or HOLD after FAULT is reported."""
    last = len(faulted.rows) - 1
    assert Rule.LEVELS in faulted.but(last, level=SafetyLevel.RUN).rules()
    assert Rule.LEVELS in faulted.but(last, level=SafetyLevel.HOLD).rules()


def test_starving_in_a_hold_is_seen(log: Log) -> None:
    """STARVED that follows HOLD is reported: a hold is left by a fresh chunk only."""
    at = log.first(_at(SafetyLevel.HOLD)) + 30
    assert Rule.LEVELS in log.but(at, level=SafetyLevel.STARVED).rules()


def test_a_tick_off_the_grid_is_seen(log: Log) -> None:
    """A tick at the time of the last, or a tenth of a period late, is reported; dropped ticks are not."""
    row = log.rows[150]
    assert log.but(150, t_ns=log.rows[149].t_ns).rules() == {Rule.GRID}
    assert log.but(150, t_ns=row.t_ns + TICK // 10).rules() == {Rule.GRID}
    later = [replace(r, t_ns=r.t_ns + 3 * TICK) for r in log.rows[-300:]]
    assert Log(log.header, [*log.rows[:-300], *later]).rules() == set()


def test_ticks_that_do_not_count_up_are_seen(log: Log) -> None:
    """A tick number that comes again is reported, and so is one that comes before its time."""
    again = log.but(150, tick=log.rows[149].tick)
    assert Log(log.header, again.rows[:151]).rules() == {Rule.GRID}
    early = [replace(row, tick=row.tick + 1) for row in log.rows[150:]]
    assert Log(log.header, [*log.rows[:150], *early]).rules() == {Rule.GRID}


def test_a_period_that_is_no_whole_number_is_no_fault() -> None:
    """At 30 Hz an hour of ticks, each rounded to a nanosecond, is on the grid."""
    rows = [replace(_row(i, 0.0), t_ns=round(i * S / 30)) for i in range(30 * 3600)]
    header = replace(_small(Kind.POSITION, rows=rows).header, control_hz=30.0)
    assert check_commands(rows, header) == []


# --- rows that are missing ----------------------------------------------------------------------


@pytest.mark.parametrize("which", ["log", "faulted"])
def test_rows_that_were_lost_break_no_rule(which: str, request: pytest.FixtureRequest) -> None:
    """A clean log from which any ten rows were lost, even its first, is clean and says how many they are."""
    whole: Log = request.getfixturevalue(which)
    for at in range(0, len(whole.rows) - 10, 23):
        rest = whole.without(at)
        assert rest.rules() == set(), f"without rows {at} to {at + 9}"
        assert missing_rows(rest.rows) == 10
    assert missing_rows(whole.rows) == missing_rows([]) == 0


def test_many_gaps_break_no_rule(log: Log) -> None:
    """A clean log that keeps only some rows of each hundred is clean, whichever they are."""
    for kept in (1, 2, 37):
        rows = [row for row in log.rows if row.tick % 100 < kept]
        assert Log(log.header, rows).rules() == set()


def test_a_whole_hold_may_be_missing(log: Log) -> None:
    """A log that goes from RUN to PARK across a gap, or begins in PARK after one, breaks no rule."""
    held, parked = (log.first(_at(level), 1000) for level in (SafetyLevel.HOLD, SafetyLevel.PARK))
    assert log.without(held, parked - held).rules() == set()
    assert Log(log.header, log.rows[parked + 5 :]).rules() == set()


def test_a_step_that_began_in_a_gap_may_go_on() -> None:
    """A step whose beginning is missing may last as long as if it had begun just then, and no longer."""
    for last, rules in ((14, set()), (15, {Rule.HELD})):
        rows = [_row(i, 0.01 * min(i, last)) for i in range(30)]
        made = _small(Kind.POSITION, rows=rows).without(1, 4)
        assert Log(replace(made.header, resume_ramp_s=0.01), made.rows).rules() == rules


def test_a_position_held_back_in_a_gap_may_be_finished() -> None:
    """Where the way just before is missing, the speed limit may have held the position back in it."""
    values = [0.0, 0.0, 0.0, 0.05, 0.1, 0.1]
    made = _small(Kind.POSITION, max_speed=10.0, rows=[_row(i, value) for i, value in enumerate(values)])
    one_tick_steps = replace(made.header, action_hz=100.0, resume_ramp_s=0.01)
    assert Log(one_tick_steps, made.rows).rules() == {Rule.HELD}
    assert Log(one_tick_steps, made.without(1, 2).rows).rules() == set()


def test_a_jump_across_a_gap_is_seen(log: Log) -> None:
    """Across ten missing ticks a command may change eleven times as much as in one, not more."""
    at = log.first(_began, 200) + 3
    reach = log.header.dimensions[0].max_speed / 100.0
    gapped = Log(log.header, log.without(at).rows[: at + 1])
    before, after = gapped.rows[at - 1].command[0], gapped.rows[at].command[0]
    for share, rules in ((11.0, set()), (11.01, {Rule.SPEED})):
        moved = gapped.shifted(at, _joint(before + share * reach - after), 1)
        assert moved.rules() == rules


def test_motion_soon_after_a_gap_is_seen(log: Log) -> None:
    """What moves in a hold is reported as soon as no ramp can be under way that began in the gap."""
    held = log.first(_at(SafetyLevel.HOLD)) + 30
    resumed = log.first(lambda row: row.level < SafetyLevel.HOLD, held) - 10
    gapped = log.without(held)
    for after, rules in ((19, set()), (20, {Rule.REST})):
        at = held + after
        assert gapped.shifted(at, _joint(0.001), resumed - at).rules() == rules


def test_parking_off_the_line_after_a_gap_is_seen(log: Log) -> None:
    """Where rows of the parking are missing, the rest of it has to be straight all the same."""
    gapped = log.without(log.first(_at(SafetyLevel.PARK)) + 20)
    middle = gapped.first(_at(SafetyLevel.PARK)) + 60
    assert gapped.shifted(middle, _joint(0.01), 1).rules() == {Rule.REST}


def test_what_is_older_than_a_hold_is_seen_across_a_gap(log: Log) -> None:
    """An action from before the last row before the gap in which a hold began is reported."""
    held = log.first(_at(SafetyLevel.HOLD))
    gapped = log.without(held - 5)
    resumed = gapped.first(_began, held)
    last_ns = gapped.rows[held - 6].t_ns
    assert gapped.but(resumed, captured_ns=last_ns).rules() == set()
    assert gapped.but(resumed, captured_ns=last_ns - 1).rules() == {Rule.EPOCH}


def test_a_fault_that_is_left_in_a_gap_is_seen(faulted: Log) -> None:
    """HOLD after FAULT is reported, however many rows are missing in between."""
    last = len(faulted.rows) - 1
    left = faulted.but(last, level=SafetyLevel.HOLD).without(last - 10)
    assert left.rows[last - 11].level is SafetyLevel.FAULT
    assert Rule.LEVELS in left.rules()


# --- how it says so -----------------------------------------------------------------------------


def test_a_dirty_log_fails_with_counts_and_sentences(log: Log) -> None:
    """The failure names the rule, how often it was broken, and the numbers of the first times."""
    at = log.first(_began, 200)
    spoilt = log.but(at, age_limit_ns=0)
    with pytest.raises(AssertionError, match=r"age 1x\n  age at \d+: step \d+ begins [\d.]+ ms old, limit 0"):
        assert_clean(spoilt.rows, spoilt.header)


def test_a_dirty_log_with_gaps_says_so(log: Log) -> None:
    """The failure says how many rows are missing beside those that were judged."""
    gapped = log.without(150)
    at = gapped.first(_began, 200)
    with pytest.raises(
        AssertionError, match=rf"in {len(gapped.rows)} commands \(10 more are missing\): age 1x"
    ):
        assert_clean(gapped.but(at, age_limit_ns=0).rows, log.header)


def test_an_empty_log_proves_nothing(log: Log) -> None:
    """A log without rows is not clean."""
    with pytest.raises(AssertionError, match="no rows"):
        assert_clean([], log.header)


def _small(kind: Kind, rows: list[CommandRow], max_speed: float = np.inf, high: float = np.inf) -> Log:
    """Returns a log of one dimension at 10 to 100 Hz."""
    dimension = Dimension("x", "rad", kind, high=high, max_speed=max_speed)
    return Log(CommandLogHeader(100.0, 10.0, 0.2, 0.3, 4.0, (dimension,)), rows)


def _row(tick: int, value: float, step: int | None = None) -> CommandRow:
    now_ns = (tick + 1) * TICK
    captured = None if step is None else now_ns
    level = SafetyLevel.RUN
    return CommandRow(tick, now_ns, level, 1, step, captured, S, 0, np.array([value]))
