"""What happens to the server and its policy (rows 5 to 11, 22 and 23 of the table), on real processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from segue.clock import now_ns
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
from tests.processes import Arm, Server, Spawned, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(240)]

EXIT_BUG = 70


@pytest.mark.fault(5, "server killed and restarted", "noticed ≤ 50 ms, back ≤ 1 s + inference after SERVING")
def test_a_killed_server(
    row: Row,
    serve: Callable[..., Server],
    arm: Callable[..., Arm],
    judged: Callable[[Arm], int],
    spawned: list[Spawned],
) -> None:
    """A server killed by -9 is noticed at once, and the first after it is used as soon as it serves."""
    first = serve(latency_s=INFERENCE_MS / 1000)
    made = arm(first.address).moving()
    killed_ns = now_ns()
    first.end()
    noticed = made.first("link", killed_ns)["mono_ns"]
    row.within("noticed after", (noticed - killed_ns) / MS, 50)
    row.note(f"held after {held_ms(made, killed_ns):.0f} ms")
    second = first.again()
    spawned.append(second)
    second.ready()
    row.within("back after", back_ms(made, second.ready_ns), BACK_MS)
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault(6, "server stopped (SIGSTOP)", "missed by the deadline, lost at 2 misses, back ≤ 1 s")
def test_a_stopped_server(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """A server that is stopped is noticed by deadlines alone, and used again when it continues."""
    server = serve(latency_s=INFERENCE_MS / 1000)
    made = arm(server.address).moving()
    stopped_ns = now_ns()
    server.signal(signal.SIGSTOP)
    missed, lost = lost_after_ms(made, stopped_ns)
    row.within("first miss", missed, FIRST_MISS_MS)
    row.within("lost after", lost, DEADLINE_MS + STEP_MS + TICK_MS)
    row.note(f"held after {held_ms(made, stopped_ns):.0f} ms")
    continued_ns = now_ns()
    server.signal(signal.SIGCONT)
    row.within("back after", back_ms(made, continued_ns), BACK_MS)
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault("6b", "policy deadlocked", "the server's watchdog ends it after max(5 s, 10 inferences)")
def test_a_policy_that_hangs_ends_its_server(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """An inference that never ends is noticed by the server itself, which says so and ends with 70."""
    server = serve()
    made = arm(server.address).moving()
    hung_ns = now_ns()
    server.tell("hang")
    row.note(f"held after {held_ms(made, hung_ns):.0f} ms")
    assert server.wait() == EXIT_BUG, server.words()
    row.within("server ended after", (now_ns() - hung_ns) / MS, 5_000 + 2_500)
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault(7, "server back with other weights", "chunk dropped, HOLD, exit 76")
def test_a_server_with_other_weights(
    row: Row,
    serve: Callable[..., Server],
    arm: Callable[..., Arm],
    judged: Callable[[Arm], int],
    spawned: list[Spawned],
) -> None:
    """When the server comes back with another policy the arm holds, parks, and the run ends with 76."""
    first = serve()
    made = arm(first.address).moving()
    first.end()
    second = first.again(weights=60)
    spawned.append(second)
    second.ready()
    back_ns = now_ns()
    assert made.wait() == 76, made.words()
    row.note(f"exit 76 {(now_ns() - back_ns) / 1e9:.1f} s after it was back")
    assert made.levels()[-2:] == ["HOLD", "PARK"]
    assert not made.since("chunk", second.ready_ns)
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault(8, "graceful stop (SIGTERM) under 8 clients", "in flight finishes ≤ 5 s, then all hold")
def test_a_draining_server(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """A server that is told to stop answers what is in flight, ends within its grace, and nobody crashes."""
    server = serve(latency_s=1.0)
    arms = [arm(server.address, f"arm{k}") for k in range(8)]
    for made in arms:
        made.moving(2)
    time.sleep(0.5)  # by now most have asked again, and wait
    asked_ns = now_ns()
    server.signal(signal.SIGTERM)
    assert server.wait() == 128 + signal.SIGTERM, server.words()
    row.within("server ended after", (now_ns() - asked_ns) / MS, 5_000)
    answered = sum(bool(made.since("chunk", asked_ns)) for made in arms)
    row.note(f"{answered} of 8 waited, and were answered")
    assert answered
    for made in arms:
        made.first("level", asked_ns, state_to="HOLD")
    row.note(f"{sum(judged(made) for made in arms)} commands clean")


@pytest.mark.fault(9, "out of memory in a batch", "halved once, RESOURCE_EXHAUSTED to the rest, then it fits")
def test_a_batch_that_does_not_fit(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """A policy that fits two robots at a time serves six: batches shrink, the server stays, all arms move."""
    server = serve(most=2, max_batch=6)
    server.tell("sleep 0.3")  # so that requests meet in a batch
    arms = [arm(server.address, f"arm{k}") for k in range(6)]
    for made in arms:
        made.moving(6)
    server.tell("rss")
    wait_until(lambda: "rss" in server.words(), "the server says what it served")
    assert "batch 2" in server.words()
    assert "batches are limited to 2" in server.words()
    row.note("limited to 2 after the first that did not fit")
    assert server.process.poll() is None
    row.note(f"{sum(judged(made) for made in arms)} commands clean")


@pytest.mark.fault(
    10, "policy becomes slower than its deadline", "forecast rises, too old is dropped, goes on"
)
def test_a_policy_that_becomes_slow(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """A policy ten times slower than it said starves the arm, is learnt, and is used at its own pace."""
    server = serve(latency_s=0.1)
    made = arm(server.address).moving(6)
    slow_ns = now_ns()
    server.tell("sleep 1.0")

    def learnt() -> bool:
        return any((r["delay_steps"] or 0) >= 30 for r in made.since("chunk", slow_ns))

    wait_until(learnt, f"the forecast learns; {made.levels()}")
    row.note(
        f"learnt {(made.since('chunk', slow_ns)[-1]['mono_ns'] - slow_ns) / 1e9:.1f} s after it slowed down"
    )
    made.moving(made.chunks() + 3)
    server.tell("well")
    made.moving(made.chunks() + 12)
    assert made.events("chunk")[-1]["forecast_steps"] < 30
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault(11, "NaN from the policy", "server: INTERNAL, robot holds; policy well again: goes on")
def test_a_policy_that_returns_nonsense(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """The server keeps NaN from the robot, which holds; when the policy is well the robot goes on."""
    server = serve()
    made = arm(server.address).moving()
    ill_ns = now_ns()
    server.tell("nan")
    row.note(f"held after {held_ms(made, ill_ns):.0f} ms")
    server.tell("well")
    row.within("back after", back_ms(made, now_ns()), BACK_MS)
    assert not made.events("chunk_dropped")
    row.note(f"{judged(made)} commands clean")


@pytest.mark.fault("11b", "NaN from a server that does not check", "3 chunks dropped in a row, exit 80")
def test_a_client_checks_for_itself(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """NaN three times in a row, from a server that does not check, latches: the arm holds, exit 80."""
    server = serve(unchecked=True)
    made = arm(server.address).moving()
    ill_ns = now_ns()
    server.tell("nan")
    assert made.wait() == 80, made.words()
    dropped = made.since("chunk_dropped", ill_ns)
    assert [each["reason"] for each in dropped] == ["not_finite"] * 3
    assert made.levels()[-1] == "FAULT"
    row.note(f"3 dropped, exit 80, {judged(made)} commands clean")


@pytest.mark.fault(22, "overload: more robots than places", "refused ≤ 50 ms, exit 75; the admitted run on")
def test_a_full_server_refuses_the_next(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], judged: Callable[[Arm], int]
) -> None:
    """A server with two places refuses the third robot before it moves, and the two do not starve."""
    server = serve(max_robots=2)
    arms = [arm(server.address, f"arm{k}").moving() for k in range(2)]
    third = arm(server.address, "third")
    assert third.wait() == 75, third.words()
    assert not (third.folder / "run" / "commands.csv").exists()
    before = [made.chunks() for made in arms]
    for made, chunks in zip(arms, before, strict=True):
        made.moving(chunks + 3)
        assert "STARVED" not in made.levels()
    row.note(f"exit 75, {sum(judged(made) for made in arms)} commands clean; 64 robots: tests/unit/server")
