"""A network that is really cut: two hosts in network namespaces, and the cable between them. Needs root."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from segue.clock import now_ns
from tests.faults.conftest import needs_root
from tests.faults.measures import (
    BACK_MS,
    DEADLINE_MS,
    FIRST_MISS_MS,
    INFERENCE_MS,
    STEP_MS,
    TICK_MS,
    back_ms,
    held_ms,
    lost_after_ms,
)
from tests.faults.report import Row
from tests.processes import Arm, Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.faults,
    pytest.mark.root,
    pytest.mark.timeout(180),
    needs_root,
    pytest.mark.skipif(shutil.which("ip") is None, reason="needs iproute2"),
]

HERE, THERE = "10.213.77.1", "10.213.77.2"
_NUMBERS = itertools.count()


def ip(*words: str) -> None:
    """Runs ``ip`` with `words`."""
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


def cable(host: str, state: str) -> None:
    """Pulls the cable to `host` (``down``) or plugs it in (``up``)."""
    ip("link", "set", f"{host}a", state)


@pytest.fixture
def host() -> Iterator[str]:
    """Makes a second host behind a cable of its own; the value is the name of its namespace."""
    # A name for each: the kernel takes an old cable away some time after its namespace.
    name = f"sg{os.getpid() % 100_000}x{next(_NUMBERS)}"
    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        ip("addr", "add", f"{HERE}/30", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "addr", "add", f"{THERE}/30", "dev", f"{name}b")
        ip("-n", name, "link", "set", f"{name}b", "up")
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", f"{name}a"], check=False, capture_output=True, timeout=30)
        ip("netns", "delete", name)


@pytest.mark.fault("1c", "cable pulled (network namespaces)", "as row 1, over a real TCP stack")
@pytest.mark.parametrize("seconds", [2.5, 6.0])
def test_a_pulled_cable(
    seconds: float,
    row: Row,
    host: str,
    serve: Callable[..., Server],
    arm: Callable[..., Arm],
    judged: Callable[[Arm], int],
) -> None:
    """A cable that is pulled for some seconds holds the arm, which goes on when it is plugged in again."""
    enter = ["ip", "netns", "exec", host]
    server = serve(before=enter, host=THERE, insecure=True, latency_s=INFERENCE_MS / 1000)
    made = arm(server.address).moving()
    cable(host, "down")
    cut_ns = now_ns()
    missed, lost = lost_after_ms(made, cut_ns)
    row.within("first miss", missed, FIRST_MISS_MS)
    row.within("lost after", lost, DEADLINE_MS + STEP_MS + TICK_MS)
    row.note(f"held after {held_ms(made, cut_ns):.0f} ms")
    time.sleep(max(0.0, seconds - (now_ns() - cut_ns) / 1e9))
    cable(host, "up")
    row.within(f"back after a cut of {seconds:g} s", back_ms(made, now_ns()), BACK_MS)
    row.note(f"{judged(made)} commands clean")
