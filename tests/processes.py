"""Real processes for tests: a policy server that can misbehave, and an arm that can be interfered with.

Both are told what to do by lines on their standard input, so that a test makes
a fault happen at a moment of its choosing, and both are ended by their id.
Everything that is waited for is a condition, never a number of seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segue.client.commands import CommandLogHeader, CommandRow, read_commands
from segue.clock import now_ns

WAIT_S = 60.0
# The control process is started by the arm and must find this folder, too.
ROOT = Path(__file__).parent.parent
PATHS = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": PATHS}


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Waits for `condition`, looking a hundred times a second; fails with `what` after a long while."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def command_line(pid: int) -> bytes:
    """Returns the command line of a process; empty when there is none of that number."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Spawned:
    """A Python process with standard input to speak to it and an output file to read from."""

    def __init__(self, module: str, words: Sequence[str], output: Path, wish: dict[str, Any]) -> None:
        """Starts ``python -m module words…``.

        Two wishes are taken here: ``environment`` is added to this process's, and ``before`` are words
        that go before the command, such as those that enter a network namespace.
        """
        self.log = output
        environment, before = wish.get("environment", {}), wish.get("before", [])
        with output.open("ab") as file:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", module, *words],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def tell(self, line: str) -> None:
        """Says `line` to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def words(self) -> str:
        """Returns what it has said so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = WAIT_S) -> int:
        """Waits for its end and returns the exit code."""
        return self.process.wait(timeout_s)

    def end(self) -> None:
        """Ends it at once, stopped or not; may be called twice."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.send_signal(signal.SIGCONT)
        self.process.wait(WAIT_S)
        if self.process.stdin is not None:
            self.process.stdin.close()


class Server(Spawned):
    """A policy server; what it can be told is in `odd_server`."""

    def __init__(self, folder: Path, port: int = 0, **wish: Any) -> None:
        """Starts it, with its output in `folder`; `ready` waits until it serves."""
        self._wish = wish | {"port": port}
        self._folder = folder
        # A file of its own for each start: `ready` must not read an earlier server's line.
        number = len(list(folder.glob("server-*.log")))
        output = folder / f"server-{number}.log"
        super().__init__("tests.odd_server", [json.dumps(self._wish)], output, self._wish)
        self.address = ""
        self.ready_ns = 0

    def ready(self) -> Server:
        """Waits until it serves; then `address` and `ready_ns` are known."""

        def said() -> bool:
            return self.process.poll() is not None or "ready " in self.words()

        wait_until(said, "the server is ready")
        assert "ready " in self.words(), self.words()
        words = next(line for line in self.words().splitlines() if line.startswith("ready ")).split()
        self.address, self.ready_ns = words[1], int(words[2])
        return self

    def again(self, **changes: Any) -> Server:
        """Starts another on the same port."""
        port = int(self.address.rpartition(":")[2])
        return Server(self._folder, port, **{k: v for k, v in self._wish.items() if k != "port"} | changes)


class Arm(Spawned):
    """A robot client as real processes, with a fake or simulated robot; see `odd_arm`."""

    def __init__(self, folder: Path, address: str, **wish: Any) -> None:
        """Starts it; its records are in ``folder/run``."""
        wish = {"folder": str(folder), "address": address} | wish
        self._start("tests.odd_arm", [json.dumps(wish)], folder, wish)

    def _start(self, module: str, words: Sequence[str], folder: Path, wish: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        Spawned.__init__(self, module, words, folder / "output", wish)

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Returns the complete lines of run.jsonl so far, those of one name or all."""
        path = self.folder / "run" / "run.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        records = [json.loads(line) for line in lines if line.endswith("\n")]
        return [record for record in records if not name or record["event"] == name]

    def since(self, name: str, since_ns: int) -> list[dict[str, Any]]:
        """Returns the events of one name from `since_ns` on."""
        return [record for record in self.events(name) if record["mono_ns"] >= since_ns]

    def first(self, name: str, since_ns: int, timeout_s: float = WAIT_S, **fields: Any) -> dict[str, Any]:
        """Waits for the first event of that name with these fields from `since_ns` on, and returns it."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            matching = (r for r in self.since(name, since_ns) if fields.items() <= r.items())
            found.extend(list(matching)[:1])
            return bool(found) or self.process.poll() is not None

        wait_until(look, f"{name} {fields} comes; {self.levels()}", timeout_s)
        assert found, self.words()
        return found[0]

    def chunks(self) -> int:
        """Returns how many chunks were merged so far."""
        return len(self.events("chunk"))

    def moving(self, chunks: int = 3) -> Arm:
        """Waits until that many chunks were merged."""
        wait_until(
            lambda: self.chunks() >= chunks or self.process.poll() is not None, f"{chunks} chunks came"
        )
        assert self.process.poll() is None, self.words()
        return self

    def levels(self) -> list[str]:
        """Returns the levels that were entered so far."""
        return [record["state_to"] for record in self.events("level")]

    def commands(self) -> tuple[CommandLogHeader, list[CommandRow]]:
        """Returns the log of commands so far."""
        return read_commands(self.folder / "run" / "commands.csv")

    def positions(self) -> np.ndarray:
        """Returns the commands so far, shape (ticks, A)."""
        return np.array([row.command for row in self.commands()[1]])

    def summary(self) -> dict[str, Any]:
        """Returns the numbers of the run, which has ended."""
        return dict(json.loads((self.folder / "run" / "summary.json").read_text()))

    def control_pid(self) -> int:
        """Returns the process id of its control process."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        (pid,) = (int(each) for each in children if b"segue.client.control" in command_line(int(each)))
        return pid


