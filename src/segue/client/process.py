"""Starting the control process, and hearing how it ended.

It is a fresh interpreter in a session of its own: nothing of this process is
forked into it (gRPC's threads would not survive that), a Ctrl-C reaches it only
through us, and it outlives us if it must. What we were asked for we pass on as
a number in memory, and not as a signal: a service manager signals it, too, and
two signals would be two wishes. Two sockets and two pages are all that it inherits.
"""

from __future__ import annotations

import math
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from segue.client.ending import StopSwitch
from segue.client.mailbox import Mailbox, socket_pair
from segue.client.messages import Begin, Hello, Make
from segue.client.pages import StopRelay
from segue.client.plan import ControlPlan, RobotPart, from_json, to_json
from segue.client.pulse import Pulse
from segue.core.specs import RobotSpec
from segue.errors import LocalProtocolError, RobotFault
from segue.signals import SIGNALLED, SIGNALS

# Importing a simulation on a busy small machine takes several seconds.
_HELLO_TIMEOUT_S = 60.0
_POLL_S = 0.1
_MAIL_AT_ONCE = 64
_BUG = 70
# One thread each: arrays of six numbers gain nothing from more, and idle ones cost memory.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class ControlProcess:
    """The control process as its parent sees it."""

    def __init__(self, robot: RobotPart) -> None:
        """Starts the process, which makes `robot` and then waits for `begin`."""
        mine, its = socket_pair()
        my_records, its_records = socket_pair()
        self.link, self.records = Mailbox(mine), Mailbox(my_records)
        self.pulse = Pulse()
        self._relay = StopRelay()
        self._begun = False
        self._asked = (0, 0, 0)
        self._process = _spawn(its, its_records, (self.pulse.descriptor, self._relay.descriptor))
        self.link.put(Make(to_json(robot)))

    def __repr__(self) -> str:
        return f"<ControlProcess pid={self.pid} code={self._process.poll()}>"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def hello(self, stop: StopSwitch) -> RobotSpec | None:
        """Waits until the robot is made and returns its spec; None when the process ended instead.

        Args:
            stop: ends the waiting, too.

        Raises:
            RobotFault: neither happened in a minute.
            LocalProtocolError: what it said of itself is no spec.
        """
        deadline = time.monotonic() + _HELLO_TIMEOUT_S
        while time.monotonic() < deadline and not stop.asked:
            select.select([self.link], [], [], _POLL_S)
            for message in self.link.drain(_MAIL_AT_ONCE):
                if isinstance(message, Hello):
                    return _spec(message)
            if self.link.closed:
                return None
        if stop.asked:
            return None
        raise RobotFault(f"the robot was not made within {_HELLO_TIMEOUT_S:.0f} s")

    def begin(self, plan: ControlPlan) -> None:
        """Lets it connect and tick."""
        self.link.put(Begin(to_json(plan)))
        self._begun = True
        told = None
        while told is not self._asked:  # what came before is passed on, and what comes in between
            told = self._asked
            self._relay.put(*told)

    def ask(self, asked: int, number: int, at_ns: int) -> None:
        """Passes on how often the end was asked for, by which signal and when, once there is an arm."""
        self._asked = (asked, number, at_ns)
        if self._begun:
            self._relay.put(asked, number, at_ns)

    def wait(self, patience_s: Callable[[], float]) -> int | None:
        """Waits for its end and returns its exit code; died of what nobody may send it is 70.

        Args:
            patience_s: is asked again and again how much longer it may take from now on, s; what
                was said once may become less, not more, but for infinity: after it, it counts anew.

        Returns:
            None when it took longer and was killed.
        """
        deadline = math.inf
        while time.monotonic() < deadline:
            left_s = patience_s()
            deadline = min(deadline, time.monotonic() + left_s) if left_s < math.inf else math.inf
            try:
                code = self._process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                continue
            return code if code >= 0 else SIGNALLED - code if -code in SIGNALS else _BUG
        self._process.kill()
        self._process.wait()
        return None

    def close(self, timeout_s: float) -> None:
        """Closes the mailboxes, which ends a process that has not begun; waits at most `timeout_s` for it."""
        self.link.close()
        self.records.close()
        self.pulse.close()
        self._relay.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return  # it is bringing the arm to rest, and ends by itself


def _spec(hello: Hello) -> RobotSpec:
    """Returns the spec of the robot that was made.

    Raises:
        LocalProtocolError: it is none.
    """
    try:
        return from_json(RobotSpec, hello.body)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise LocalProtocolError(f"the control process wrote no robot's spec: {error}") from error


def _spawn(link: socket.socket, records: socket.socket, pages: Sequence[int]) -> subprocess.Popen[bytes]:
    numbers = (link.fileno(), records.fileno(), *pages)
    # -P: the folder that the run was started in must not shadow a module.
    words = [sys.executable, "-P", "-m", "segue.client.control", *map(str, numbers)]
    environment = {**_ENVIRONMENT, **os.environ}
    with link, records:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, pass_fds=numbers, env=environment, start_new_session=True
        )
