"""A slow adapter works at the rate that fits it, is refused at another, and the rate is named."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segue.errors import ConfigError, RobotFault
from segue.robots import so101_model, so101_timing
from segue.robots.so101_timing import budget_ns, highest_hz, too_slow
from segue.testing.goal_checker import check_goals, servo_speeds
from tests.unit.robots.emulated_arm import Bench, bench, resting

MS = 1_000_000


def arm(hz: float, *, delay_ms: float = 0, grid_ms: float = 0, jitter_ms: float = 0) -> Bench:
    """Returns an arm behind an adapter that keeps it waiting, not connected."""
    made = bench(replace(resting(), tick_ns=round(1e9 / hz)))
    slow(made, delay_ms, grid_ms, jitter_ms)
    return made


def slow(made: Bench, delay_ms: float = 0, grid_ms: float = 0, jitter_ms: float = 0) -> None:
    """Makes the adapter slow."""
    made.line.faults.delay_ns = round(delay_ms * MS)
    made.line.adapter.waits.grid_ns = round(grid_ms * MS)
    made.line.adapter.waits.jitter_ns = round(jitter_ms * MS)


def drive(made: Bench, ticks: int) -> None:
    """Swings the base to and fro, and judges what the servos were told."""
    tick_ns, target = made.arm.config.tick_ns, so101_model.REST_POSE.copy()
    began_ns, hz = made.clock.now_ns(), 1e9 / made.arm.config.tick_ns
    for tick in range(ticks):
        made.clock.sleep_until(began_ns + tick * tick_ns)
        made.arm.read(made.clock.now_ns())
        target[0] = 30 * np.sin(2 * np.pi * tick / hz)
        made.arm.write(target, 0)
    assert not check_goals(made.line.goals, servo_speeds(made.arm.config.units), hz)


FITTING = [
    (30, {"delay_ms": 8}),
    (50, {"delay_ms": 8}),
    (70, {"delay_ms": 8}),
    (30, {"grid_ms": 16}),
    (40, {"grid_ms": 16}),
    (100, {"grid_ms": 1}),
    (100, {"delay_ms": 2}),
    (60, {"jitter_ms": 8}),
    (30, {"jitter_ms": 16}),
    (200, {}),
]


@pytest.mark.parametrize(("hz", "adapter"), FITTING)
def test_at_a_rate_that_fits_no_tick_is_missed(hz: float, adapter: dict[str, float]) -> None:
    """Every question of three seconds is answered within its tick, however slow the adapter."""
    made = arm(hz, **adapter)
    made.arm.connect()
    drive(made, 3 * round(hz))
    summary = made.arm.summary()
    assert (summary["bus_missed_ticks"], summary["bus_lost_goals"]) == (0, 0)
    assert made.arm.notes() == []


@pytest.mark.parametrize(
    ("hz", "adapter", "takes", "fits"),
    [
        (100, {"delay_ms": 8}, 8, (65, 73)),
        (200, {"delay_ms": 8}, 8, (65, 73)),
        (100, {"grid_ms": 16}, 16, (40, 46)),
        (50, {"grid_ms": 16}, 16, (40, 46)),
        (100, {"jitter_ms": 8}, 8, (65, 80)),
        (200, {"delay_ms": 2}, 2, (140, 170)),
    ],
)
def test_at_another_rate_it_is_refused_before_torque(
    hz: float, adapter: dict[str, float], takes: int, fits: tuple[int, int]
) -> None:
    """The refusal says how long answers take and the highest rate that fits, and at that rate it works."""
    made = arm(hz, **adapter)
    with pytest.raises(ConfigError) as refused:
        made.arm.connect()
    assert made.torque == [0] * 6
    found = re.search(
        rf"control_hz: {hz}; the servos' answers take (\d+) ms, .*at most (\d+) times a second: "
        r"give --control_hz=(\d+) or less, .*latency_timer",
        str(refused.value),
    )
    assert found is not None, refused.value
    assert abs(int(found[1]) - takes) <= 2
    assert fits[0] <= int(found[2]) <= fits[1]
    assert int(found[3]) == int(0.9 * int(found[2]))
    # At the one that just fits an answer of drawn lateness may be a little later than all that were measured.
    for rate, missed in ((found[2], 10), (found[3], 2)):
        again = arm(int(rate), **adapter)
        again.arm.connect()
        drive(again, 200)
        assert again.arm.summary()["bus_missed_ticks"] <= missed


def test_lost_answers_are_still_asked_for_within_the_tick() -> None:
    """At 30 Hz behind 8 ms there is time for a second question, and at 100 Hz on a quick line for three."""
    for hz, adapter in ((30, {"delay_ms": 8}), (100, {})):
        made = arm(hz, **adapter)
        made.arm.connect()
        made.tick(3)
        made.line.faults.lose_replies = 1
        began_ns = made.clock.now_ns()
        assert made.arm.read(began_ns).captured_ns == began_ns
        assert made.arm.summary()["bus_missed_ticks"] == 0


@pytest.mark.parametrize(
    ("hz", "adapter"),
    [
        (30, {"delay_ms": 8}),
        (50, {"delay_ms": 8}),
        (30, {"grid_ms": 16}),
        (30, {"jitter_ms": 16}),
        (50, {"jitter_ms": 8}),
    ],
)
def test_an_adapter_that_becomes_slow_is_waited_for(hz: float, adapter: dict[str, float]) -> None:
    """A line that answers late from some moment on costs a few ticks, where there is time to wait."""
    made = arm(hz)
    made.arm.connect()
    drive(made, 20)
    slow(made, **adapter)
    drive(made, round(hz))
    assert made.arm.summary()["bus_missed_ticks"] <= 6
    before = made.arm.summary()["bus_missed_ticks"]
    drive(made, 2 * round(hz))
    assert made.arm.summary()["bus_missed_ticks"] == before


def test_an_adapter_that_becomes_too_slow_is_a_fault_that_names_the_rate() -> None:
    """After 200 ms of answers that are too late the run ends, with how long they take and what fits."""
    made = arm(100)
    made.arm.connect()
    drive(made, 20)
    slow(made, delay_ms=8)
    with pytest.raises(RobotFault, match=r"answers take [89] ms, .* give --control_hz=[56]\d or less"):
        drive(made, 40)
    assert made.torque == [1] * 6


def test_a_servo_that_is_mute_behind_a_slow_adapter_is_named() -> None:
    """Late is who answers too late; who does not answer at all is said to be mute."""
    made = arm(30, delay_ms=8)
    made.arm.connect()
    drive(made, 10)
    made.line.faults.mute = frozenset({3})
    with pytest.raises(RobotFault, match=r"no answer from elbow_flex \(servo 3\)"):
        drive(made, 20)


def test_ticks_that_are_missed_now_and_then_are_told_of() -> None:
    """An adapter that is too late in every second tick ends no run, and a person learns why it stutters."""
    made = arm(100)
    made.arm.connect()
    slow(made, jitter_ms=11)
    drive(made, 300)
    (note,) = made.arm.notes()
    assert re.match(r"ticks are missed: the servos' answers take \d+ ms, .*--control_hz=\d+ or less", note)
    assert made.arm.notes() == []
    made.arm.disconnect()
    assert re.match(r"in \d+ ticks the servos' answers take \d+ ms", made.arm.notes()[0])


def test_a_few_late_moments_refuse_nothing() -> None:
    """A busy machine that delays some of the answers while it is measured is no slow adapter."""
    made, asked = arm(100), [0]
    asking = made.line.adapter.asked

    def asked_now() -> None:
        asked[0] += 1
        made.line.faults.delay_ns = 20 * MS if asked[0] % 4 == 0 else 0
        asking()

    made.line.adapter.asked = asked_now  # type: ignore[method-assign]
    made.arm.connect()


def test_the_share_of_a_tick_grows_with_it() -> None:
    """Of 10 ms questions may take 6.5, of 33 ms all but 3.5, of 5 ms two thirds."""
    assert [budget_ns(ms * MS) for ms in (5, 10, 33)] == [3_250_000, 6_500_000, 29_500_000]


def test_the_highest_rate_is_one_at_which_the_questions_fit() -> None:
    """From any answer time follows a rate whose share holds the questions, and not much below the next."""
    for late_us in (*range(0, 3000, 100), *range(3000, 30_000, 500)):
        late_ns = late_us * 1000
        hz = highest_hz(late_ns)
        whole_ns, two_ns = 2_240_000 + late_ns, 1_500_000 + 2 * late_ns
        assert min(whole_ns, two_ns) <= budget_ns(1_000_000_000 // hz)
        assert hz == 200 or highest_hz(late_ns + 3 * MS) < hz


def test_an_ftdi_is_told_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has a latency timer for the port, what to type is said for it, links resolved."""
    monkeypatch.setattr(so101_timing, "_LATENCY_TIMERS", tmp_path)
    port = tmp_path / "dev" / "ttyUSB7"
    port.parent.mkdir()
    port.touch()
    link = tmp_path / "arm"
    link.symlink_to(port)
    assert "if the adapter is an FTDI" in too_slow(16 * MS, str(link))
    timer = tmp_path / "ttyUSB7" / "latency_timer"
    timer.parent.mkdir()
    timer.write_text("16\n")
    assert f"`echo 1 | sudo tee {timer}`" in too_slow(16 * MS, str(link))
