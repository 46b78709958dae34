"""The port without a pty keeps the promises of a serial port, in virtual time."""

from __future__ import annotations

from segue.robots import packets
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo import Servo
from segue.testing.servo_line import ServoLine


def test_a_read_ends_with_the_answer_or_at_its_deadline() -> None:
    """The clock stands at the moment of the answer, or at the deadline when there is none."""
    clock = VirtualClock()
    port = DirectPort(ServoLine([Servo("joint", 1)]), clock)
    port.write(packets.ping(1))
    assert port.read(100_000) == b""
    assert clock.now_ns() == 100_000
    assert port.read(1_000_000) == packets.packet(1, 0)
    assert clock.now_ns() == 120_000
    assert port.read(1_000_000) == b""
    assert clock.now_ns() == 1_000_000


def test_what_is_discarded_is_what_has_come() -> None:
    """An answer that is still on the wire survives, one that has come does not."""
    clock = VirtualClock()
    port = DirectPort(ServoLine([Servo("joint", 1)]), clock)
    port.write(packets.ping(1))
    port.discard()
    assert port.read(1_000_000) == packets.packet(1, 0)
    port.write(packets.ping(1))
    clock.sleep_until(2_000_000)
    port.discard()
    assert port.read(3_000_000) == b""


def test_what_an_adapter_held_is_answered_when_it_goes_on() -> None:
    """A question that an adapter kept to itself is answered after it was let go, and not before."""
    clock = VirtualClock()
    line = ServoLine([Servo("joint", 1)])
    port = DirectPort(line, clock)
    line.adapter.waits.held_until_ns = 5_000_000
    port.write(packets.ping(1))
    assert port.read(4_000_000) == b""
    assert port.read(9_000_000) == packets.packet(1, 0)
    assert clock.now_ns() == 5_120_000
