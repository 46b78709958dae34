"""Two servos of one id on a bus, told by how they answer: twice, or never with a whole packet.

Both hear a question, and both answer. Where one waits longer than the other two
packets come. Where they speak at once their bytes fall on each other: equal ones
are heard as if one had spoken, so a ping may pass, and what differs between two
servos (where they are, what they were calibrated to) arrives garbled, each time.
Therefore each is asked for that, with time for a second answer. A line that is
merely bad garbles one answer and not the next.

Source: the vendor's protocol manual (answers are not arbitrated).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from segue.clock import NS_PER_MS, NS_PER_S, Clock
from segue.robots import packets
from segue.robots.packets import STATUS_OVERHEAD
from segue.robots.sts3215 import (
    BAUD,
    BITS_PER_BYTE,
    HOMING_OFFSET,
    MIN_POSITION,
    PRESENT_CURRENT,
    PRESENT_POSITION,
)

if TYPE_CHECKING:
    from segue.robots.serialport import Port

_BYTE_NS = BITS_PER_BYTE * NS_PER_S // BAUD
# A servo thinks for half a millisecond at most, an adapter adds a frame each way.
_THINKING_NS = 2 * NS_PER_MS
# What comes last may lie in the adapter for 16 ms.
_SILENCE_NS = 25 * NS_PER_MS
_END = PRESENT_CURRENT.address + PRESENT_CURRENT.size
# Address and size: from the first limit, the offset or the position on, to the last sensor. One
# checksum in 256 of a garbled answer is right by chance, and so it is each time that it is asked for.
_QUESTIONS = tuple(
    (register.address, _END - register.address)
    for register in (MIN_POSITION, PRESENT_POSITION, HOMING_OFFSET)
)
_HURRIED = _QUESTIONS[:2]
_ATTEMPTS = 2 * len(_QUESTIONS)
_ENOUGH = _ATTEMPTS - 2  # one kind of answer may pass by chance
# More than all of them that two servos can say to one question; a line that chatters has no end.
_KEPT_BYTES = 1024


@dataclass(slots=True)
class Heard:
    """What came after some questions.

    Attributes:
        answers: how many were whole, by servo and by the size of their data.
        stray: bytes that belong to none.
    """

    answers: dict[tuple[int, int], int] = field(default_factory=dict)
    stray: int = 0

    def take(self, data: bytes) -> bytes:
        """Counts what is in `data`, and returns what may become an answer yet."""
        before = len(data)
        packet, data = packets.find_status(data)
        while packet is not None:
            self.stray += before - len(data) - STATUS_OVERHEAD - len(packet.data)
            key = (packet.id, len(packet.data))
            self.answers[key] = self.answers.get(key, 0) + 1
            before = len(data)
            packet, data = packets.find_status(data)
        self.stray += before - len(data)
        return data


def listen(port: Port, clock: Clock, ends_ns: int) -> bytes:
    """Returns all that comes until `ends_ns`, of a line that chatters no more than a kilobyte.

    Raises:
        RobotFault: the port is gone.
    """
    data = b""
    while clock.now_ns() < ends_ns and len(data) < _KEPT_BYTES:
        part = port.read(ends_ns)
        if not part:
            break
        data += part
    return data


def doubled(port: Port, clock: Clock, servos: Collection[int]) -> dict[int, bool]:
    """Returns the ids to which more than one servo answers, or seems to.

    Args:
        port: of the bus, on which nobody else is asking.
        clock: by which to wait.
        servos: the ids to look at; one to which nobody answers is not doubled.

    Returns:
        by id whether it is certain: two whole answers came to one question. Else what came was
        garbled each time, as it is when two speak at once, or when a cable is bad.

    Raises:
        RobotFault: the port is gone.
    """
    found: dict[int, bool] = {}
    for servo in _suspects(port, clock, servos):
        verdict = _closely(port, clock, servo)
        if verdict is not None:
            found[servo] = verdict
    return found


def _suspects(port: Port, clock: Clock, servos: Collection[int]) -> list[int]:
    """Asks all of them in a hurry, and returns those that did not give each answer once."""
    heard, pending = Heard(), b""
    port.discard()
    for servo in servos:
        for address, size in _HURRIED:
            port.write(packets.read(servo, address, size))
            ends_ns = clock.now_ns() + _THINKING_NS + 2 * (STATUS_OVERHEAD + size) * _BYTE_NS
            pending = heard.take(pending + listen(port, clock, ends_ns))
    heard.take(pending + listen(port, clock, clock.now_ns() + _SILENCE_NS))
    odd = [s for s in servos if any(heard.answers.get((s, size)) != 1 for _, size in _HURRIED)]
    return odd if odd or not heard.stray else list(servos)


def _closely(port: Port, clock: Clock, servo: int) -> bool | None:
    """Returns whether a servo is certainly doubled, or seems to be; None when it is not, or is mute."""
    garbled = 0
    for attempt in range(_ATTEMPTS):
        address, size = _QUESTIONS[attempt % len(_QUESTIONS)]
        heard = _one_answer(port, clock, servo, address, size)
        answers = heard.answers.get((servo, size), 0)
        if answers > 1:
            return True
        garbled += answers == 0 or heard.stray > 0
        is_mute = not attempt and not answers and not heard.stray
        # As soon as too many came whole.
        if is_mute or attempt + 1 - garbled > _ATTEMPTS - _ENOUGH:
            return None
    return False


def _one_answer(port: Port, clock: Clock, servo: int, address: int, size: int) -> Heard:
    """Asks one servo on a silent line, and listens until all is said."""
    heard = Heard()
    listen(port, clock, clock.now_ns() + _SILENCE_NS)
    port.discard()
    port.write(packets.read(servo, address, size))
    whole_ns = 2 * (STATUS_OVERHEAD + size) * _BYTE_NS
    rest = heard.take(listen(port, clock, clock.now_ns() + whole_ns + _THINKING_NS + _SILENCE_NS))
    heard.stray += len(rest)
    return heard
