"""What happens on the arm's bus (rows 16 to 18, 20, 21, 27, 31, the arm's part of 19), on real processes.

The arm is `segue run --robot.type=so101_follower` as a user starts it; its
servos are `segue emulate so101` on a pty, told at the right moment to fail.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.clock import now_ns
from segue.robots.so101_model import BODY_SPEED_DEG_S
from segue.robots.so101_units import ArmUnits
from segue.testing.goal_checker import check_goals, servo_speeds
from segue.testing.servo_arm import default_calibration
from tests.faults.measures import MS, TICK_MS
from tests.faults.report import NOISE, Row
from tests.processes import Arm, CommandArm, Emulator, Server, Spawned, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(240)]

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
Judge = Callable[[Arm], int]


class Bench:
    """An emulated arm, its calibration file, a server, and clients on demand."""

    def __init__(self, folder: Path, server: Server, spawned: list[Spawned]) -> None:
        self.folder = folder
        self._server = server
        self._spawned = spawned
        self.file = folder / "calibration" / "arm.json"
        self.file.parent.mkdir()
        self.calibrate(default_calibration_as_json())
        self.bus = Emulator(folder)
        spawned.append(self.bus)

    def calibrate(self, calibration: dict[str, dict[str, int]]) -> None:
        """Writes the arm's calibration file."""
        self.file.write_text(json.dumps(calibration, indent=4))

    def arm(self, name: str = "arm", *flags: str) -> CommandArm:
        """Starts `segue run` on the emulated arm."""
        robot = ["type=so101_follower", f"port={self.bus.port}", "id=arm"]
        robot.append(f"calibration_dir={self.file.parent}")
        words = [f"--robot.{each}" for each in robot]
        made = CommandArm(self.folder / name, self._server.address, *words, *flags)
        self._spawned.append(made)
        return made

    def goals(self) -> np.ndarray:
        """Returns the goals of all servos as they are now, counts."""
        return np.array([self.bus.state()[name]["goal"] for name in JOINTS])

    def judge_goals(self, speed: float = BODY_SPEED_DEG_S, since_ns: int = 0) -> int:
        """Judges what the servos took since then, of an arm of that speed; returns how many goals it was.

        A busy machine may hold up the emulator's process for a moment, which is no haste of the arm's.
        """
        goals = [
            (at_ns, JOINTS[int(where.split(".")[0]) - 1], float(value))
            for at_ns, where, value in self.bus.writes("Goal_Position")
            if at_ns >= since_ns
        ]
        speeds = servo_speeds(ArmUnits(default_calibration(), max_speed=speed))
        found = check_goals(goals, speeds, 1000 / TICK_MS, leeway_ticks=2 + 10 * NOISE)
        assert not found, "\n".join(map(str, found[:8]))
        return len(goals)

    def torque(self) -> list[int]:
        """Returns whether each servo holds."""
        state = self.bus.state()
        return [state[name]["torque"] for name in JOINTS]

    def never_powered(self) -> bool:
        """Returns whether no servo was ever told to hold or to move."""
        asked = [value for _, _, value in self.bus.writes("Torque_Enable")]
        return not any(asked) and self.torque() == [0] * 6


def default_calibration_as_json() -> dict[str, dict[str, int]]:
    """Returns the emulated arm's own calibration as LeRobot writes it."""
    from dataclasses import asdict

    return {name: asdict(motor) for name, motor in default_calibration().items()}


@pytest.fixture
def bench(tmp_path: Path, serve: Callable[..., Server], spawned: list[Spawned]) -> Bench:
    """An emulated arm and a server, before any client."""
    return Bench(tmp_path, serve(latency_s=0.05), spawned)


