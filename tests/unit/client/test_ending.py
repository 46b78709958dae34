from __future__ import annotations

import os
import signal

import pytest

from segue.client.ending import EXIT_CODES, Ending, StopSwitch, StopWish, wishes_of
from segue.client.pages import StopRelay
from segue.clock import NS_PER_MS, now_ns
from segue.core.facts import ExitReason

HUP, INT, TERM = int(signal.SIGHUP), int(signal.SIGINT), int(signal.SIGTERM)


def test_every_reason_has_an_exit_code() -> None:
    """The table covers every reason but the signal's, which is 128 plus its number."""
    assert set(EXIT_CODES) | {ExitReason.SIGNALLED} == set(ExitReason)


@pytest.mark.parametrize(
    ("reason", "number", "code"),
    [
        (ExitReason.DONE, 0, 0),
        (ExitReason.LINK_LOST, 0, 69),
        (ExitReason.CAMERA, 0, 74),
        (ExitReason.ROBOT, 0, 74),
        (ExitReason.OTHER_POLICY, 0, 76),
        (ExitReason.REFUSED, 0, 76),
        (ExitReason.BAD_CHUNKS, 0, 80),
        (ExitReason.SIGNALLED, signal.SIGHUP, 129),
        (ExitReason.SIGNALLED, signal.SIGINT, 130),
        (ExitReason.SIGNALLED, signal.SIGTERM, 143),
    ],
)
def test_the_exit_code_says_how_it_ended(reason: ExitReason, number: int, code: int) -> None:
    """Each reason ends the process with its own code."""
    assert Ending(reason, number).exit_code == code


# What comes, in ms, and how many wishes that is, known by which signals.
COMES: list[tuple[str, list[tuple[int, int]], list[int]]] = [
    ("one", [(TERM, 0)], [TERM]),
    ("twice at once, as when tmux is closed", [(HUP, 0), (HUP, 3)], [HUP]),
    ("a held key", [(INT, 0), (INT, 33), (INT, 66), (INT, 99), (INT, 132)], [INT]),
    ("a repeat within 150 ms", [(INT, 0), (INT, 150)], [INT]),
    ("a repeat after 150 ms", [(INT, 0), (INT, 151)], [INT, INT]),
    ("TERM once more after half a second", [(TERM, 0), (TERM, 500)], [TERM, TERM]),
    ("TERM and HUP within a second", [(TERM, 0), (HUP, 1000)], [TERM]),
    ("HUP and TERM within a second", [(HUP, 0), (TERM, 1000)], [TERM]),
    ("TERM and HUP after a second", [(TERM, 0), (HUP, 1001)], [TERM, HUP]),
    ("TERM, HUP, TERM", [(TERM, 0), (HUP, 300), (TERM, 700)], [TERM]),
    ("a HUP that is doubled near the end of the second", [(TERM, 0), (HUP, 990), (HUP, 1100)], [TERM]),
    ("TERM, and Ctrl-C a moment later", [(TERM, 0), (INT, 400)], [TERM, INT]),
    ("HUP, and Ctrl-C a moment later", [(HUP, 0), (INT, 151)], [HUP, INT]),
    ("all three at once", [(INT, 0), (HUP, 1), (TERM, 2)], [TERM]),
    ("a double wish, twice", [(HUP, 0), (HUP, 5), (HUP, 3000), (HUP, 3005)], [HUP, HUP]),
    ("hammered", [(INT, 120 * k) for k in range(5)], [INT, INT, INT]),
]


@pytest.mark.parametrize(("told", "wishes"), [case[1:] for case in COMES], ids=[case[0] for case in COMES])
def test_which_signals_are_one_wish(told: list[tuple[int, int]], wishes: list[int]) -> None:
    """TERM and HUP within a second, and any repeat within 150 ms, are one wish; all else is another."""
    found = wishes_of([(number, at_ms * NS_PER_MS) for number, at_ms in told])
    assert [wish.signal for wish in found] == wishes


def wish(number: int, at_ms: int) -> StopWish:
    return StopWish({number: at_ms * NS_PER_MS})


# What this process was told, what the other one counts, and what that comes to.
BOTH: list[tuple[str, list[tuple[int, int]], list[StopWish], list[int]]] = [
    ("only the other, once", [], [wish(INT, 0)], [INT]),
    ("only the other, twice", [], [wish(INT, 0), wish(INT, 300)], [INT, INT]),
    ("both at once", [(TERM, 0)], [wish(TERM, 4)], [TERM]),
    ("we first, the other busy for two seconds", [(INT, 0)], [wish(INT, 2000)], [INT]),
    ("the other first, we busy for two seconds", [(INT, 2000)], [wish(INT, 0)], [INT]),
    ("both, TERM and HUP in either order", [(HUP, 0), (TERM, 5)], [wish(TERM, 2)], [TERM]),
    ("TERM for us and HUP for the other", [(TERM, 0)], [wish(HUP, 30)], [TERM]),
    ("both, and Ctrl-C later", [(TERM, 0)], [wish(TERM, 4), wish(INT, 3000)], [TERM, INT]),
    ("both twice", [(INT, 0), (INT, 600)], [wish(INT, 40), wish(INT, 640)], [INT, INT]),
    ("both twice, both of ours late", [(INT, 900), (INT, 1400)], [wish(INT, 0), wish(INT, 500)], [INT, INT]),
    ("we alone, then Ctrl-C", [(TERM, 0)], [wish(INT, 500)], [TERM, INT]),
    ("the same after a long time", [(INT, 0)], [wish(INT, 60_000)], [INT, INT]),
]


@pytest.mark.parametrize(
    ("told", "heard", "wishes"), [case[1:] for case in BOTH], ids=[case[0] for case in BOTH]
)
def test_what_both_processes_are_told_is_one_wish(
    told: list[tuple[int, int]], heard: list[StopWish], wishes: list[int]
) -> None:
    """A signal to every process of a run counts once, whoever heeds it first, and the other much later."""
    found = wishes_of([(number, at_ms * NS_PER_MS) for number, at_ms in told], heard)
    assert [each.signal for each in found] == wishes


def test_the_switch_counts_wishes_and_knows_the_newest() -> None:
    """How often, by which signal and when is asked of it; who embeds a run need not say when."""
    stop = StopSwitch()
    assert (stop.asked, stop.at_ns, stop.signal) == (0, 0, INT)
    stop.ask(TERM, 5)
    assert (stop.asked, stop.at_ns, stop.signal) == (1, 5, TERM)
    before = now_ns()
    stop.ask()
    assert stop.asked == 2
    assert stop.at_ns >= before
    assert stop.signal == INT


def test_what_the_link_process_counts_is_heard_through_memory() -> None:
    """A number in shared memory is heard once however often it is read, also where it jumps by two."""
    ours = StopRelay()
    stop = StopSwitch(StopRelay(os.dup(ours.descriptor)))
    assert stop.asked == 0
    ours.put(1, HUP, 7)
    assert (stop.asked, stop.asked, stop.signal) == (1, 1, HUP)
    ours.put(1, TERM, 7)  # another signal joined the same wish
    assert (stop.asked, stop.signal) == (1, TERM)
    stop.ask(TERM, 9)
    assert stop.asked == 1
    ours.put(3, INT, 11)
    assert (stop.asked, stop.signal) == (3, INT)
    ours.close()
