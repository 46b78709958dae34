"""Whether a tick's questions fit into a tick, which is the adapter's doing more than the servos'.

Six servos answer for everything within 2.2 ms of wire. What comes on top is the
USB adapter's: a millisecond for most, 16 for an FTDI that was left as it is or
one behind a virtual machine. It is measured before the arm has torque, and a
rate at which answers would come too late is refused with the rate that works.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from segue.clock import NS_PER_MS, NS_PER_S, Clock
from segue.errors import ConfigError, RobotFault
from segue.robots.answer_times import AnswerTimes
from segue.robots.feetech import ATTEMPTS, BYTE_NS, PATIENT_MARGIN_NS, ServoBus
from segue.robots.packets import STATUS_OVERHEAD
from segue.robots.so101_health import BLOCK_BYTES, ORDERS, ORDERS_BYTES, WHOLE_BYTES

# Of a tick, for deciding and writing: 3.5 ms, which do not grow with it, but at most that share.
_REST_NS = 3_500_000
_REST_SHARE = 0.35
_MOST_HZ = 200
_SERVOS = 6
_SYNC_READ_BYTES = 8
# Questions ask for up to two bytes more each (`so101_pose`), and for one more in each tick that was missed.
_SURPLUS = 6
# On a grid of 16 ms answers come after 2 to 18 ms; a round of so many shows both ends.
_ASKED = 12
_OUTLIERS = 4
_GRID_NS = 16 * NS_PER_MS
_GOLDEN = 0.618
# A busy machine looks like a slow adapter, but not three times in a row.
_ROUNDS = 3
# Between what was measured and what is allowed.
_ROOM = 1.02
# No two measurements are the same: whoever does as told is not to be refused by the next one.
_SURE = 0.9
_LATENCY_TIMERS = Path("/sys/bus/usb-serial/devices")


def budget_ns(tick_ns: int) -> int:
    """Returns how much of a tick its questions may take."""
    return tick_ns - min(round(_REST_SHARE * tick_ns), _REST_NS)


def highest_hz(late_ns: int) -> int:
    """Returns how often a second a tick's questions fit where answers take `late_ns` beyond their bytes."""
    needs_ns = round(min(_two_questions_ns(late_ns), _one_question_ns(late_ns)) * _ROOM)
    tick_ns = needs_ns + min(round(needs_ns * _REST_SHARE / (1 - _REST_SHARE)), _REST_NS)
    return min(_MOST_HZ, NS_PER_S // tick_ns)


def measured_ns(bus: ServoBus, clock: Clock, servos: Sequence[int], hz: float) -> int:
    """Returns how long answers take beyond their bytes, at most: as soon as that fits `hz` ticks a second.

    Raises:
        RobotFault: a servo does not answer.
    """
    bus.times = AnswerTimes()
    found = []
    for _ in range(_ROUNDS):
        late = sorted(_one_answer_ns(bus, clock, servos, number) for number in range(_ASKED))
        # On a grid they lie evenly between its ends; four that a busy machine delayed count for nothing.
        most = late[_ASKED - 1 - _OUTLIERS]
        end = most + (most - late[0]) * 2 // 3
        found.append(end if bus.times.slow else min(end, late[-1]))
        if highest_hz(found[-1]) >= hz:
            break
    return min(found)


def check_rate(bus: ServoBus, clock: Clock, servos: Sequence[int], hz: float, port: str) -> int:
    """Makes sure that a tick's questions fit `hz` times a second, and returns what `measured_ns` does.

    Raises:
        ConfigError: they do not; the rate that works is named, and how to make the adapter quicker.
        RobotFault: a servo does not answer.
    """
    late_ns = measured_ns(bus, clock, servos, hz)
    if highest_hz(late_ns) < hz:
        raise ConfigError(f"control_hz: {hz:g}; {too_slow(late_ns, port)}")
    return late_ns


def too_slow(late_ns: int, port: str) -> str:
    """Returns what to do where answers take `late_ns` on `port`, in a sentence without its begin."""
    highest = highest_hz(late_ns)
    return (
        f"the servos' answers take {milliseconds(late_ns)}, so the questions of a tick fit at most {highest} "
        f"times a second: give --control_hz={int(_SURE * highest)} or less, {_quicker(port)}"
    )


def milliseconds(late_ns: int) -> str:
    """Returns a duration for a person."""
    ms = late_ns / NS_PER_MS
    return f"{ms:.0f} ms" if ms >= 2 else f"{ms:.1f} ms"


def _one_answer_ns(bus: ServoBus, clock: Clock, servos: Sequence[int], number: int) -> int:
    if bus.times.slow:
        # Asked at once after an answer, each would be met by the adapter in the same moment of its grid.
        clock.sleep_until(clock.now_ns() + round(number * _GOLDEN % 1.0 * _GRID_NS))
    deadline_ns = clock.now_ns() + ATTEMPTS * PATIENT_MARGIN_NS
    answers = bus.sync_read(servos, ORDERS, WHOLE_BYTES, deadline_ns, PATIENT_MARGIN_NS)
    mute = [servo for servo in servos if servo not in answers]
    if mute:
        raise RobotFault(f"servo {', '.join(map(str, mute))} does not answer a question for where it is")
    return bus.times.newest_ns


def _two_questions_ns(late_ns: int) -> int:
    return _question_ns(BLOCK_BYTES + _SURPLUS, _SERVOS) + _question_ns(ORDERS_BYTES, 1) + 2 * late_ns


def _one_question_ns(late_ns: int) -> int:
    return _question_ns(WHOLE_BYTES + _SURPLUS, _SERVOS) + late_ns


def _question_ns(size: int, servos: int) -> int:
    """Returns how long a question for `size` bytes of each takes on the wire."""
    return (_SYNC_READ_BYTES + servos + servos * (STATUS_OVERHEAD + size)) * BYTE_NS


def _quicker(port: str) -> str:
    """Returns how to make the adapter quicker, as far as the kernel knows it."""
    timer = _LATENCY_TIMERS / os.path.basename(os.path.realpath(port)) / "latency_timer"
    if timer.exists():
        return f"or set the adapter's latency_timer to 1 ms: `echo 1 | sudo tee {timer}`"
    return "or, if the adapter is an FTDI, set its latency_timer to 1 ms"
