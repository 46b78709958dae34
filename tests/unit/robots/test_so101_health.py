"""Danger is raised with the joint's name, and the worst that was seen is remembered."""

from __future__ import annotations

import pytest

from segue.errors import SafetyLatch
from segue.robots.calibration import JOINT_IDS
from segue.robots.packets import StatusPacket
from segue.robots.so101_health import BLOCK_BYTES, Health
from segue.robots.sts3215 import Status


def answer(servo: int, error: int = 0, celsius: int = 30, tenths: int = 74, status: int = 0) -> StatusPacket:
    """Returns a servo's answer to the question for the block."""
    data = bytearray(BLOCK_BYTES)
    data[6], data[7], data[9] = tenths, celsius, status
    return StatusPacket(servo, error, bytes(data))


def test_the_worst_is_remembered() -> None:
    """The highest temperature and the lowest voltage of any servo stay known."""
    health = Health(JOINT_IDS)
    health.heed({1: answer(1, celsius=41), 2: answer(2, tenths=69)})
    health.heed({1: answer(1), 2: answer(2)})
    assert (health.hottest_c, health.lowest_dv) == (41, 69)


@pytest.mark.parametrize("where", ["error", "status"])
def test_danger_is_heard_from_register_and_reply(where: str) -> None:
    """A bit in one of the two alone counts in the second tick, and noise of one tick does not."""
    spoken, quiet = answer(3, **{where: int(Status.OVERLOADED)}, celsius=55), answer(3)
    health = Health(JOINT_IDS)
    for each in (spoken, quiet, spoken):
        health.heed({1: answer(1), 3: each})
    with pytest.raises(SafetyLatch, match=r"^elbow_flex \(servo 3\) is overloaded \(55 °C\)$"):
        health.heed({1: answer(1), 3: spoken})


def test_a_bit_that_stands_in_both_counts_at_once() -> None:
    """Reply and register that agree are no noise."""
    with pytest.raises(SafetyLatch, match="elbow_flex"):
        Health(JOINT_IDS).heed({3: answer(3, error=32, status=32)})


LIMITS = dict.fromkeys(JOINT_IDS.values(), (40, 80))


@pytest.mark.parametrize("bit", [0, int(Status.VOLTAGE)])
def test_too_many_volts_in_two_ticks_in_a_row_are_a_danger(bit: int) -> None:
    """Whether or not the servo says so itself, joint, volts, limit and remedy are named in the second."""
    high = answer(3, error=bit, tenths=120, status=bit)
    health = Health(JOINT_IDS, LIMITS)
    health.heed({1: answer(1), 3: high})
    with pytest.raises(SafetyLatch) as caught:
        health.heed({1: answer(1), 3: high})
    assert str(caught.value).startswith(
        "elbow_flex (servo 3) gets 12.0 V and may have 8.0 V at most: this is the wrong power supply"
    )


@pytest.mark.parametrize("between", [{1: answer(1)}, {1: answer(1), 3: answer(3)}])
def test_a_spike_of_one_tick_is_no_danger(between: dict[int, StatusPacket]) -> None:
    """A joint that is braked gives something back for a moment; a tick without an answer says nothing."""
    high = answer(3, error=1, tenths=81, status=1)
    health = Health(JOINT_IDS, LIMITS)
    health.heed({3: high})
    health.heed(between)
    if 3 in between:
        health.heed({3: high})
    assert health.take_notes() == ["elbow_flex (servo 3): voltage out of range, 8.1 V"]


def test_a_supply_at_its_limit_or_below_is_driven_with() -> None:
    """Up to the limit nothing is said, and below the least it is told once."""
    health = Health(JOINT_IDS, LIMITS)
    for _ in range(3):
        health.heed({3: answer(3, tenths=80), 4: answer(4, error=1, tenths=38, status=1)})
    assert health.take_notes() == ["wrist_flex (servo 4): voltage out of range, 3.8 V"]


def test_all_that_are_in_danger_are_named() -> None:
    """Two joints in trouble are both in the sentence, with all that is wrong."""
    hot, strained = Status.OVERHEATED, Status.OVERLOADED | Status.VOLTAGE
    health = Health(JOINT_IDS)
    with pytest.raises(SafetyLatch, match=r"shoulder_lift .* too hot .*; gripper .* overloaded \("):
        health.heed(
            {
                2: answer(2, error=int(hot), status=int(hot)),
                6: answer(6, error=int(strained), status=int(strained), tenths=41),
            }
        )
    assert health.take_notes() == ["gripper (servo 6): voltage out of range, 4.1 V"]
    assert health.take_notes() == []