@pytest.mark.fault(16, "servo replies lost or garbled", "2 retries within the tick; the run goes on")
@pytest.mark.parametrize("order", ["lose 2", "garble 2"])
def test_replies_that_are_lost_are_asked_for_again(order: str, row: Row, bench: Bench, judged: Judge) -> None:
    """Lost and garbled replies cost a retry within their tick, and nobody sees more of it."""
    made = bench.arm("arm", "--duration=8").moving(2)
    for _ in range(20):
        bench.bus.order(order)
        time.sleep(0.05)
    assert made.wait() == 0, made.words()
    summary = made.summary()
    row.note(f"{order} x 20: {summary['bus_retries']} retries, {summary['bus_missed_ticks']} ticks missed")
    assert summary["bus_retries"] >= 20
    assert "FAULT" not in made.levels()
    row.note(f"{judged(made)} commands, {bench.judge_goals()} goals clean")


@pytest.mark.fault("16b", "the bus misses whole ticks", "a missed tick reuses the last state")
def test_missed_ticks_reuse_the_last_state(row: Row, bench: Bench, judged: Judge) -> None:
    """A servo that is mute for less than 200 ms is passed over; the run goes on."""
    made = bench.arm("arm", "--duration=8").moving(2)
    for _ in range(5):
        bench.bus.order("mute elbow_flex")
        time.sleep(0.06)
        bench.bus.order("unmute elbow_flex")
        time.sleep(0.3)
    assert made.wait() == 0, made.words()
    missed = made.summary()["bus_missed_ticks"]
    row.note(f"mute for 60 ms x 5: {missed} ticks missed, no level changed")
    assert missed >= 5
    assert "FAULT" not in made.levels()
    row.note(f"{judged(made)} commands, {bench.judge_goals()} goals clean")


@pytest.mark.fault("16c", "a servo stays mute", "200 ms → FAULT; the joint named; 74; torque kept")
def test_a_servo_that_stays_mute(row: Row, bench: Bench, judged: Judge) -> None:
    """A servo that does not answer for 200 ms latches: named, held, exit 74, and nothing is dropped."""
    made = bench.arm().moving(2)
    muted_ns = bench.bus.order("mute elbow_flex")
    fault = made.first("level", muted_ns, state_to="FAULT")
    row.within("FAULT after", (fault["mono_ns"] - muted_ns) / MS, 200 + 2 * TICK_MS)
    assert made.wait() == 74, made.words()
    assert "elbow_flex" in made.words()
    assert bench.torque() == [1] * 6
    row.note(f"exit 74, all joints still hold, {judged(made)} commands, {bench.judge_goals()} goals clean")


# So slow that every joint of the scripted policy is at its limit: what is lost is then far away.
SLOW = 12.0


STALLS = (
    ("silence 0.15",),
    ("stall 0.15",),
    ("mute shoulder_pan", "unmute shoulder_pan"),
    ("halve 200", "halve 0"),
    ("lose_goals 15",),
)


@pytest.mark.fault(27, "150 ms of silence at full speed", "goals go on from the last that arrived; no leap")
def test_nothing_leaps_after_a_stall_of_the_bus(row: Row, bench: Bench, judged: Judge) -> None:
    """Whatever is lost for 150 ms, on the bus or before it, each servo goes on from the goal that it has."""
    made = bench.arm("arm", f"--robot.max_speed={SLOW}", "--duration=11").moving(2)
    began_ns = time.monotonic_ns()
    for orders in 3 * STALLS:
        for order in orders:
            bench.bus.order(order)
            time.sleep(0.15)
        time.sleep(0.15)
    for stopped_s in (0.035, 0.3):
        control = made.control_pid()
        os.kill(control, signal.SIGSTOP)
        time.sleep(stopped_s)
        os.kill(control, signal.SIGCONT)
        time.sleep(0.2)
    code = made.wait()
    # On a busy machine 150 ms may become 200, which are a fault; nothing may leap then either.
    assert code in (0, 74), made.words()
    row.note(f"exit {code}; {bench.judge_goals(SLOW, began_ns)} goals that servos took without a leap")
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault(31, "slow servo adapter", "refused before torque with the rate that works; works at it")
@pytest.mark.parametrize(("order", "takes"), [("delay 0.008", 8), ("grid 0.016", 16)])
def test_a_slow_adapter(order: str, takes: int, row: Row, bench: Bench, judged: Judge) -> None:
    """At 100 Hz the run is refused with the rate that fits and no torque; at that rate it runs."""
    bench.bus.order(order)
    refused = bench.arm("refused")
    assert refused.wait() == 78, refused.words()
    assert bench.never_powered()
    found = re.search(
        r"control_hz: 100; the servos' answers take (\d+) ms, .* give --control_hz=(\d+) or less",
        refused.words(),
    )
    assert found is not None, refused.words()
    told_ms, hz = map(int, found.groups())
    assert takes - 2 <= told_ms <= takes + NOISE
    made = bench.arm("arm", f"--control_hz={hz}", "--duration=5")
    assert made.wait() == 0, made.words()
    missed, ticks = made.summary()["bus_missed_ticks"], judged(made)
    assert missed <= 0.1 * ticks
    row.note(f"{order}: 78, answers take {told_ms} ms; at {hz} Hz {missed} of {ticks} ticks missed")