class Emulator(Spawned):
    """An emulated SO-101 on a pty, in a process of its own: `segue emulate so101`."""

    def __init__(self, folder: Path, *flags: str, before: Sequence[str] = ()) -> None:
        """Starts it; what is written to its servos is logged in ``folder/writes.csv``."""
        self.writes_file = folder / "writes.csv"
        words = ["emulate", "so101", f"--log={self.writes_file}", *flags]
        super().__init__("segue.cli.main", words, folder / "emulator.log", {"before": list(before)})
        wait_until(lambda: "\n" in self.words() or self.process.poll() is not None, "the bus is there")
        assert self.process.poll() is None, self.words()

    @property
    def port(self) -> str:
        """The path of its serial port."""
        return self.words().split()[0]

    def ask(self, line: str) -> str:
        """Says `line` to it and returns its answer."""
        before = self.words().count("\n")
        self.tell(line)
        wait_until(lambda: self.words().count("\n") > before, f"the emulator answers {line!r}")
        return self.words().splitlines()[before]

    def order(self, line: str) -> int:
        """Makes something happen on the bus, and returns when it was ordered, ns."""
        ordered_ns = now_ns()
        assert self.ask(line) == "ok"
        return ordered_ns

    def state(self) -> dict[str, dict[str, int]]:
        """Returns what each servo is at, by name."""
        return dict(json.loads(self.ask("state")))

    def writes(self, register: str = "") -> list[tuple[int, str, int]]:
        """Returns what was written to the servos so far, to one register or all: when, where, what."""
        lines = self.writes_file.read_text().splitlines()[1:]
        rows = [line.split(",") for line in lines]
        return [(int(t), f"{servo}.{name}", int(v)) for t, servo, name, v in rows if register in ("", name)]


class CommandArm(Arm):
    """An arm that is started as people start it: `segue run` with flags."""

    def __init__(self, folder: Path, address: str, *flags: str, **wish: Any) -> None:
        """Starts it; its records are in ``folder/run``."""
        output = [f"--server_address={address}", f"--output_dir={folder / 'run'}", "--task=wave"]
        self._start("segue.cli.main", ["run", *output, *flags], folder, wish)
