"""A policy server for tests: the real one, its policy can misbehave; `tests.processes.Server` starts it.

Lines on standard input:

    sleep S     every inference takes S seconds more
    hang        the next inference never ends
    nan         answers are not finite
    fail        inferences raise
    well        all of the above are over
    rss         says its resident memory, threads and descriptors

With ``unchecked`` in the wish it sends what it should refuse to send, so that
a client can be seen to check for itself.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segue.clock import now_ns
from segue.core.specs import ActionSpec
from segue.policies.base import PolicyInput, PolicyOutput
from segue.policies.scripted import ScriptedConfig, ScriptedPolicy
from segue.server import inference, lifecycle
from segue.server.lifecycle import PolicyServer, run_until_signalled
from segue.server.security import ServerSecurity
from segue.server.settings import ServerConfig
from segue.wire.channel import Keepalive, server_options


class OddPolicy(ScriptedPolicy):
    """The scripted policy, with faults on demand."""

    def __init__(self, config: ScriptedConfig, most: int) -> None:
        """Runs out of memory on batches of more than `most`."""
        super().__init__(config)
        self.sleep_s = 0.0
        self.mood = "well"
        self.largest_batch = 0
        self._most = most

    def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        """Answers, or does what it was told to do instead."""
        time.sleep(self.sleep_s)
        if len(batch) > self._most:
            raise MemoryError(f"no memory for {len(batch)}")
        self.largest_batch = max(self.largest_batch, len(batch))
        if self.mood == "hang":
            threading.Event().wait()
        if self.mood == "fail":
            raise RuntimeError("told to fail")
        outputs = super().infer(batch)
        if self.mood == "nan":
            spoilt = np.full_like(outputs[0].robot_actions, np.nan)
            return [PolicyOutput(spoilt, None, each.conditioned_delay) for each in outputs]
        return outputs

    def obey(self, line: str) -> None:
        """Does what `line` says from now on."""
        word, *rest = line.split()
        if word == "sleep":
            self.sleep_s = float(rest[0])
        elif word == "rss":
            print(f"rss {vital_signs()} batch {self.largest_batch}", flush=True)
        else:
            self.mood = word
            self.sleep_s = 0.0 if word == "well" else self.sleep_s


def vital_signs() -> str:
    """Returns resident kB, threads and open descriptors of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = len(os.listdir("/proc/self/fd"))
    return f"{pages * 4} kB {threading.active_count()} threads {descriptors} fds"


def listen(policy: OddPolicy) -> None:
    """Obeys standard input until it ends."""
    for line in sys.stdin:
        policy.obey(line)


def _any_output(output: PolicyOutput, spec: ActionSpec) -> PolicyOutput:
    return output


def main() -> int:
    """Serves what the only argument describes."""
    wish: dict[str, Any] = {"port": 0, "latency_s": 0.0, "most": 1000, "hz": 30.0} | json.loads(sys.argv[1])
    config = {k: v for k, v in wish.items() if k in {field.name for field in fields(ServerConfig)}}
    policy = OddPolicy(ScriptedConfig(action_hz=wish["hz"], horizon=wish.get("weights", 50)), wish["most"])
    if wish.get("unchecked"):
        inference._checked = _any_output  # type: ignore[assignment]
    threading.Thread(target=listen, args=(policy,), daemon=True).start()
    if "keepalive" in wish:
        options = partial(server_options, keepalive=Keepalive(*wish["keepalive"]))
        lifecycle.server_options = options  # type: ignore[assignment]
    security = ServerSecurity(insecure=wish.get("insecure", False))
    server = PolicyServer(
        ServerConfig(inference_latency_s=wish["latency_s"], security=security, **config), policy
    )
    number = run_until_signalled(server, lambda address: print(f"ready {address} {now_ns()}", flush=True))
    return 128 + number if number else 0


if __name__ == "__main__":
    sys.exit(main())
