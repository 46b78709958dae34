"""Which requests are served next, under a clock that the tests move."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from segue.server.batcher import Batcher, Job

MS = 1_000_000


def job(
    robot: str, now_ms: float, slack_ms: float, payload: object = None, group: str = "toy"
) -> Job[object]:
    now_ns = int(now_ms * MS)
    return Job(robot, group, now_ns, now_ns + int(slack_ms * MS), payload)


def robots(batch: list[Job[object]]) -> list[str]:
    return [j.robot for j in batch]


def test_the_earliest_deadline_goes_first() -> None:
    """Among those that wait, the robot that runs dry first is served first, whoever came first."""
    batcher: Batcher[object] = Batcher(max_batch=1)
    for waiting in (job("late", 0, 900), job("urgent", 2, 100), job("middle", 1, 500)):
        batcher.submit(waiting)
    order = []
    for end_ms in (10, 20, 30):
        order += robots(batcher.next_batch())
        batcher.finish(end_ms * MS)
    assert order == ["urgent", "middle", "late"]


def test_one_batch_takes_all_that_fit_most_urgent_first() -> None:
    """Requests that wait share a batch up to its size, by deadline."""
    batcher: Batcher[object] = Batcher(max_batch=2)
    for waiting in (job("a", 0, 300), job("b", 0, 100), job("c", 0, 200)):
        batcher.submit(waiting)
    assert robots(batcher.next_batch()) == ["b", "c"]
    assert len(batcher) == 1


def test_nothing_is_served_while_a_batch_runs() -> None:
    """There is one policy thread: the next batch comes after the present one is finished."""
    batcher: Batcher[object] = Batcher(max_batch=2)
    batcher.submit(job("a", 0, 100))
    assert robots(batcher.next_batch()) == ["a"]
    batcher.submit(job("b", 1, 100))
    assert batcher.next_batch() == []
    batcher.finish(5 * MS)
    assert robots(batcher.next_batch()) == ["b"]
    batcher.finish(9 * MS)
    assert batcher.next_batch() == []


def test_a_newer_request_replaces_the_one_that_waits() -> None:
    """A robot has one request waiting, its newest; the older one is handed back to be answered."""
    batcher: Batcher[object] = Batcher(max_batch=8)
    assert batcher.submit(job("a", 0, 100, "first")) is None
    replaced = batcher.submit(job("a", 5, 100, "second"))
    assert replaced is not None
    assert replaced.payload == "first"
    assert [j.payload for j in batcher.next_batch()] == ["second"]


def test_a_newer_request_keeps_the_place_in_the_queue() -> None:
    """Asking again with a fresher observation costs a robot no seniority."""
    batcher: Batcher[object] = Batcher(max_batch=1)
    batcher.submit(job("patient", 0, 5000, "first"))
    batcher.submit(job("x", 0, 0))
    assert robots(batcher.next_batch()) == ["x"]
    batcher.submit(job("y", 5, 0))
    batcher.finish(10 * MS)
    assert robots(batcher.next_batch()) == ["y"]
    batcher.submit(job("patient", 12, 5000, "second"))
    batcher.submit(job("x", 15, 0))
    batcher.finish(20 * MS)
    assert [j.payload for j in batcher.next_batch()] == ["second"]


def test_one_may_wait_while_one_of_the_same_robot_runs() -> None:
    """A robot may have one request running and one waiting."""
    batcher: Batcher[object] = Batcher(max_batch=8)
    batcher.submit(job("a", 0, 100, "runs"))
    batcher.next_batch()
    assert batcher.submit(job("a", 1, 100, "waits")) is None
    batcher.finish(5 * MS)
    assert [j.payload for j in batcher.next_batch()] == ["waits"]


def test_a_cancelled_request_is_not_served() -> None:
    """A request taken back is gone; one that runs, or was replaced, cannot be taken back."""
    batcher: Batcher[object] = Batcher(max_batch=1)
    first, second = object(), object()
    batcher.submit(job("a", 0, 100, first))
    batcher.submit(job("a", 1, 100, second))
    assert not batcher.cancel("a", first)
    assert batcher.cancel("a", second)
    assert not batcher.cancel("b", second)
    assert batcher.next_batch() == []


def test_policies_do_not_share_a_batch() -> None:
    """Requests for different policies are served in different batches."""
    batcher: Batcher[object] = Batcher(max_batch=8)
    for waiting in (job("a", 0, 100, group="x"), job("b", 0, 200, group="y"), job("c", 0, 300, group="x")):
        batcher.submit(waiting)
    assert robots(batcher.next_batch()) == ["a", "c"]
    batcher.finish(MS)
    assert robots(batcher.next_batch()) == ["b"]


def test_a_limit_holds_from_the_next_batch_on() -> None:
    """Batches get no larger than a limit set later, and never smaller than one."""
    batcher: Batcher[object] = Batcher(max_batch=8)
    for name in "abc":
        batcher.submit(job(name, 0, 100))
    batcher.limit(0)
    assert len(batcher.next_batch()) == 1


def test_clear_hands_back_everything_that_waits() -> None:
    """Everything that waits can be taken out at once."""
    batcher: Batcher[object] = Batcher(max_batch=8)
    for name in "ab":
        batcher.submit(job(name, 0, 100))
    assert sorted(robots(batcher.clear())) == ["a", "b"]
    assert len(batcher) == 0


@dataclass
class Served:
    """What a simulated crowd got: inferences begun by robot, and every wait in ms."""

    count: Counter[str]
    waits_ms: dict[str, list[float]]


def crowd(honest: dict[str, float], floods: int, inference_ms: int = 50, until_ms: int = 10_000) -> Served:
    """Runs robots that ask again 100 ms after each answer beside rogues that ask each 1 ms with no slack."""
    batcher: Batcher[object] = Batcher(max_batch=1)
    served = Served(Counter(), {name: [] for name in honest})
    asks_at = dict.fromkeys(honest, 0.0)
    began: list[Job[object]] = []
    for now in range(until_ms):
        if began and now >= began[0].payload:  # type: ignore[operator]
            batcher.finish(now * MS)
            asks_at.update({j.robot: now + 100 for j in began if j.robot in honest})
            began = []
        for name, slack_ms in honest.items():
            if asks_at[name] <= now:
                batcher.submit(job(name, now, slack_ms))
                asks_at[name] = float("inf")
        for rogue in range(floods):
            batcher.submit(job(f"rogue-{rogue}", now, 0))
        for j in batcher.next_batch():
            served.count[j.robot] += 1
            if j.robot in honest:
                served.waits_ms[j.robot].append(now - j.since_ns / MS)
            began.append(Job(j.robot, j.group, 0, 0, now + inference_ms))
    return served


def test_a_robot_that_floods_delays_others_by_one_inference_at_most() -> None:
    """Beside a robot that asks each millisecond and claims to be dry, others wait one inference at most."""
    served = crowd({"a": 400.0}, floods=1)
    assert max(served.waits_ms["a"]) <= 50
    assert served.count["a"] >= 10_000 // (50 + 50 + 100)


def test_a_robot_that_floods_takes_no_inference_from_others() -> None:
    """Two honest robots with 25 % load each get as many inferences beside a flood as they would ask for."""
    served = crowd({"a": 400.0, "b": 900.0}, floods=1)
    for name in "ab":
        # At worst each waits for the inference under way and for the two others once.
        assert max(served.waits_ms[name]) <= 150
        assert served.count[name] >= 10_000 // (100 + 50 + 150)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, str, int]]:
    event = st.tuples(st.sampled_from(["ask", "serve"]), st.sampled_from("abcd"), st.integers(0, 1000))
    return draw(st.lists(event, max_size=60))


@given(histories(), st.integers(1, 3))
def test_nobody_is_overtaken_twice_by_the_same_robot(
    events: list[tuple[str, str, int]], max_batch: int
) -> None:
    """While a request waits, every other robot is served at most once before it, whatever slack all claim."""
    batcher: Batcher[object] = Batcher(max_batch)
    overtaken: dict[str, Counter[str]] = {}
    asked = served = replaced = 0
    running: list[str] = []
    for now, (what, robot, slack_ms) in enumerate(events):
        if what == "ask":
            asked += 1
            replaced += batcher.submit(job(robot, now, slack_ms)) is not None
            overtaken.setdefault(robot, Counter())
            continue
        batcher.finish(now * MS)
        # A request sent while its own robot was served begins to wait when that is over.
        for name in running:
            if name in overtaken:
                overtaken[name] = Counter()
        running = robots(batcher.next_batch())
        served += len(running)
        for name in running:
            del overtaken[name]
        for waiting in overtaken.values():
            waiting.update(running)
        assert all(times == 1 for waiting in overtaken.values() for times in waiting.values())
    assert asked == served + replaced + len(batcher)
    assert len(running) == len(set(running)) <= max_batch
