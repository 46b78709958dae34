"""A serial port that belongs to one client, is read by deadline, and says plainly when it is gone.

Two programs on one servo bus garble each other's packets, and an arm that gets
half of each is dangerous. Therefore the port is locked before a byte is
written: by `flock`, which every Segue asks for, and by TIOCEXCL, which the
kernel holds against programs that never ask. Reading waits in `select` and
never spins. pyserial finds the settings of the line; the bytes themselves go
by the descriptor. Nothing here knows what they mean.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios
from typing import Protocol

import serial

from segue.clock import NS_PER_MS, NS_PER_S, awake_ns, now_ns
from segue.errors import RobotFault
from segue.robots.sts3215 import BAUD

UNKNOWN = "the torque state is unknown"

_READ_BYTES = 4096
# A packet of 60 bytes takes 0.6 ms of wire; a line that takes none for so long is stuck.
_WRITE_LIMIT_NS = 50 * NS_PER_MS
_BUSY = (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK)
_REFUSALS = {
    errno.ENOENT: "there is no such port; `segue find-port` lists those that there are",
    errno.EACCES: (
        "this user may not open it; run `sudo usermod -aG dialout $USER` and log in again, "
        "or add a udev rule for the adapter"
    ),
    errno.EPERM: "this user may not open it; run `sudo usermod -aG dialout $USER` and log in again",
    errno.ENOTTY: "this is not a serial device",
    errno.EINVAL: "this is not a serial device, or one that cannot be set to 1000000 baud",
    errno.EISDIR: "this is a folder and not a serial device",
}


class Port(Protocol):
    """Bytes to a bus and back, by deadline."""

    def write(self, data: bytes) -> None:
        """Hands all of `data` to the line.

        Raises:
            RobotFault: the line is gone or takes nothing.
        """
        ...

    def read(self, deadline_ns: int) -> bytes:
        """Returns the bytes that came, as soon as there are any; empty when none came by `deadline_ns`.

        Raises:
            RobotFault: the line is gone.
        """
        ...

    def discard(self) -> None:
        """Throws away what has come so far.

        Raises:
            RobotFault: the line is gone.
        """
        ...

    def close(self) -> None:
        """Closes the port; may be called more than once."""
        ...


class SerialPort:
    """A `Port` on a serial device of this host."""

    def __init__(self, path: str, baud: int = BAUD) -> None:
        """Opens and locks `path`; no byte is written.

        Raises:
            RobotFault: it is in use, missing, forbidden or no serial device.
        """
        self.path = path
        try:
            # Exclusive: flock comes before the line is touched.
            self._serial = serial.Serial(path, baud, timeout=0, exclusive=True)
        except (OSError, ValueError, termios.error) as error:
            raise RobotFault(f"port {path}: {_refusal(error)}") from error
        self._fd: int = self._serial.fileno()
        try:
            fcntl.ioctl(self._fd, termios.TIOCEXCL)
        except OSError as error:
            self._serial.close()
            raise RobotFault(f"port {path}: {_refusal(error)}") from error
        # An FTDI hands bytes on every 16 ms unless it is asked for 1. Most others cannot be asked, and
        # not on every system.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._serial.set_low_latency_mode(True)

    def __repr__(self) -> str:
        return f"<SerialPort {self.path} {'open' if self._serial.is_open else 'closed'}>"

    def write(self, data: bytes) -> None:
        """Hands all of `data` to the line.

        Raises:
            RobotFault: the line is gone, or takes nothing for 50 ms.
        """
        deadline_ns = awake_ns() + _WRITE_LIMIT_NS
        try:
            left = self._taken(data)
            while left:
                wait_s = (deadline_ns - awake_ns()) / NS_PER_S
                if wait_s <= 0 or not select.select([], [self._fd], [], wait_s)[1]:
                    raise RobotFault(f"port {self.path}: takes no bytes; {UNKNOWN}")
                left = self._taken(left)
        except OSError as error:
            raise self._gone(error.strerror) from error

    def read(self, deadline_ns: int) -> bytes:
        """Returns the bytes that came, as soon as there are any; empty when none came by `deadline_ns`.

        Raises:
            RobotFault: the line is gone.
        """
        wait_s = max(0, deadline_ns - now_ns()) / NS_PER_S
        try:
            if not select.select([self._fd], [], [], wait_s)[0]:
                return b""
            data = os.read(self._fd, _READ_BYTES)
        except OSError as error:
            raise self._gone(error.strerror) from error
        if not data:
            # A line with something to read and nothing in it is one that was hung up.
            raise self._gone("hung up")
        return data

    def discard(self) -> None:
        """Throws away what has come so far.

        Raises:
            RobotFault: the line is gone.
        """
        try:
            termios.tcflush(self._fd, termios.TCIFLUSH)
        except termios.error as error:
            raise self._gone(str(error.args[-1])) from error

    def close(self) -> None:
        """Closes the port and unlocks it; may be called more than once and after it is gone."""
        if not self._serial.is_open:
            return
        # On a pseudo-terminal the kernel's lock would outlive this descriptor.
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, termios.TIOCNXCL)
        self._serial.close()

    def _taken(self, data: bytes) -> bytes:
        """Hands over what the line takes at once, and returns the rest."""
        try:
            return data[os.write(self._fd, data) :]
        except BlockingIOError:
            return data

    def _gone(self, why: str | None) -> RobotFault:
        return RobotFault(f"port {self.path}: gone, was it unplugged ({why})? {UNKNOWN}")


def _refusal(error: Exception) -> str:
    """Returns why a port could not be opened, and what to do about it."""
    number = _number(error)
    if number in _BUSY:
        return "in use by another program; close that one first (`fuser -v` names it)"
    return _REFUSALS.get(number, f"cannot be opened: {error}")


def _number(error: BaseException | None) -> int:
    """Returns the kernel's number for what went wrong, which pyserial may have wrapped in its own error."""
    while error is not None:
        found = [each for each in (getattr(error, "errno", None), *error.args) if isinstance(each, int)]
        if found:
            return found[0]
        error = error.__context__
    return 0
