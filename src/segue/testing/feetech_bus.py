"""A Feetech bus without hardware: emulated servos behind a serial port of their own.

    with FeetechBus.so101() as bus:
        arm = connect(bus.port)          # real bytes, at the speed of the real wire
        bus.mute("elbow_flex")
        ...
        assert bus.servo("gripper").torque

A thread moves bytes between the port and a `ServoLine`, each reply at the time
at which its last byte would have come. In the driver's own process it shares
the interpreter with it, so whoever measures runs `segue emulate` instead.
What the servos do is the line's business; this file only keeps time.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from segue.clock import NS_PER_S, now_ns
from segue.errors import ConfigError
from segue.robots import sts3215
from segue.robots.calibration import Calibration
from segue.robots.packets import MAX_ID
from segue.robots.sts3215 import Status
from segue.testing.goal_log import Goal
from segue.testing.servo import Servo
from segue.testing.servo_arm import Role, so101_servos
from segue.testing.servo_line import ServoLine, Write
from segue.testing.servo_pump import Pump

PAUSE_S = 0.01
_LINK_NAME = "ttyACM0"


class FeetechBus:
    """Emulated servos on a pty; a context manager.

    Every method may be called from any thread, before and while the bus runs.
    """

    def __init__(
        self, line: ServoLine, link: Path | None = None, realtime: bool = False, pause_s: float = PAUSE_S
    ) -> None:
        """Makes a bus that is not open yet.

        Args:
            line: its servos.
            link: path of the port; in a folder of its own by default.
            realtime: ask the kernel to wake the bus before all others.
            pause_s: how often the servos are looked after while nobody talks.
        """
        self.line = line
        self._link = link
        self._realtime, self._pause_s = realtime, pause_s
        self._lock = threading.RLock()
        self._pump: Pump | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def so101(
        cls, calibration: Calibration | None = None, role: Role = "follower", link: Path | None = None
    ) -> Self:
        """Makes the bus of an SO-101 whose registers hold `calibration`, an arm's own by default."""
        return cls(ServoLine(so101_servos(calibration, role)), link)

    def __repr__(self) -> str:
        return f"<FeetechBus {self._link} {self.line!r}>"

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> str:
        """Path to open, the same after the plug was pulled and put back."""
        if self._link is None:
            self._folder = tempfile.TemporaryDirectory(prefix="segue-bus-")
            self._link = Path(self._folder.name) / _LINK_NAME
        return str(self._link)

    @property
    def writes(self) -> list[Write]:
        """What was written to servos so far, the oldest first."""
        with self._lock:
            return list(self.line.writes)

    @property
    def goals(self) -> list[Goal]:
        """Every goal that each servo took so far, counts: for `check_goals`."""
        with self._lock:
            return list(self.line.goals)

    def servo(self, which: str | int) -> Servo:
        """Returns the servo of that name or id.

        Raises:
            KeyError: there is none.
        """
        return self.line.servo(which)

    @property
    def refusal(self) -> str | None:
        """Why the kernel does not wake the bus first; None if it does, or was not asked."""
        return None if self._pump is None else self._pump.refusal

    def plug(self) -> None:
        """Opens the port; the servos go on as they are.

        Raises:
            ConfigError: there is something at its path that is no link, or the folder is not there.
        """
        if self._pump is not None:
            return
        self._take_link_away()
        self.line.faults.unplugged = False
        self._pump = Pump(self.line, self._lock, self._pause_s, self._realtime)
        try:
            os.symlink(self._pump.path, self.port)
        except OSError as error:
            self._pump.close()
            self._pump = None
            raise ConfigError(f"link: {self.port}: no link can be made there: {error.strerror}") from error

    def unplug(self) -> None:
        """Closes the port under whoever has it open, as a pulled plug does."""
        if self._pump is not None:
            self.line.faults.unplugged = True
            self._take_link_away()
            self._pump.close()
            self._pump = None

    def close(self) -> None:
        """Closes the port for good."""
        self.unplug()
        if self._folder is not None:
            self._folder.cleanup()

    def mute(self, *which: str | int) -> None:
        """Lets servos hear and never answer."""
        with self._lock:
            self.line.faults.mute |= {self.servo(each).id for each in which}

    def unmute(self, *which: str | int) -> None:
        """Lets servos answer again."""
        with self._lock:
            self.line.faults.mute -= {self.servo(each).id for each in which}

    def lose(self, replies: int) -> None:
        """Loses the next `replies` replies."""
        with self._lock:
            self.line.faults.lose_replies = replies

    def lose_requests(self, requests: int) -> None:
        """Loses the next `requests` packets of the host; of a sync write nobody will hear."""
        with self._lock:
            self.line.faults.lose_requests = requests

    def garble(self, replies: int) -> None:
        """Turns a bit over in each of the next `replies` replies."""
        with self._lock:
            self.line.faults.garble_replies = replies

    def lose_goals(self, packets: int) -> None:
        """Loses the next `packets` that tell all servos something at once; nobody hears, nobody answers."""
        with self._lock:
            self.line.faults.lose_goals = packets

    def halve(self, replies: int) -> None:
        """Cuts each of the next `replies` replies in the middle, with noise in place of the rest."""
        with self._lock:
            self.line.faults.halve_replies = replies

    def silence(self, seconds: float) -> None:
        """Lets nobody hear anything for a while."""
        with self._lock:
            self.line.faults.silent_until_ns = now_ns() + round(seconds * NS_PER_S)

    def stall(self, seconds: float) -> None:
        """Lets the adapter stand still for a while, and then deliver at once all that it was given."""
        with self._lock:
            self.line.adapter.waits.held_until_ns = now_ns() + round(seconds * NS_PER_S)

    def grid(self, seconds: float) -> None:
        """Hands replies on at whole multiples of that only, as an FTDI does; 0 for at once."""
        with self._lock:
            self.line.adapter.waits.grid_ns = round(seconds * NS_PER_S)

    def jitter(self, seconds: float) -> None:
        """Delays the replies to each question by up to that, drawn anew; 0 for no longer."""
        with self._lock:
            self.line.adapter.waits.jitter_ns = round(seconds * NS_PER_S)

    def delay(self, seconds: float) -> None:
        """Delays every reply from now on; 0 for no longer."""
        with self._lock:
            self.line.faults.delay_ns = round(seconds * NS_PER_S)

    def overload(self, which: str | int) -> None:
        """Lets a servo say that it is overloaded, and keep as little torque as it then does."""
        self._inject(which, Status.OVERLOADED)

    def overheat(self, which: str | int, celsius: int = 85) -> None:
        """Makes a servo hot; beyond its limit it lets go."""
        with self._lock:
            self.servo(which).sense(sts3215.PRESENT_TEMPERATURE, celsius)

    def voltage(self, which: str | int, volts: float) -> None:
        """Supplies a servo with another voltage; outside its limits it says so and goes on."""
        with self._lock:
            self.servo(which).sense(sts3215.PRESENT_VOLTAGE, round(volts * 10))

    def renumber(self, which: str | int, servo_id: int) -> None:
        """Gives a servo another id; one that another servo has is then answered by both.

        Raises:
            ConfigError: no servo can have that id.
        """
        if not 0 <= servo_id <= MAX_ID:
            raise ConfigError(f"servo id {servo_id}: expected 0 to {MAX_ID}")
        with self._lock:
            self.servo(which).set(sts3215.ID, servo_id)

    def clear(self, which: str | int) -> None:
        """Takes away what is wrong with a servo."""
        with self._lock:
            self.servo(which).heal()

    def push(self, which: str | int, counts: float) -> None:
        """Moves a joint by hand; one that holds does not let it."""
        with self._lock:
            servo = self.servo(which)
            servo.advance(now_ns())
            servo.shaft.push(counts)

    def state(self) -> dict[str, dict[str, int]]:
        """Returns position, goal, torque and status of each servo by name, as they are now."""
        with self._lock:
            self.line.advance(now_ns())
            return {servo.name: _state_of(servo) for servo in self.line.servos}

    def _take_link_away(self) -> None:
        if os.path.islink(self.port):
            os.unlink(self.port)

    def _inject(self, which: str | int, status: Status) -> None:
        with self._lock:
            self.servo(which).injected |= status


def _state_of(servo: Servo) -> dict[str, int]:
    return {
        "position": servo.present(),
        "goal": servo.get(sts3215.GOAL_POSITION),
        "torque": int(servo.torque),
        "status": int(servo.status),
    }
