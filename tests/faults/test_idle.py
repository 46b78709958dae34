"""Links with nothing to do (row 30): an arm that rests between two episodes, and routers that forget.

The quick ones have their keepalive ten times as fast; those that `make idle`
runs are as everybody has them, and take six minutes, side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from segue.cli.serve import READY
from segue.testing.proxy import FaultProxy
from tests.faults.report import Row
from tests.processes import Arm, CommandArm, Server, Spawned, wait_until

MS = 1_000_000
S = 1_000 * MS
# Until a ping is sent, answered, and taken by the other side's kernel.
QUICK_MS = (1_000, 2_000, 1_000)


def links(arm: Arm) -> list[str]:
    """Returns what became of the link so far."""
    return [record["state"] for record in arm.events("link")]


@pytest.mark.e2e
@pytest.mark.faults
@pytest.mark.timeout(180)
@pytest.mark.fault("30", "idle link, NAT forgets after 3 pings", "no reconnection, nothing missed")
@pytest.mark.parametrize("reset", [False, True], ids=["swallows", "resets"])
def test_a_patient_router_changes_nothing(
    reset: bool,
    row: Row,
    serve: Callable[..., Server],
    arm: Callable[..., Arm],
    judged: Callable[[Arm], int],
) -> None:
    """An arm that rests behind a router that forgets later than pings come keeps its one connection."""
    server = serve(keepalive=QUICK_MS)
    with FaultProxy(server.address) as proxy:
        proxy.forget(3.0, reset=reset)
        made = arm(proxy.address, keepalive=QUICK_MS, episodes=[2, 1 * S, 9 * S])
        assert made.wait() == 0, made.words()
        assert (proxy.counts.connections, proxy.counts.forgotten) == (1, 0)
    assert links(made) == ["ready"]
    assert made.summary()["missed_requests"] == 0
    row.note(f"1 connection over a rest of 9 s; {made.chunks()} chunks, {judged(made)} commands clean")


@pytest.mark.e2e
@pytest.mark.faults
@pytest.mark.timeout(180)
@pytest.mark.fault("30b", "idle link, NAT forgets before a ping", "dialled again, the next episode runs")
@pytest.mark.parametrize("reset", [False, True], ids=["swallows", "resets"])
def test_an_impatient_router_costs_reconnections(
    reset: bool,
    row: Row,
    serve: Callable[..., Server],
    arm: Callable[..., Arm],
    judged: Callable[[Arm], int],
) -> None:
    """An arm that rests behind a router that forgets sooner than pings come dials again, and goes on."""
    server = serve(keepalive=QUICK_MS)
    with FaultProxy(server.address) as proxy:
        proxy.forget(0.7, reset=reset)
        made = arm(proxy.address, keepalive=QUICK_MS, episodes=[2, 1 * S, 8 * S])
        assert made.wait() == 0, made.words()
        forgotten = proxy.counts.forgotten
    assert forgotten >= 2
    assert made.summary()["chunks"] >= 2
    row.note(f"forgotten {forgotten} times in a rest of 8 s, {links(made).count('ready')} sessions")
    row.note(f"{judged(made)} commands clean")


REST_S = 310
# As people start it; 30 commands a second, so that five of them rest on two cores.
RESTING = (
    "--robot.type=fake", "--episodes=2", "--episode_time_s=3", f"--reset_time_s={REST_S}",
    "--control_hz=30", "--realtime=false",
)  # fmt: skip


@dataclass(frozen=True)
class Rest:
    """An arm that rests, and the router on its way.

    Attributes:
        forgets_s: silence after which the router forgets; 0 for never.
        resets: it says so, instead of swallowing.
    """

    name: str
    forgets_s: float
    resets: bool = False


RESTS = (
    Rest("no_router", 0),
    Rest("30s_swallows", 30),
    Rest("30s_resets", 30, resets=True),
    Rest("5s_swallows", 5),
    Rest("5s_resets", 5, resets=True),
)


@pytest.fixture(scope="module")
def resting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Rest, tuple[CommandArm, FaultProxy]]]:
    """Starts a server and all arms, which rest at the same time."""
    folder = tmp_path_factory.mktemp("idle")
    words = ["serve", "--port=0", "--policy.path=builtin:scripted"]
    server = Spawned("segue.cli.main", words, folder / "server", {})
    made: dict[Rest, tuple[CommandArm, FaultProxy]] = {}
    try:
        for rest in RESTS:
            proxy = FaultProxy(served_at(server))
            proxy.start()
            proxy.forget(rest.forgets_s, reset=rest.resets)
            words = [*RESTING, f"--robot.id={rest.name}"]
            made[rest] = (CommandArm(folder / rest.name, proxy.address, *words), proxy)
        yield made
    finally:
        for arm, proxy in made.values():
            arm.end()
            proxy.close()
        server.end()


def served_at(server: Spawned) -> str:
    """Waits until the server says that it serves, and returns its address."""
    found: list[str] = []

    def said() -> bool:
        found.extend(line.group(1) for line in [READY.search(server.words())] if line)
        return bool(found) or server.process.poll() is not None

    wait_until(said, "the server serves")
    assert found, server.words()
    return found[0]


@pytest.mark.idle
@pytest.mark.timeout(2 * REST_S)
@pytest.mark.fault("30i", "an arm rests for 5 minutes", "as promised in rows 30 and 30b")
@pytest.mark.parametrize("rest", RESTS, ids=lambda rest: rest.name)
def test_five_minutes_of_rest(
    rest: Rest,
    row: Row,
    resting: dict[Rest, tuple[CommandArm, FaultProxy]],
    judged: Callable[[Arm], int],
) -> None:
    """After five minutes of rest the next episode runs: on the same connection, where pings can keep it."""
    made, proxy = resting[rest]
    assert made.wait(2 * REST_S) == 0, made.words()
    counts, summary = proxy.counts, made.summary()
    row.note(f"{rest.name}: {counts.connections} connections, {counts.forgotten} forgotten")
    assert len(made.events("episode")) == 2
    assert summary["ticks"] > 30 * REST_S
    assert summary["chunks"] >= 2
    if rest.forgets_s in (0, 30):
        assert (counts.connections, counts.forgotten) == (1, 0)
        assert links(made) == ["ready"]
        assert summary["missed_requests"] == 0
    else:
        assert counts.forgotten >= 5
    row.note(f"{summary['chunks']} chunks, {judged(made)} commands clean")