@pytest.mark.fault(17, "servo overloaded, too hot", "≤ 2 ticks: FAULT, the others hold, joint named; 80")
@pytest.mark.parametrize("order", ["overload shoulder_lift", "overheat wrist_flex"])
def test_a_servo_in_danger(order: str, row: Row, bench: Bench, judged: Judge) -> None:
    """A servo that says that it is in danger latches within two ticks, and the other joints hold."""
    made = bench.arm().moving(6)
    what, joint = order.split()
    ordered_ns = bench.bus.order(order)
    fault = made.first("level", ordered_ns, state_to="FAULT")
    row.within(f"{what}: FAULT after", (fault["mono_ns"] - ordered_ns) / MS, 2 * TICK_MS)
    assert made.wait() == 80, made.words()
    assert joint in made.words()
    others = [name for name in JOINTS if name != joint]
    state = bench.bus.state()
    assert all(state[name]["torque"] for name in others)
    before = bench.goals()
    time.sleep(0.3)
    assert (bench.goals() == before).all()
    row.note(f"exit 80, {joint} named, the others hold, {judged(made)} commands clean")


@pytest.mark.fault(
    "17b", "a supply that is too high, in mid-run", "≤ 3 ticks: FAULT, joint and volts named; 80"
)
def test_a_supply_that_becomes_too_high(row: Row, bench: Bench, judged: Judge) -> None:
    """More volts than a servo allows itself, for two ticks in a row, latch; a spike of one tick does not."""
    made = bench.arm().moving(6)
    ordered_ns = bench.bus.order("voltage shoulder_lift 12")
    fault = made.first("level", ordered_ns, state_to="FAULT")
    row.within("FAULT after", (fault["mono_ns"] - ordered_ns) / MS, 3 * TICK_MS)
    assert made.wait() == 80, made.words()
    assert "shoulder_lift (servo 2) gets 12.0 V and may have 8.0 V at most" in made.words()
    assert bench.torque() == [1] * 6
    row.note(f"exit 80, volts named, all joints hold, {judged(made)} commands clean")


@pytest.mark.fault(
    "17c", "two servos of one id, a supply too high", "torque never enabled, 74, the remedy named"
)
@pytest.mark.parametrize(
    ("order", "says"),
    [
        ("renumber wrist_flex 3", "two servos answer to id 3 (elbow_flex): disconnect one of them"),
        ("voltage shoulder_lift 12", "shoulder_lift (servo 2) gets 12.0 V and may have 8.0 V at most"),
    ],
)
def test_servos_that_are_not_ready(order: str, says: str, row: Row, bench: Bench) -> None:
    """An arm whose servos cannot be told apart, or would burn, is not powered, and it is said what to do."""
    bench.bus.order(order)
    made = bench.arm()
    assert made.wait() == 74, made.words()
    assert says in made.words()
    assert bench.never_powered()
    row.note(f"{order}: 74, remedy named, no torque")


