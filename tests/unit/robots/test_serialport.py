"""A serial port is locked, read by deadline, and says plainly what is wrong with it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import serial

from segue.clock import now_ns
from segue.errors import RobotFault
from segue.robots.serialport import SerialPort

MS = 1_000_000
TIOCGEXCL = 0x80045440  # asks Linux whether a terminal is locked


@dataclass
class Line:
    """A pseudo-terminal: `far` is the servos' end."""

    far: int
    path: str

    def pull(self) -> None:
        """Closes the far end, as a pulled plug does."""
        far, self.far = self.far, -1  # first, for a timer may do it while the test ends
        os.close(far)


@pytest.fixture
def line() -> Iterator[Line]:
    """A line with nobody at the near end yet."""
    far, near = os.openpty()
    for each in (far, near):
        tty.setraw(each)
    made = Line(far, os.ttyname(near))
    os.close(near)
    yield made
    if made.far >= 0:
        made.pull()


def soon(ms: int) -> int:
    """Returns the time in `ms` milliseconds."""
    return now_ns() + ms * MS


def test_bytes_go_out_and_come_in(line: Line) -> None:
    """What is written comes out at the far end, and what comes in is returned at once."""
    port = SerialPort(line.path)
    port.write(b"\xff\xff\x01")
    assert os.read(line.far, 10) == b"\xff\xff\x01"
    threading.Timer(0.02, os.write, (line.far, b"\xff\x00\r\n\x03")).start()
    began = time.monotonic()
    assert port.read(soon(5_000)) == b"\xff\x00\r\n\x03"
    assert time.monotonic() - began < 2
    port.close()


def test_an_adapter_that_can_hurry_is_asked_to(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """An FTDI is set to hand bytes on at once; a port that knows no such thing is opened all the same."""
    asked: list[bool] = []
    monkeypatch.setattr(serial.Serial, "set_low_latency_mode", lambda self, wish: asked.append(wish))
    SerialPort(line.path).close()
    assert asked == [True]
    monkeypatch.undo()
    SerialPort(line.path).close()


def test_a_silent_line_costs_no_more_than_the_deadline(line: Line) -> None:
    """Nothing by the deadline is empty, not an error, and a deadline in the past does not wait."""
    port = SerialPort(line.path)
    began = time.monotonic()
    assert port.read(soon(30)) == b""
    assert 0.03 <= time.monotonic() - began < 1
    assert port.read(0) == b""
    os.write(line.far, b"late")
    time.sleep(0.01)
    assert port.read(0) == b"late"
    port.close()


def test_waiting_spins_no_processor(line: Line) -> None:
    """A wait of 300 ms costs a small part of it in processor time."""
    port = SerialPort(line.path)
    began = time.process_time()
    port.read(soon(300))
    assert time.process_time() - began < 0.1
    port.close()


def test_what_came_before_can_be_thrown_away(line: Line) -> None:
    """After `discard` only what comes later is read."""
    port = SerialPort(line.path)
    os.write(line.far, b"old")
    time.sleep(0.02)
    port.discard()
    os.write(line.far, b"new")
    assert port.read(soon(1_000)) == b"new"
    port.close()


def test_a_second_client_is_turned_away_before_a_byte(line: Line) -> None:
    """Who opens a port in use learns that it is, from another process too, and writes nothing."""
    port = SerialPort(line.path)
    with pytest.raises(RobotFault, match="in use by another program") as refused:
        SerialPort(line.path)
    assert refused.value.exit_code == 74
    code = f"from segue.robots.serialport import SerialPort; SerialPort({line.path!r})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "in use by another program" in other.stderr
    os.set_blocking(line.far, False)
    with pytest.raises(BlockingIOError):
        os.read(line.far, 1)
    port.close()


def test_programs_that_never_ask_are_kept_out_too(line: Line) -> None:
    """The kernel's own lock is set while the port is open, and taken away when it is closed."""
    port = SerialPort(line.path)
    with open(line.path, "rb", buffering=0, opener=_calmly) as other:
        assert _locked(other.fileno())
        port.close()
        assert not _locked(other.fileno())
    SerialPort(line.path).close()


def _calmly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOCTTY | os.O_NONBLOCK)


def _locked(descriptor: int) -> bool:
    answer = bytearray(4)
    fcntl.ioctl(descriptor, TIOCGEXCL, answer)
    return bool(answer[0])


@pytest.mark.parametrize("act", ["read", "write", "discard"])
def test_a_pulled_plug_is_said_at_once(line: Line, act: str) -> None:
    """Whatever is done next after the plug was pulled says that the torque state is unknown."""
    port = SerialPort(line.path)
    line.pull()
    began = time.monotonic()
    with pytest.raises(RobotFault, match=r"gone, was it unplugged .* torque state is unknown"):
        {"read": lambda: port.read(soon(5_000)), "write": lambda: port.write(b"x"), "discard": port.discard}[
            act
        ]()
    assert time.monotonic() - began < 1
    port.close()
    port.close()


def test_a_plug_pulled_while_waiting_ends_the_wait(line: Line) -> None:
    """Who waits for an answer is told of the pulled plug before the deadline."""
    port = SerialPort(line.path)
    threading.Timer(0.05, line.pull).start()
    began = time.monotonic()
    with pytest.raises(RobotFault, match="torque state is unknown"):
        port.read(soon(10_000))
    assert time.monotonic() - began < 5
    port.close()


def test_a_line_that_takes_nothing_is_stuck(line: Line) -> None:
    """A write that the line does not take ends with a fault instead of waiting for ever."""
    port = SerialPort(line.path)
    with pytest.raises(RobotFault, match="takes no bytes"):
        port.write(bytes(1_000_000))
    port.close()


def test_a_missing_port_is_said(tmp_path: Path) -> None:
    """A port that is not there is named, with the verb that lists those that are."""
    with pytest.raises(RobotFault, match=r"nothing: there is no such port; `segue find-port`"):
        SerialPort(str(tmp_path / "nothing"))


@pytest.mark.parametrize("path", ["/dev/null", "/etc/passwd", "/tmp"])
def test_what_is_no_serial_device_is_said(path: str) -> None:
    """A file, a folder or another device is refused in one sentence."""
    with pytest.raises(RobotFault, match="not a serial device") as refused:
        SerialPort(path)
    assert "\n" not in str(refused.value)


def test_a_forbidden_port_comes_with_the_remedy(line: Line) -> None:
    """Who may not open a port is told of the group and of udev."""
    code = (
        "import os; from segue.robots.serialport import SerialPort\n"
        f"os.getuid() or os.setuid(65534); SerialPort({line.path!r})"
    )
    os.chmod(line.path, 0)
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "usermod -aG dialout $USER" in other.stderr
    assert "udev" in other.stderr
