"""The scan of a bus: everybody is heard, early or late, and noise is nobody."""

from __future__ import annotations

import pytest

from segue.clock import NS_PER_S
from segue.robots.bus_scan import answering_servos
from segue.robots.packets import packet
from segue.testing import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo import Servo
from segue.testing.servo_line import ServoLine


@pytest.mark.parametrize("ids", [(), (0,), (252,), (1, 2, 3, 4, 5, 6), (7, 8, 100, 252)])
def test_every_servo_is_heard_within_a_second(ids: tuple[int, ...]) -> None:
    """Any set of ids is found, and an empty bus is known to be empty in less than a second."""
    clock = VirtualClock()
    line = ServoLine([Servo(f"s{each}", each) for each in ids])
    assert answering_servos(DirectPort(line, clock), clock) == list(ids)
    assert clock.now_ns() < NS_PER_S


def test_answers_that_come_late_count() -> None:
    """An adapter that keeps each answer for 16 ms costs nobody."""
    clock = VirtualClock()
    line = ServoLine([Servo(f"s{each}", each) for each in (3, 40, 252)])
    line.faults.delay_ns = 16_000_000
    assert answering_servos(DirectPort(line, clock), clock) == [3, 40, 252]


class Chatter:
    """A device that is no bus and talks all the time."""

    def __init__(self, noise: bytes) -> None:
        self.noise = noise

    def write(self, data: bytes) -> None:
        pass

    def read(self, deadline_ns: int) -> bytes:
        return self.noise

    def discard(self) -> None:
        pass

    def close(self) -> None:
        pass


NOISES = (b"\xff" * 4096, b"$GPGGA,1,2*3\r\n" * 100, packet(3, 0, b"\x01"), b"")


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_nobody(noise: bytes) -> None:
    """Bytes that are no answer to a ping find nobody, however many there are."""
    assert answering_servos(Chatter(noise), VirtualClock()) == []
