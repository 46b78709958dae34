from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from segue.client.pulse import SILENT_NS, Pulse, PulseWatch, silent_after_ns
from segue.clock import NS_PER_MS, NS_PER_S, SystemClock, now_ns
from tests.unit.cameras.test_latest import Laptop

WAIT_S = 10.0


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    made = Pulse()
    yield made
    made.close()


class Told:
    """What the watch said."""

    def __init__(self) -> None:
        self.words: list[tuple[int, bool]] = []
        self.heard = threading.Event()

    def __call__(self, silence_ns: int, again: bool) -> None:
        self.words.append((silence_ns, again))
        self.heard.set()


@pytest.fixture
def watched(pulse: Pulse) -> Iterator[Callable[[], Told]]:
    told = Told()
    watch = PulseWatch(pulse, 40 * NS_PER_MS, SystemClock(), told)

    def start() -> Told:
        watch.start()
        return told

    yield start
    watch.stop()


def test_another_process_beats_the_same_pulse(pulse: Pulse) -> None:
    """A tick noted by another process is seen here, without a message."""
    code = "import sys; from segue.client.pulse import Pulse; Pulse(int(sys.argv[1])).beat(123456789)"
    words = [sys.executable, "-c", code, str(pulse.descriptor)]
    subprocess.run(words, pass_fds=[pulse.descriptor], check=True, timeout=60)
    assert pulse.last_ns == 123456789


def test_silence_is_told_once_and_so_is_its_end(pulse: Pulse, watched: Callable[[], Told]) -> None:
    """A loop that stops ticking is told of once, within its limit and a look; so is its next tick."""
    pulse.beat(now_ns())
    told = watched()
    assert told.heard.wait(WAIT_S)
    time.sleep(0.1)
    ((silence_ns, again),) = told.words
    assert silence_ns > 40 * NS_PER_MS
    assert not again
    told.heard.clear()
    pulse.beat(now_ns())
    assert told.heard.wait(WAIT_S)
    assert told.words[1][0] >= 100 * NS_PER_MS
    assert told.words[1][1]


def test_before_the_first_tick_and_after_the_last_there_is_no_silence(
    pulse: Pulse, watched: Callable[[], Told]
) -> None:
    """A loop that has not begun, or has ended as it should, is not missed."""
    told = watched()
    time.sleep(0.15)
    pulse.beat(now_ns())
    pulse.rest()
    time.sleep(0.15)
    assert told.words == []


def test_a_loop_that_ends_while_silent_is_not_called_back(pulse: Pulse, watched: Callable[[], Told]) -> None:
    """The orderly end of a loop that had been silent is no new tick."""
    pulse.beat(now_ns())
    told = watched()
    assert told.heard.wait(WAIT_S)
    pulse.rest()
    time.sleep(0.1)
    assert [again for _, again in told.words] == [False]


def test_slow_loops_are_given_more_time() -> None:
    """At 100 Hz 200 ms are silence; a loop of 2 Hz is silent after three of its periods."""
    assert silent_after_ns(100.0) == SILENT_NS
    assert silent_after_ns(2.0) == 1500 * NS_PER_MS


def test_closing_twice_is_harmless() -> None:
    """The page is given back once, whoever closes it again."""
    pulse = Pulse()
    descriptor = pulse.descriptor
    pulse.close()
    pulse.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_sleep_of_the_computer_is_no_silence(pulse: Pulse) -> None:
    """A loop that ticks until the sleep and goes on after it is not told of; one that does not go on is."""
    clock, told = Laptop(), Told()
    watch = PulseWatch(pulse, 40 * NS_PER_MS, clock, told)
    pulse.beat(clock.now_ns())
    watch.start()
    for _ in range(20):
        pulse.beat(clock.now_ns())
        time.sleep(0.005)
    clock.away_ns += 15 * NS_PER_S
    for _ in range(20):
        time.sleep(0.005)
        pulse.beat(clock.now_ns())
    assert told.words == []
    clock.away_ns += 15 * NS_PER_S
    assert told.heard.wait(WAIT_S)
    watch.stop()
    assert told.words[0][0] < NS_PER_S
