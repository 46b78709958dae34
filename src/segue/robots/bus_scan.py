"""Who is on a servo bus, among all ids: 253 pings in 0.6 s.

An answer carries its id, so it is believed whenever it comes, and nobody is
waited for longer than a servo thinks (its `Return_Delay_Time`, half a
millisecond as it comes from the factory). The adapter may bring it later than
the next question is asked; the wire was free by then. Where something came and
no answer was whole, two servos may have one id: who was asked then, or shortly
before, is looked at closely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.clock import NS_PER_MS, Clock
from segue.robots import packets
from segue.robots.bus_doubles import Heard, doubled, listen
from segue.robots.packets import MAX_ID

if TYPE_CHECKING:
    from segue.robots.serialport import Port

_THINKING_NS = 2 * NS_PER_MS
# What comes last may lie in the adapter for 16 ms.
_LATEST_NS = 25 * NS_PER_MS
# Longer than two answers to a ping; a line that chatters must not fill the memory.
_KEPT_BYTES = 64
# An answer that lay in the adapter is heard so many questions later at most.
_LATE_PINGS = 10
# Who chatters more is no bus.
_MOST_NOISES = 6


def answering_servos(port: Port, clock: Clock) -> list[int]:
    """Returns the ids at which servos answer, in order, those included that two of them share.

    Raises:
        RobotFault: the port is gone.
    """
    heard, noises = Heard(), []
    pending = b""
    port.discard()
    for servo in range(MAX_ID + 1):
        port.write(packets.ping(servo))
        thinks_ns = _THINKING_NS if servo < MAX_ID else _LATEST_NS
        data = listen(port, clock, clock.now_ns() + thinks_ns)
        known = len(heard.answers)
        pending = heard.take(pending + data)[-_KEPT_BYTES:]
        if data and len(heard.answers) == known:
            noises.append(servo)
    found = {servo for servo, size in heard.answers if not size and servo <= MAX_ID}
    return sorted(found.union(_garbled(port, clock, noises, found)))


def _garbled(port: Port, clock: Clock, noises: list[int], found: set[int]) -> list[int]:
    """Returns the ids that answer, and never with a whole packet."""
    if len(noises) > _MOST_NOISES:
        return []
    asked = {servo for noise in noises for servo in range(max(0, noise - _LATE_PINGS), noise + 1)}
    return list(doubled(port, clock, sorted(asked - found)))
