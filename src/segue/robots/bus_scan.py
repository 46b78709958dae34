"""Who is on a servo bus, among all ids: 253 pings in 0.6 s.

An answer carries its id, so it is believed whenever it comes, and nobody is
waited for longer than a servo thinks (its `Return_Delay_Time`, half a
millisecond as it comes from the factory). The adapter may bring it later than
the next question is asked; the wire was free by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.clock import NS_PER_MS, Clock
from segue.robots import packets
from segue.robots.packets import MAX_ID

if TYPE_CHECKING:
    from segue.robots.serialport import Port

_THINKING_NS = 2 * NS_PER_MS
# What comes last may lie in the adapter for 16 ms.
_LATEST_NS = 25 * NS_PER_MS
# Longer than two answers to a ping; a line that chatters must not fill the memory.
_KEPT_BYTES = 64


def answering_servos(port: Port, clock: Clock) -> list[int]:
    """Returns the ids of all servos that answer, in order.

    Raises:
        RobotFault: the port is gone.
    """
    found: set[int] = set()
    pending = b""
    port.discard()
    for servo in range(MAX_ID + 1):
        port.write(packets.ping(servo))
        pending = _take(pending + port.read(clock.now_ns() + _THINKING_NS), found)
    _take(pending + port.read(clock.now_ns() + _LATEST_NS), found)
    return sorted(found)


def _take(heard: bytes, found: set[int]) -> bytes:
    """Adds to `found` who is heard, and returns what may become an answer."""
    packet, heard = packets.find_status(heard)
    while packet is not None:
        if not packet.data and packet.id <= MAX_ID:
            found.add(packet.id)
        packet, heard = packets.find_status(heard)
    return heard[-_KEPT_BYTES:]
