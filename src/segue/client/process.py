"""Starting the control process, and hearing how it ended.

It is a fresh interpreter in a session of its own: nothing of this process is
forked into it (gRPC's threads would not survive that), a Ctrl-C reaches it only
through us and so exactly once, and it outlives us if it must. Two sockets and
the page of its pulse are all that it inherits.
"""

from __future__ import annotations

import math
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from segue.client.ending import StopSwitch
from segue.client.mailbox import Mailbox, socket_pair
from segue.client.messages import Begin, Hello, Make
from segue.client.plan import ControlPlan, RobotPart, from_json, to_json
from segue.client.pulse import Pulse
from segue.core.specs import RobotSpec
from segue.errors import RobotFault

# Importing a simulation on a busy small machine takes several seconds.
_HELLO_TIMEOUT_S = 60.0
_POLL_S = 0.1
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
        self._begun = False
        self._kept: list[int] = []
        self._process = _spawn(its, its_records, self.pulse)
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
        """
        deadline = time.monotonic() + _HELLO_TIMEOUT_S
        while time.monotonic() < deadline and not stop.asked:
            select.select([self.link], [], [], _POLL_S)
            for message in self.link.drain():
                if isinstance(message, Hello):
                    return from_json(RobotSpec, message.body)
            if self.link.closed:
                return None
        if stop.asked:
            return None
        raise RobotFault(f"the robot was not made within {_HELLO_TIMEOUT_S:.0f} s")

    def begin(self, plan: ControlPlan) -> None:
        """Lets it connect and tick."""
        self.link.put(Begin(to_json(plan)))
        self._begun = True
        for number in self._kept:  # came just before, when nobody knew yet that it would begin
            self._process.send_signal(number)

    def signal(self, number: int) -> None:
        """Passes a signal on, or keeps it until there is an arm to bring to rest."""
        if self._begun:
            self._process.send_signal(number)
        else:
            self._kept.append(number)

    def wait(self, patience_s: Callable[[], float]) -> int | None:
        """Waits for its end and returns its exit code; died of what cannot be caught is 70.

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
            return code if code >= 0 else _BUG
        self._process.kill()
        self._process.wait()
        return None

    def close(self, timeout_s: float) -> None:
        """Closes the mailboxes, which ends a process that has not begun; waits at most `timeout_s` for it."""
        self.link.close()
        self.records.close()
        self.pulse.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return  # it is bringing the arm to rest, and ends by itself


def _spawn(link: socket.socket, records: socket.socket, pulse: Pulse) -> subprocess.Popen[bytes]:
    numbers = (link.fileno(), records.fileno(), pulse.descriptor)
    # -P: the folder that the run was started in must not shadow a module.
    words = [sys.executable, "-P", "-m", "segue.client.control", *map(str, numbers)]
    environment = {**_ENVIRONMENT, **os.environ}
    with link, records:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, pass_fds=numbers, env=environment, start_new_session=True
        )