@pytest.mark.fault(18, "USB serial unplugged", "≤ 1 tick; “torque state unknown”; 74")
def test_a_pulled_plug(row: Row, bench: Bench, judged: Judge) -> None:
    """A pulled plug is noticed at the next tick, and the words say what nobody can know any more."""
    made = bench.arm().moving(2)
    pulled_ns = bench.bus.order("unplug")
    # It may be noticed in the middle of a tick, whose time has come before.
    fault = made.first("level", pulled_ns - round(TICK_MS * MS), state_to="FAULT")
    row.within("FAULT after", (fault["mono_ns"] - pulled_ns) / MS, TICK_MS)
    assert made.wait() == 74, made.words()
    assert "torque state" in made.words()
    assert "unknown" in made.words()
    row.note(f"exit 74, {judged(made)} commands, {bench.judge_goals()} goals clean")
    bench.bus.order("plug")
    assert bench.torque() == [1] * 6


@pytest.mark.fault("18b", "plugged in again, and started again", "starts from where the arm is held")
def test_a_held_arm_is_taken_over_without_dropping(row: Row, bench: Bench, judged: Judge) -> None:
    """An arm that was left holding is taken over as it is: its torque is never cut in between."""
    made = bench.arm().moving(2)
    bench.bus.order("unplug")
    assert made.wait() == 74, made.words()
    bench.bus.order("plug")
    began_ns = now_ns()
    again = bench.arm("again").moving(2)
    off = [each for each in bench.bus.writes("Torque_Enable") if each[0] > began_ns and not each[2]]
    assert off == []
    again.signal(signal.SIGINT)
    assert again.wait() == 130, again.words()
    goals = bench.judge_goals(since_ns=began_ns)
    row.note(f"no torque was cut, {judged(again)} commands, {goals} goals clean")


@pytest.mark.fault("19c", "HUP, INT, TERM (bus)", "ramp, PARK ≤ 5 s, torque as configured, 129, 130, 143")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_parks_the_arm_and_frees_it(
    number: signal.Signals, row: Row, bench: Bench, judged: Judge
) -> None:
    """The first signal parks the arm where it was found, and only there the torque is taken away."""
    found = np.array([bench.bus.state()[name]["position"] for name in JOINTS])
    made = bench.arm().moving(2)
    asked_ns = now_ns()
    made.signal(number)
    assert made.wait() == 128 + number, made.words()
    row.within(f"{number.name}: parked after", (made.commands()[1][-1].t_ns - asked_ns) / MS, 5_000)
    assert bench.torque() == [0] * 6
    now = np.array([bench.bus.state()[name]["position"] for name in JOINTS])
    assert np.abs(now - found).max() <= 30
    row.note(f"freed where it was found, {judged(made)} commands, {bench.judge_goals()} goals clean")


@pytest.mark.fault("19d", "a second signal (bus)", "holds where it is, torque kept and said")
def test_a_second_signal_leaves_the_arm_holding(row: Row, bench: Bench) -> None:
    """After two signals the arm is not at rest, so it keeps its torque, and the words say how to free it."""
    made = bench.arm("arm", "--safety.park_s=60").moving(4)
    made.signal(signal.SIGINT)
    made.first("level", 0, state_to="PARK")
    made.signal(signal.SIGINT)
    assert made.wait() == 130, made.words()
    assert bench.torque() == [1] * 6
    assert "segue release" in made.words()
    row.note("all joints hold, `segue release` named")


@pytest.mark.fault(20, "two clients on one serial port", "exclusive lock, 74, no byte written")
def test_a_second_client_is_turned_away(row: Row, bench: Bench, judged: Judge) -> None:
    """The second client of a port ends with 74 and says why; the first one does not notice."""
    first = bench.arm("first").moving(2)
    second = bench.arm("second")
    assert second.wait() == 74, second.words()
    assert "in use" in second.words()
    first.moving(first.chunks() + 2)
    first.signal(signal.SIGINT)
    assert first.wait() == 130, first.words()
    assert set(first.levels()) == {"HOLD", "PARK"}
    row.note(f"exit 74; the first ran on, {judged(first)} commands clean")


