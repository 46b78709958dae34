"""Packets of the servo bus, as bytes and back.

    instruction  FF FF id length instruction parameters… checksum
    status       FF FF id length error       data…       checksum

`length` counts what follows it. The checksum is the inverted sum of all bytes
from the id on. A sync read asks many servos at once and is answered by each in
turn; a sync write is answered by nobody. Nothing here waits or opens a port.
Source: the vendor's protocol manual for the STS and SCS series (protocol 0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

HEADER = b"\xff\xff"
BROADCAST = 0xFE
MAX_ID = 0xFC
# Header, id, length, error, checksum: a reply is that much longer than its data.
STATUS_OVERHEAD = 6


class Instruction(IntEnum):
    """What a packet asks for."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83


@dataclass(frozen=True, slots=True)
class StatusPacket:
    """A servo's reply.

    Attributes:
        id: whose.
        error: its status bits, see `sts3215.Status`.
        data: what was asked for.
    """

    id: int
    error: int
    data: bytes


def checksum(body: bytes) -> int:
    """Returns the checksum over `body`, which begins with the id."""
    return ~sum(body) & 0xFF


def packet(servo: int, code: int, parameters: bytes = b"") -> bytes:
    """Returns a packet of either kind; `code` is the instruction or the error."""
    body = bytes((servo, len(parameters) + 2, code)) + parameters
    return HEADER + body + bytes((checksum(body),))


def ping(servo: int) -> bytes:
    """Returns the question whether `servo` is there."""
    return packet(servo, Instruction.PING)


def read(servo: int, address: int, size: int) -> bytes:
    """Returns the question for `size` bytes from `address` on."""
    return packet(servo, Instruction.READ, bytes((address, size)))


def write(servo: int, address: int, data: bytes) -> bytes:
    """Returns the order to write `data` from `address` on; answered, unless sent to all."""
    return packet(servo, Instruction.WRITE, bytes((address,)) + data)


def sync_read(servos: Sequence[int], address: int, size: int) -> bytes:
    """Returns the question to `servos`, which answer one after the other in that order."""
    return packet(BROADCAST, Instruction.SYNC_READ, bytes((address, size, *servos)))


def sync_write(address: int, data: Mapping[int, bytes]) -> bytes:
    """Returns the order to write each servo its own bytes, all of one length; nobody answers."""
    size = len(next(iter(data.values())))
    body = b"".join(bytes((servo,)) + each for servo, each in data.items())
    return packet(BROADCAST, Instruction.SYNC_WRITE, bytes((address, size)) + body)


def find_status(data: bytes) -> tuple[StatusPacket | None, bytes]:
    """Finds the first whole status packet in `data`.

    Bytes before it that belong to none (noise, a packet with a wrong checksum) are passed over. A
    header whose length is a lie could wait for ever, so whole packets behind it are found, too.

    Returns:
        the packet, None while there is none; and the bytes from its end on, or those that may
        still become one.
    """
    unfinished = len(data) - data.endswith(HEADER[:1])
    start = data.find(HEADER)
    while start >= 0:
        end = start + 4 + data[start + 3] if len(data) > start + 3 else len(data) + 1
        if end > len(data):
            unfinished = min(unfinished, start)
        elif end >= start + STATUS_OVERHEAD and checksum(data[start + 2 : end - 1]) == data[end - 1]:
            return StatusPacket(data[start + 2], data[start + 4], data[start + 5 : end - 1]), data[end:]
        start = data.find(HEADER, start + 1)
    return None, data[unfinished:]
