"""What happens to the link (rows 1 to 4 and 13 of the table), on real processes with a proxy in between."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from segue.clock import now_ns
from segue.testing.proxy import FaultProxy
from tests.faults.measures import (
    BACK_MS,
    DEADLINE_MS,
    FIRST_MISS_MS,
    INFERENCE_MS,
    MS,
    STEP_MS,
    TICK_MS,
    back_ms,
    held_ms,
    lost_after_ms,
)
from tests.faults.report import Row
from tests.processes import Arm, Server

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(180)]


@pytest.mark.fault(
    1, "network cut (swallowed)", "missed by the deadline, lost at 2 misses, back ≤ 1 s + inference"
)
@pytest.mark.parametrize("resets", [False, True], ids=["held_bytes_arrive", "connections_are_reset"])
def test_a_cut_network(
    resets: bool,
    row: Row,
    serve: Callable[..., Server],
    arm: Callable[..., Arm],
    judged: Callable[[Arm], int],
) -> None:
    """A network that swallows everything is noticed by deadlines; the arm holds, then goes on."""
    server = serve(latency_s=INFERENCE_MS / 1000)
    with FaultProxy(server.address) as proxy:
        made = arm(proxy.address).moving()
        proxy.swallow(True)
        cut_ns = now_ns()
        missed, lost = lost_after_ms(made, cut_ns)
        row.within("first miss", missed, FIRST_MISS_MS)
        row.within("lost after", lost, DEADLINE_MS + STEP_MS + TICK_MS)
        row.note(f"held {held_ms(made, cut_ns):.0f} ms after the cut")
        proxy.swallow(False, reset=resets)
        row.within("back after", back_ms(made, now_ns()), BACK_MS)
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault("1b", "network cut for longer than the limit", "held, parked, exit 69")
def test_a_network_that_stays_cut_ends_the_run(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """Past the offline limit the arm parks and the run ends with 69."""
    server = serve()
    with FaultProxy(server.address) as proxy:
        made = arm(
            proxy.address, safety={"offline_limit_ns": 4_000 * MS, "hold_grace_ns": 1_000 * MS}
        ).moving()
        proxy.swallow(True)
        cut_ns = now_ns()
        assert made.wait() == 69, made.words()
    row.note(f"exit 69 {(now_ns() - cut_ns) / 1e9:.1f} s after the cut, limit 4 s")
    assert made.levels()[-2:] == ["HOLD", "PARK"]
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault(2, "reset, refused", "noticed ≤ 50 ms, same ladder, back ≤ 1 s + inference")
def test_a_reset_connection_and_a_closed_port(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """A reset connection is noticed at once; while the port refuses the arm holds, and then it goes on."""
    server = serve(latency_s=INFERENCE_MS / 1000)
    with FaultProxy(server.address) as proxy:
        made = arm(proxy.address).moving()
        proxy.refuse(True)
        reset_ns = now_ns()
        proxy.reset()
        noticed = made.first("link", reset_ns)["mono_ns"]
        row.within("noticed after", (noticed - reset_ns) / MS, 50)
        row.note(f"held after {held_ms(made, reset_ns):.0f} ms")
        proxy.refuse(False)
        row.within("back after", back_ms(made, now_ns()), BACK_MS)
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault(3, "jitter, spikes, reset now and then", "0 stale actions, no exception in the loop")
def test_a_bad_network_for_a_while(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """Ten seconds of 20 to 300 ms of delay and a reset every two move the arm by fresh actions only."""
    server = serve(latency_s=INFERENCE_MS / 1000)
    with FaultProxy(server.address, seed=3) as proxy:
        made = arm(proxy.address, seconds=18.0).moving()
        for k in range(10):
            proxy.delay(20.0 if k % 3 else 150.0, jitter_ms=40.0 if k % 2 else 150.0)
            if k % 2:
                proxy.reset()
            time.sleep(1.0)
        proxy.delay(0.0)
        assert made.wait() == 0, made.words()
    summary = made.summary()
    row.note(f"{summary['starved_ticks']} ticks starved, {summary['missed_requests']} requests missed")
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault(4, "slow link, 200 kB/s", "pictures made smaller once, and said; observations never queue")
def test_a_slow_link_gets_smaller_pictures(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """At 200 kB/s three full pictures take most of a second: their quality is lowered once, and said."""
    server = serve()
    with FaultProxy(server.address) as proxy:
        proxy.throttle(200_000, up=True, down=False)
        cameras = {name: [480, 640] for name in ("front", "top", "wrist")}
        made = arm(proxy.address, cameras=cameras)
        changed = made.first("image_quality", 0)
        made.moving(made.chunks() + 6)
    sizes = [record["observation_bytes"] for record in made.events("chunk")]
    row.note(
        f"{sizes[0] / 1000:.0f} kB → {sizes[-1] / 1000:.0f} kB a request, quality {changed['quality_to']}"
    )
    assert sizes[-1] < 0.7 * sizes[0]
    assert made.words().count("the link is slow") == 1
    trips = [record["round_trip_ms"] for record in made.events("chunk")][-3:]
    row.within("round trip then", max(trips), 600)
    row.note(f"{judged(made)} commands clean")
