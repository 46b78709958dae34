"""The SO-101 (and SO-100) follower on its servo bus: a `Robot` like any other.

A tick asks all servos one question, for where they are and how they fare, and
one servo in turn a second one: does it still have torque, and the goal that it
was sent? Nobody confirms a goal, so a lost one or a servo that was without
power for a moment shows within six ticks. A tick without an answer goes on with
the last state, whose age is told; 200 ms without one are a fault, after which
no goal is sent any more. Torque is switched on only when servos, calibration
and pose agree, with goals where the arm is, and switched off only where the arm
is known not to fall.

A servo that was mute is told nothing before it was looked at, and whatever was
lost, a goal is never further than one tick's way from the one that its servo
has (`goals`). The plan is the control loop's business; counts and units are
`ArmUnits`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from segue.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from segue.core.specs import ActionSpec, CameraSpec, ObservationSpec, RobotSpec
from segue.core.types import FloatArray
from segue.errors import ConfigError, LocalProtocolError, RobotFault, SegueError
from segue.robots import so101_setup, so101_timing, so101_torque, sts3215
from segue.robots.base import RobotState
from segue.robots.calibration import GRIPPER
from segue.robots.feetech import ServoBus
from segue.robots.so101_follow import Follow
from segue.robots.so101_goals import Goals
from segue.robots.so101_health import Health
from segue.robots.so101_lookback import LookBack
from segue.robots.so101_pose import Pose
from segue.robots.so101_ranges import wide_ranges
from segue.robots.so101_ready import check_ready
from segue.robots.so101_units import DEG_PER_COUNT, ArmUnits

if TYPE_CHECKING:
    from segue.robots.serialport import Port

SILENCE_LIMIT_NS = 200 * NS_PER_MS
# Under gravity a servo stops some degrees short of its goal.
_AT_REST_COUNTS = round(6 / DEG_PER_COUNT)
# Fewer ticks without an answer are not worth a word.
_FEW_TICKS = 3
# So many answers that came too late are no accident any more.
_MANY_LATE = 50


@dataclass(frozen=True, slots=True)
class RestConfig:
    """How a run of the arm ends.

    Attributes:
        park_pose: where PARK goes, units by joint, all six; empty for none.
        return_to_initial_position: PARK goes to the park pose, or where the arm was at `connect`;
            without it the arm stays where it is.
        disable_torque_on_disconnect: torque goes off in the end, if the arm rests where it cannot fall.
    """

    park_pose: Mapping[str, float] = field(default_factory=dict)
    return_to_initial_position: bool = True
    disable_torque_on_disconnect: bool = True


@dataclass(frozen=True, slots=True)
class SO101Config:
    """An arm.

    Attributes:
        port: path of the serial device.
        units: calibration, units and speeds.
        calibration_file: where the calibration was read, for messages.
        robot_type: ``so101_follower`` or ``so100_follower``.
        cameras: that go with it.
        rest: how a run ends.
        write_calibration: `connect` brings the calibration to servos that hold another.
        dry_run: torque stays as it is and no goal is sent.
        tick_ns: time between two reads.
    """

    port: str
    units: ArmUnits
    calibration_file: str = "the calibration"
    robot_type: str = "so101_follower"
    cameras: tuple[CameraSpec, ...] = ()
    rest: RestConfig = field(default_factory=RestConfig)
    write_calibration: bool = False
    dry_run: bool = False
    tick_ns: int = 10 * NS_PER_MS


def open_port(path: str) -> Port:
    """Returns the serial port at `path`, opened and locked.

    Raises:
        ConfigError: pyserial is not installed.
        RobotFault: the port cannot be had.
    """
    try:
        from segue.robots.serialport import SerialPort
    except ModuleNotFoundError as missing:
        if missing.name != "serial":
            raise
        raise ConfigError("an arm needs the package pyserial: pip install 'segue[so101]'") from None
    return SerialPort(path)


@dataclass(slots=True)
class _Arm:
    """A connected arm.

    Attributes:
        bus: its servos.
        pose: where they are.
        health: what they say of themselves.
        lookback: whether they do what they were told.
        goals: what they were told, and what of it arrived.
        initial: counts by servo at `connect`.
        was_slack: all servos were without torque then, so the arm lay safely.
        told_slow: a person knows that the adapter is too slow.
        fault: why no goal is sent any more; empty while all is well.
    """

    bus: ServoBus
    pose: Pose
    health: Health
    lookback: LookBack
    goals: Goals
    initial: dict[int, int]
    was_slack: bool
    told_slow: bool = False
    fault: str = ""


class SO101:
    """A follower arm; owned by one thread."""

    def __init__(
        self,
        config: SO101Config,
        clock: Clock | None = None,
        opener: Callable[[str], Port] = open_port,
    ) -> None:
        """Opens nothing yet.

        Args:
            config: of the arm.
            clock: the host's by default.
            opener: returns the port by its path.
        """
        self.config = config
        dimensions = config.units.dimensions()
        observation = ObservationSpec(dimensions, (), config.cameras)
        self.spec = RobotSpec(config.robot_type, observation, ActionSpec(dimensions))
        self._low, self._high = self.spec.action.array("low"), self.spec.action.array("high")
        self._clock = clock or SystemClock()
        self._opener = opener
        self._arm: _Arm | None = None
        doubts = wide_ranges(config.units.calibration)
        self._last_notes = [f"{config.calibration_file}: {each}" for each in doubts]
        self._counted: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<SO101 {self.config.port} {'connected' if self._arm else 'closed'}>"

    @property
    def rest_pose(self) -> FloatArray | None:
        """Where PARK moves to, shape (6,); None for where the arm is."""
        rest = self.config.rest
        if not rest.return_to_initial_position:
            return None
        if rest.park_pose:
            return np.array([rest.park_pose[name] for name in self.config.units.ids])
        if self._arm is not None:
            return np.clip(self.config.units.to_units(self._arm.initial), self._low, self._high)
        return None

    def connect(self) -> None:
        """Opens the port, makes sure that all agrees, and switches torque on where the arm is.

        Raises:
            ConfigError: the calibration is another arm's, or the pose is outside of it.
            RobotFault: the port or a servo fails, or something must be done to the arm first.
            SafetyLatch: a servo is in danger already.
        """
        if self._arm is not None:
            return
        bus = ServoBus(self._opener(self.config.port), self._clock)
        try:
            self._arm = self._prepared(bus)
        except BaseException as error:
            bus.close()
            if isinstance(error, SegueError):
                named = self.config.port in str(error)
                raise error if named else type(error)(f"{self.config.port}: {error}") from error
            raise

    def read(self, now_ns: int) -> RobotState:
        """Returns the present state, or the last one with its age when a servo stays mute.

        Raises:
            RobotFault: the port is gone, a servo has been mute for 200 ms, lost its torque or does
                not take its goals.
            SafetyLatch: a servo says that it is in danger.
        """
        arm = self._connected()
        try:
            return self._read(arm)
        except RobotFault as error:
            arm.fault = arm.fault or str(error)
            raise

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Sends a target, shape (6,), and returns the one that the servos were told last, to a count.

        It is within the limits, and no further than a tick's way from the one that the servos have.
        A joint that is far behind is sent no further than it can come along; a servo that is mute
        is sent nothing, nor afterwards before it was looked at.

        Raises:
            LocalProtocolError: `action` is not of shape (6,) or not finite.
            RobotFault: the port is gone, or there was a fault before: the target could be stale.
        """
        arm = self._connected()
        if action.shape != self._low.shape or not np.isfinite(action).all():
            raise LocalProtocolError(f"an action has {len(self._low)} finite numbers, got {action!r}")
        if arm.fault:
            raise RobotFault(arm.fault)
        target: FloatArray = np.clip(action, self._low, self._high)
        if self.config.dry_run:
            return target
        pose = arm.pose
        goals = arm.goals.bound(target, pose.counts, self._clock.now_ns() - pose.seen_ns)
        sent = arm.lookback.trusted(goals)
        try:
            if sent:
                arm.bus.sync_write(sts3215.GOAL_POSITION, sent)
        except RobotFault as error:
            arm.fault = str(error)
            raise
        arm.lookback.note_sent(sent)
        return arm.goals.tell(sent)

    def disconnect(self) -> None:
        """Lets the arm go where it cannot fall, else leaves it holding and says so; never raises."""
        arm, self._arm = self._arm, None
        if arm is None:
            return
        try:
            note = "" if self.config.dry_run else self._let_go(arm)
        except Exception as error:
            note = f"the arm could not be let go, so its torque state is unknown: {error}; {self._release}"
        arm.bus.close()
        self._counted = _counted(arm)
        said = [*arm.health.take_notes(), _line_words(arm, self.config.port), note]
        self._last_notes += [each for each in said if each]

    def notes(self) -> list[str]:
        """Returns what there is to tell a person since the last call, a sentence each."""
        (told, self._last_notes), arm = (self._last_notes, []), self._arm
        if arm is None:
            return told
        if not arm.told_slow and arm.bus.times.overdue_questions >= _MANY_LATE:
            arm.told_slow = True
            late_ns = arm.bus.times.longest_overdue_ns
            told.append(f"ticks are missed: {so101_timing.too_slow(late_ns, self.config.port)}")
        return told + arm.health.take_notes()

    def slept(self) -> None:
        """Forgets for how long servos had been mute or behind when the computer went to sleep."""
        if self._arm is not None:
            self._arm.pose.mute_since_ns = None
            self._arm.goals.forget()

    def summary(self) -> dict[str, int]:
        """Returns what the bus counted, the highest temperature (°C) and the lowest voltage (mV)."""
        return _counted(self._arm) if self._arm is not None else self._counted

    def _prepared(self, bus: ServoBus) -> _Arm:
        config, units = self.config, self.config.units
        ids, calibration, servos = units.ids, units.calibration, list(units.ids.values())
        limits = check_ready(bus, ids)
        writes = config.write_calibration and not config.dry_run
        so101_setup.check_calibration(bus, calibration, config.calibration_file, writes)
        hz = round(NS_PER_S / config.tick_ns, 3)
        so101_timing.check_rate(bus, self._clock, servos, hz, config.port)
        initial = so101_setup.check_pose(bus, calibration, config.calibration_file)
        torque = bus.read_all(servos, sts3215.TORQUE_ENABLE)
        slack = not any(torque.values())
        goals: dict[int, int] = {}
        if not config.dry_run:
            so101_setup.configure(bus, ids, holds=not slack)
            ranges = {joint.id: (joint.range_min, joint.range_max) for joint in calibration.values()}
            goals = so101_torque.hold_here(bus, self._clock, ranges, initial)
        health = Health(ids, limits)
        follow = Follow(health, [servo for name, servo in ids.items() if name != GRIPPER])
        pose = Pose(goals or initial, self._clock.now_ns())
        kept = Goals(units, follow, config.tick_ns, goals or initial)
        return _Arm(bus, pose, health, LookBack(health, servos, goals), kept, initial, slack)

    def _read(self, arm: _Arm) -> RobotState:
        asked_ns = self._clock.now_ns()
        deadline_ns = asked_ns + so101_timing.budget_ns(self.config.tick_ns)
        pose, lookback = arm.pose, arm.lookback
        whole = lookback.told and (arm.bus.times.slow or lookback.starved)
        answers = pose.ask(arm.bus, asked_ns, deadline_ns, whole)
        arm.health.heed(answers)
        lookback.suspect(pose.mute)
        if whole:
            arm.goals.looked(lookback.heed(pose.orders), whole=True)
        elif not pose.mute:
            arm.goals.looked(lookback.look(arm.bus, deadline_ns, arm.goals.witness))
        if pose.mute:
            self._miss(arm, asked_ns)
        else:
            arm.goals.heed(pose.counts, asked_ns)
        return RobotState(self.config.units.to_units(pose.counts), captured_ns=pose.seen_ns)

    def _miss(self, arm: _Arm, asked_ns: int) -> None:
        silent_ns, port = arm.pose.silent_ns(asked_ns), self.config.port
        if silent_ns < SILENCE_LIMIT_NS:
            return
        late_ns = arm.bus.times.overdue_ns
        if late_ns is not None:
            raise RobotFault(
                f"port {port}: {so101_timing.too_slow(late_ns, port)}; the arm holds what it was told last"
            )
        listed = ", ".join(arm.health.name(servo) for servo in arm.pose.mute)
        raise RobotFault(
            f"port {port}: no answer from {listed} for {silent_ns // NS_PER_MS} ms; "
            "the arm holds what it was told last, if it has power"
        )

    def _let_go(self, arm: _Arm) -> str:
        """Switches torque off if the arm cannot fall, and returns what a person has to know."""
        rest, units = self.config.rest, self.config.units
        release = self._release
        if not rest.disable_torque_on_disconnect:
            return f"torque stays on, as disable_torque_on_disconnect=false asks; later {release}"
        arm.bus.read_all(
            list(units.ids.values()), sts3215.TORQUE_ENABLE
        )  # nothing is known of a bus that is gone
        pose = self._rest_goals(arm)
        if pose is None:
            return f"torque stays on: nobody said where the arm lies safely; {release}"
        present = arm.bus.read_all(list(pose), sts3215.PRESENT_POSITION)
        # The gripper cannot fall, and one that holds a thing never reaches its own.
        away = [
            n for n, s in units.ids.items() if n != GRIPPER and abs(present[s] - pose[s]) > _AT_REST_COUNTS
        ]
        if away:
            return f"torque stays on: {', '.join(away)} is not at the rest pose; {release}"
        so101_torque.lower(arm.bus, self._clock, list(pose))
        return "torque is off, the arm is at rest"

    @property
    def _release(self) -> str:
        return f"support the arm and run `segue release --robot.port={self.config.port}`"

    def _rest_goals(self, arm: _Arm) -> dict[int, int] | None:
        """Returns where the arm may be let go, counts by servo: a park pose, or where it lay before."""
        rest = self.config.rest
        if not rest.return_to_initial_position:
            return None
        if rest.park_pose:
            return self.config.units.to_counts([rest.park_pose[name] for name in self.config.units.ids])
        return arm.initial if arm.was_slack else None

    def _connected(self) -> _Arm:
        if self._arm is None:
            raise RobotFault("the arm is not connected")
        return self._arm


def _line_words(arm: _Arm, port: str) -> str:
    """Returns what a person should know of the line; a retry now and then is not worth a word."""
    missed, retries = arm.pose.missed_ticks, arm.bus.counts.retries
    # Each tick asks up to twice; a busy machine misses a tick now and then, and no cable is to blame.
    if missed < _FEW_TICKS or missed * 100 < arm.bus.counts.questions:
        return ""
    times = arm.bus.times
    if times.overdue_questions * 2 > missed:
        return f"in {missed} ticks {so101_timing.too_slow(times.longest_overdue_ns, port)}"
    return f"servos were mute in {missed} ticks ({retries} questions repeated); look at the cables"


def _counted(arm: _Arm) -> dict[str, int]:
    counts, health = arm.bus.counts, arm.health
    return {
        "bus_questions": counts.questions,
        "bus_retries": counts.retries,
        "bus_missed_ticks": arm.pose.missed_ticks,
        "bus_lost_goals": arm.lookback.lost_goals,
        "hottest_servo_c": health.hottest_c,
        "lowest_voltage_mv": (health.lowest_dv or 0) * 100,
    }
