"""The emulated bus is a serial port like any other, whose plug can be pulled."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from segue.clock import SystemClock, now_ns
from segue.errors import ConfigError, RobotFault
from segue.robots import sts3215 as sts
from segue.robots.calibration import MotorCalibration
from segue.robots.feetech import ServoBus
from segue.robots.serialport import SerialPort
from segue.testing import FeetechBus
from segue.testing.servo_arm import default_calibration

IDS = [1, 2, 3, 4, 5, 6]


def connect(bus: FeetechBus) -> ServoBus:
    """Returns our driver's bus on its port."""
    return ServoBus(SerialPort(bus.port, sts.BAUD), SystemClock())


def test_an_arm_answers_with_its_calibration() -> None:
    """Six servos of model 777 hold the arm's numbers, and are found by name and by id."""
    calibration = default_calibration() | {"gripper": MotorCalibration(6, 0, -77, 1500, 3000)}
    with FeetechBus.so101(calibration) as bus:
        driver = connect(bus)
        assert driver.read_all(IDS, sts.MODEL) == dict.fromkeys(IDS, 777)
        for register, field in (
            (sts.HOMING_OFFSET, "homing_offset"),
            (sts.MIN_POSITION, "range_min"),
            (sts.MAX_POSITION, "range_max"),
        ):
            expected = {each.id: getattr(each, field) for each in calibration.values()}
            assert driver.read_all(IDS, register) == expected
        assert bus.servo("gripper") is bus.servo(6)
        assert bus.writes == []
        driver.close()


def test_a_follower_is_told_from_a_leader_by_what_lerobot_wrote() -> None:
    """A follower's gripper is weakened and its gains are softened, a leader is as from the factory."""
    with FeetechBus.so101() as follower, FeetechBus.so101(role="leader") as leader:
        asked = [
            [driver.read(6, sts.MAX_TORQUE).value, driver.read(1, sts.P_GAIN).value]
            for driver in (connect(follower), connect(leader))
        ]
    assert asked == [[500, 16], [1000, 32]]


def test_it_is_driven_in_real_time() -> None:
    """A sync write moves the arm, and its position is read back over the port."""
    with FeetechBus.so101() as bus:
        driver = connect(bus)
        start = driver.read_all(IDS, sts.PRESENT_POSITION)
        driver.sync_write(sts.GOAL_POSITION, {each: count + 60 for each, count in start.items()})
        until = time.monotonic() + 5.0
        goal = {each: count + 60 for each, count in start.items()}
        while driver.read_all(IDS, sts.PRESENT_POSITION) != goal:
            assert time.monotonic() < until
        assert all(row["torque"] == 1 for row in bus.state().values())
        assert {write.register for write in bus.writes} == {"Goal_Position"}


def test_an_answer_takes_at_least_its_time_on_the_wire() -> None:
    """A block of 15 bytes of six servos is never there before the 1.4 ms that the wire needs."""
    with FeetechBus.so101() as bus:
        driver = connect(bus)
        for _ in range(20):
            begin_ns = now_ns()
            answers = driver.sync_read(IDS, sts.PRESENT_POSITION.address, 15, begin_ns + 10**9, 10**9)
            assert now_ns() - begin_ns >= (14 + 6 * 21) * 10_000
            assert len(answers) == 6


def test_faults_reach_the_driver() -> None:
    """Mute, overloaded, hot and badly supplied servos are seen as such, and cured again."""
    with FeetechBus.so101() as bus:
        driver = connect(bus)
        bus.mute("elbow_flex")
        with pytest.raises(RobotFault, match="servo 3 does not answer"):
            driver.read(3, sts.MODEL)
        bus.unmute("elbow_flex")
        assert driver.read(3, sts.MODEL).value == 777
        bus.overload("gripper")
        bus.overheat("wrist_flex")
        bus.voltage("wrist_roll", 3.5)
        assert [driver.read(each, sts.STATUS).status for each in (4, 5, 6)] == [4, 1, 32]
        for joint in ("gripper", "wrist_flex", "wrist_roll"):
            bus.clear(joint)
        assert driver.read_all(IDS, sts.STATUS) == dict.fromkeys(IDS, 0)


def test_lost_and_garbled_replies_are_asked_for_again() -> None:
    """Each fault costs the driver a question, and is then used up."""
    with FeetechBus.so101() as bus:
        driver = connect(bus)
        bus.lose(1)
        bus.garble(1)
        assert driver.read(1, sts.MODEL).value == 777
        bus.lose_requests(1)
        assert driver.read(1, sts.MODEL).value == 777
        assert driver.counts.retries >= 3
        faults = bus.line.faults
        assert (faults.lose_replies, faults.garble_replies, faults.lose_requests) == (0, 0, 0)


def test_a_delay_is_added_to_every_answer() -> None:
    """An answer that is delayed by 15 ms is there after 15 ms."""
    with FeetechBus.so101() as bus:
        driver = connect(bus)
        bus.delay(0.015)
        begin_ns = now_ns()
        assert driver.read(1, sts.MODEL).value == 777
        assert now_ns() - begin_ns >= 15_000_000


def test_a_hand_moves_what_does_not_hold() -> None:
    """A pushed joint is elsewhere; once it holds it stays."""
    with FeetechBus.so101() as bus:
        driver = connect(bus)
        before = driver.read(1, sts.PRESENT_POSITION).value
        bus.push("shoulder_pan", 100)
        assert driver.read(1, sts.PRESENT_POSITION).value == before + 100
        driver.sync_write(sts.GOAL_POSITION, {1: before + 100})
        assert driver.read(1, sts.TORQUE_ENABLE).value == 1
        bus.push("shoulder_pan", 100)
        assert driver.read(1, sts.PRESENT_POSITION).value == before + 100


def test_a_pulled_plug_hangs_up_and_comes_back_at_the_same_path() -> None:
    """Whoever reads or writes learns it at once, the path is gone, and later the same path works again."""
    with FeetechBus.so101() as bus:
        path = bus.port
        driver = connect(bus)
        driver.read(1, sts.MODEL)
        begin = time.monotonic()
        bus.unplug()
        assert not os.path.lexists(path)
        with pytest.raises(RobotFault, match="unplugged"):
            driver.port.read(now_ns() + 5 * 10**9)
        with pytest.raises(RobotFault, match="unplugged"):
            driver.port.write(b"\xff")
        assert time.monotonic() - begin < 4.0
        driver.close()
        bus.plug()
        assert bus.port == path
        assert connect(bus).read(1, sts.MODEL).value == 777
    assert not os.path.lexists(path)


def test_the_port_is_where_it_was_asked_for(tmp_path: Path) -> None:
    """A link is made and taken away again, an old link is replaced, and a file is never."""
    place = tmp_path / "arm"
    place.symlink_to("/nowhere")
    with FeetechBus.so101(link=place) as bus:
        assert bus.port == str(place)
        assert connect(bus).read(1, sts.MODEL).value == 777
    assert not os.path.lexists(place)
    place.write_text("precious")
    with pytest.raises(ConfigError, match="link"), FeetechBus.so101(link=place):
        pass
    assert place.read_text() == "precious"
