"""The pump hands on bytes as an adapter on USB does, and never waits for a reader."""

from __future__ import annotations

import threading
import time

from segue.clock import now_ns
from segue.robots import packets
from segue.robots import sts3215 as sts
from segue.robots.serialport import SerialPort
from segue.testing.servo_arm import so101_servos
from segue.testing.servo_line import ServoLine
from segue.testing.servo_pump import Pump

PATIENCE_NS = 5 * 10**9


def pump(line: ServoLine) -> Pump:
    """Returns a pump that runs."""
    return Pump(line, threading.RLock(), 0.01, realtime=False)


def test_answers_of_one_millisecond_come_together() -> None:
    """Six short answers are one read, and no answer that is far from the next is cut."""
    line = ServoLine(so101_servos())
    made = pump(line)
    port = SerialPort(made.path, sts.BAUD)
    port.write(packets.sync_read([1, 2, 3, 4, 5, 6], sts.PRESENT_POSITION.address, 2))
    assert len(port.read(now_ns() + PATIENCE_NS)) == 6 * 8
    line.servo(2).set(sts.RETURN_DELAY, 250)
    line.servo(3).set(sts.RETURN_DELAY, 250)
    port.write(packets.sync_read([1, 2, 3], 0, 100))
    got = b""
    while len(got) < 3 * 106:
        more = port.read(now_ns() + PATIENCE_NS)
        # A reader that was held up finds two of them.
        assert more
        assert len(more) % 106 == 0
        got += more
    port.close()
    made.close()


def test_who_never_reads_holds_nobody_up() -> None:
    """When the reader's buffer is full answers are lost, and the line is served as before."""
    line = ServoLine(so101_servos())
    made = pump(line)
    port = SerialPort(made.path, sts.BAUD)
    for _ in range(150):
        port.write(packets.read(1, 0, 120))
        time.sleep(0.002)
    until = time.monotonic() + 5.0
    port.write(packets.write(1, sts.ACCELERATION.address, b"\x32"))
    while line.servo(1).get(sts.ACCELERATION) != 50:
        assert time.monotonic() < until
        time.sleep(0.01)
    port.close()
    made.close()


def test_a_closed_pump_leaves_no_thread() -> None:
    """Closing ends the thread before it returns."""
    before = threading.active_count()
    made = pump(ServoLine([]))
    assert threading.active_count() == before + 1
    made.close()
    assert threading.active_count() == before