@pytest.mark.fault("20b", "a port that is locked, seen from the wire", "no byte written")
def test_a_locked_port_gets_no_byte(row: Row, bench: Bench) -> None:
    """Whoever finds the port locked writes not one byte to it."""
    from segue.robots.serialport import SerialPort

    held = SerialPort(bench.bus.port)
    made = bench.arm()
    assert made.wait() == 74, made.words()
    heard = held.read(now_ns() + 300 * MS)
    held.close()
    assert heard == b""  # a servo would have answered a ping
    assert bench.bus.writes() == []
    row.note("exit 74, no servo heard anything")


def _another(calibration: dict[str, Any]) -> None:
    calibration["elbow_flex"]["homing_offset"] += 100


def _swapped(calibration: dict[str, Any]) -> None:
    motor = calibration["wrist_flex"]
    motor["range_min"], motor["range_max"] = motor["range_max"], motor["range_min"]


def _narrow(calibration: dict[str, Any]) -> None:
    calibration["elbow_flex"] |= {"range_min": 2780, "range_max": 2795}


def _short(calibration: dict[str, Any]) -> None:
    del calibration["gripper"]


@pytest.mark.fault(21, "calibration missing, another's, swapped", "torque never enabled, 78, the file named")
@pytest.mark.parametrize(
    "spoil",
    [None, _another, _swapped, _short, _narrow],
    ids=["none", "other", "swapped", "short", "narrow"],
)
def test_a_wrong_calibration(
    spoil: Callable[[dict[str, Any]], None] | None, row: Row, bench: Bench, request: pytest.FixtureRequest
) -> None:
    """With a calibration that is not this arm's nothing is powered, and the file is named."""
    if spoil is None:
        bench.file.unlink()
    else:
        calibration = default_calibration_as_json()
        spoil(calibration)
        bench.calibrate(calibration)
    made = bench.arm()
    assert made.wait() == 78, made.words()
    assert str(bench.file) in made.words()
    assert bench.never_powered()
    row.note(f"{request.node.callspec.id}: 78, file named, no torque")


@pytest.mark.fault("G4", "control process killed at any moment", "the arm holds or lies limp; never dropped")
def test_a_run_that_is_cut_anywhere(row: Row, bench: Bench) -> None:
    """Wherever the processes are killed, joints that held go on holding, where they were last told."""
    draw, held = random.Random(4), 0
    for number in range(12):
        before = bench.torque()
        # The first cuts fall into the connecting, the last into the running.
        _cut(bench.arm(f"arm{number}"), draw.uniform(0.0, 0.25 * (number + 1)))
        after = bench.torque()
        assert all(now >= was for now, was in zip(after, before, strict=True)), (before, after)
        held += all(after)
        time.sleep(0.5)
        state = bench.bus.state()
        away = [abs(state[n]["position"] - state[n]["goal"]) for n in JOINTS if state[n]["torque"]]
        assert max(away, default=0) <= 20
    goals = [value for _, _, value in bench.bus.writes("Goal_Position")]
    ranges = default_calibration().values()
    assert min(goals) >= min(m.range_min for m in ranges)
    assert max(goals) <= max(m.range_max for m in ranges)
    row.note(f"12 cuts; {held} times under torque, and it held; no goal outside the ranges")
    assert held >= 3


def _cut(made: Arm, after_s: float) -> None:
    """Kills both processes of an arm, `after_s` seconds after its control process began."""
    wait_until(lambda: _control_of(made) is not None or made.process.poll() is not None, "it starts")
    time.sleep(after_s)
    pid = _control_of(made)
    os.kill(made.pid, signal.SIGKILL)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    made.wait()


def _control_of(arm: Arm) -> int | None:
    try:
        return arm.control_pid()
    except (ValueError, OSError):
        return None
