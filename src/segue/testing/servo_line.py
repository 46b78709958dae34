"""The wire between a host and its servos: bytes in at a time, replies out with the time they are due.

It has one pair of conductors for both directions. A byte takes ten bits of a
megabaud, so 10 us; a reply begins `Return_Delay_Time` after the question has
ended, and a sync read is answered by one servo after the other, with a gap
where one is mute. A host that talks while a servo answers is not heard.
Garbage, packets with a wrong checksum and instructions that no servo knows are
passed over in silence.

Faults are told to it: replies lost, garbled, cut or late, questions and goals
lost, servos mute, everything silent, an adapter that waits, the plug pulled.
Nothing here opens a port, sleeps or reads a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain, repeat
from typing import NamedTuple

from segue.clock import NS_PER_S
from segue.robots import packets, sts3215
from segue.robots.packets import BROADCAST, HEADER, Instruction
from segue.testing.goal_log import GoalLog
from segue.testing.servo import Servo
from segue.testing.servo_adapter import Adapter
from segue.testing.servo_overlap import Overlap, Turn, met

NS_PER_BYTE = sts3215.BITS_PER_BYTE * NS_PER_S // sts3215.BAUD
RETURN_DELAY_UNIT_NS = 2_000
# A packet that has stood unfinished for so long is forgotten.
UNFINISHED_NS = 10_000_000
KEPT_WRITES = 200_000

Reply = tuple[bytes, int]  # what is heard, and when all of it has been

_SHORTEST = 6
_NOISE = b"\xff\x00\xff\xff\x55"
_REGISTER_AT = {register.address: register for register in sts3215.REGISTERS.values()}


class _Later(IntEnum):
    """Instructions that servos know and our driver does not use: write when told to, and do it now."""

    REG_WRITE = 0x04
    ACTION = 0x05


class Write(NamedTuple):
    """One register of one servo that was written.

    Attributes:
        at_ns: when the packet had arrived.
        servo: its id.
        register: its name, as in `sts3215.REGISTERS`; ``address_N`` for a byte that has none.
        value: signed where the register is.
    """

    at_ns: int
    servo: int
    register: str
    value: int


@dataclass(slots=True)
class LineFaults:
    """What is wrong with the line; set any of it at any time.

    Attributes:
        lose_replies: this many replies are not heard.
        lose_requests: this many packets of the host are heard by nobody.
        lose_goals: this many packets to all servos at once are, which nobody would answer.
        garble_replies: this many replies arrive with a bit turned over.
        halve_replies: of this many replies only the first half arrives, and noise after it.
        silent_until_ns: until then nobody hears anything.
        delay_ns: every reply arrives later by that, as through a slow adapter.
        mute: ids of servos that hear and obey, and never answer.
        unplugged: nothing is heard by anybody.
        overlap: how the answers of servos with one id meet.
    """

    lose_replies: int = 0
    lose_requests: int = 0
    lose_goals: int = 0
    garble_replies: int = 0
    halve_replies: int = 0
    silent_until_ns: int = 0
    delay_ns: int = 0
    mute: frozenset[int] = frozenset()
    unplugged: bool = False
    overlap: Overlap = Overlap.COLLIDE


@dataclass(slots=True)
class _Wire:
    """What is on it: bytes of no whole packet yet, and when the host's and a servo's last byte is."""

    buffer: bytes = b""
    sent_ns: int = 0
    answered_ns: int = 0


class ServoLine:
    """Servos on one wire."""

    def __init__(self, servos: Iterable[Servo], kept_writes: int = KEPT_WRITES) -> None:
        """Connects `servos`; keeps the newest `kept_writes` writes."""
        self.servos = list(servos)
        self.faults = LineFaults()
        self.adapter = Adapter()
        self.goals = GoalLog()
        self.writes: deque[Write] = deque(maxlen=kept_writes)
        self.on_write: Callable[[Write], None] | None = None
        self.requests = 0  # good packets that were heard
        self.ignored = 0  # bytes that nobody understood or heard
        self._wire = _Wire()
        self._registered: dict[int, tuple[int, bytes]] = {}

    def __repr__(self) -> str:
        return f"<ServoLine {[servo.id for servo in self.servos]} requests={self.requests} {self.faults}>"

    def servo(self, which: str | int) -> Servo:
        """Returns the servo of that name or id.

        Raises:
            KeyError: there is none.
        """
        found = next((each for each in self.servos if which in (each.name, each.id)), None)
        if found is None:
            raise KeyError(f"no servo {which!r}; there are {', '.join(each.name for each in self.servos)}")
        return found

    def feed(self, data: bytes, now_ns: int) -> list[Reply]:
        """Puts the host's `data` on the wire at `now_ns`.

        Returns:
            what the servos answer, each with the time at which its last byte has arrived.
        """
        if self.faults.unplugged:
            return []
        replies = self.release(now_ns)
        return replies if self.adapter.given(data, now_ns) else replies + self._put(data, now_ns)

    def release(self, now_ns: int) -> list[Reply]:
        """Delivers what an adapter held until `now_ns` or before, and returns the replies."""
        until_ns = self.adapter.held_until_ns
        if until_ns is None or now_ns < until_ns:
            return []
        return self._put(self.adapter.let_go(), until_ns)

    def advance(self, now_ns: int) -> None:
        """Lets all servos run until `now_ns`."""
        for servo in self.servos:
            servo.advance(now_ns)

    def _put(self, data: bytes, now_ns: int) -> list[Reply]:
        """Puts bytes on the wire itself."""
        if now_ns < self.faults.silent_until_ns:
            self.ignored += len(data)
            return []
        if now_ns - self._wire.sent_ns > UNFINISHED_NS:
            self.ignored += len(self._wire.buffer)
            self._wire.buffer = b""
        collides = now_ns < self._wire.answered_ns
        self._wire.sent_ns = max(now_ns, self._wire.sent_ns) + len(data) * NS_PER_BYTE
        if collides:
            self.ignored += len(data)
            return []
        self._wire.buffer += data
        replies: list[Reply] = []
        for body in self._take_packets():
            self.adapter.asked()
            replies += self._hear(body)
        return replies

    def _take_packets(self) -> Iterator[bytes]:
        """Yields id, length, instruction and parameters of each good packet and takes it off the buffer."""
        while True:
            start = self._wire.buffer.find(HEADER)
            if start < 0:
                keep = self._wire.buffer[-1:] if self._wire.buffer.endswith(HEADER[:1]) else b""
                self.ignored += len(self._wire.buffer) - len(keep)
                self._wire.buffer = keep
                return
            # A third FF is a header of its own, one byte further.
            while self._wire.buffer[start + 2 : start + 3] == HEADER[:1]:
                start += 1
            self.ignored += start
            self._wire.buffer = self._wire.buffer[start:]
            if len(self._wire.buffer) < 4 or len(self._wire.buffer) < (end := 4 + self._wire.buffer[3]):
                return
            body, end_byte = self._wire.buffer[2 : end - 1], self._wire.buffer[end - 1]
            if end >= _SHORTEST and packets.checksum(body) == end_byte:
                self._wire.buffer = self._wire.buffer[end:]
                yield body
            else:
                self.ignored += len(HEADER)
                self._wire.buffer = self._wire.buffer[len(HEADER) :]

    def _hear(self, body: bytes) -> list[Reply]:
        """Lets the servos act on one packet, and returns their answers."""
        if self.faults.lose_requests > 0:
            self.faults.lose_requests -= 1
            return []
        self.requests += 1
        target, instruction, parameters = body[0], body[2], body[3:]
        replies: list[Reply] = []
        match instruction:
            case Instruction.PING:
                replies = self._answer([(servo, b"") for servo in self._at(target)])
            case Instruction.READ if target != BROADCAST and len(parameters) == 2:
                replies = self._read(self._at(target), *parameters)
            case Instruction.SYNC_READ if len(parameters) > 2:
                # A servo that is not there leaves its turn empty, as a mute one does.
                asked = (self._at(servo) or (None,) for servo in parameters[2:])
                replies = self._read(chain.from_iterable(asked), *parameters[:2])
            case Instruction.SYNC_WRITE if len(parameters) > 2:
                self._sync_write(parameters[0], parameters[1], parameters[2:])
            case Instruction.WRITE | _Later.REG_WRITE if len(parameters) > 1:
                replies = self._write(target, instruction == _Later.REG_WRITE, parameters)
            case _Later.ACTION:
                replies = self._act(target)
            case _:
                self.ignored += len(body) + len(HEADER) + 1
        return replies

    def _at(self, target: int) -> list[Servo]:
        """Returns the servos that a packet to `target` is for, in order of their ids, run up to now."""
        found = [servo for servo in self.servos if target in (servo.id, BROADCAST)]
        for servo in found:
            servo.advance(self._wire.sent_ns)
        return sorted(found, key=lambda servo: servo.id)

    def _read(self, asked: Iterable[Servo | None], address: int, size: int) -> list[Reply]:
        found: list[tuple[Servo | None, bytes]] = []
        for servo in asked:
            data = servo.read(address, size) if servo is not None else None
            found.append((servo, data) if data is not None else (None, bytes(size)))
        return self._answer(found)

    def _write(self, target: int, later: bool, parameters: bytes) -> list[Reply]:
        servos = self._at(target)
        # By the id it was asked by: a servo that is given another one answers as the old one.
        ids = [servo.id for servo in servos]
        for servo in servos:
            if later:
                self._registered[servo.id] = (parameters[0], parameters[1:])
            else:
                self._write_one(servo, parameters[0], parameters[1:])
        return self._acknowledge(target, servos, ids)

    def _act(self, target: int) -> list[Reply]:
        """Lets the servos do what was registered with them."""
        servos = self._at(target)
        for servo in servos:
            if servo.id in self._registered:
                self._write_one(servo, *self._registered.pop(servo.id))
        return self._acknowledge(target, servos, [servo.id for servo in servos])

    def _sync_write(self, address: int, size: int, rows: bytes) -> None:
        if self.faults.lose_goals > 0:
            self.faults.lose_goals -= 1
            return
        for start in range(0, len(rows) - size, size + 1):
            for servo in self._at(rows[start]):
                self._write_one(servo, address, rows[start + 1 : start + 1 + size])

    def _write_one(self, servo: Servo, address: int, data: bytes) -> None:
        self._note(servo.id, address, data)
        servo.write(address, data)

    def _acknowledge(self, target: int, servos: list[Servo], ids: list[int]) -> list[Reply]:
        if target == BROADCAST or not servos or not servos[0].memory[sts3215.RESPONSE_LEVEL.address]:
            return []
        return self._answer([(servo, b"") for servo in servos], ids)

    def _note(self, servo: int, address: int, data: bytes) -> None:
        """Keeps what is written, register by register."""
        place = 0
        while place < len(data):
            register = _REGISTER_AT.get(address + place)
            if register is None or place + register.size > len(data):
                name, value, size = f"address_{address + place}", data[place], 1
            else:
                name, size = register.name, register.size
                value = register.decode(data[place : place + size])
            write = Write(self._wire.sent_ns, servo, name, value)
            self.writes.append(write)
            if register is sts3215.GOAL_POSITION:
                self.goals.add(self._wire.sent_ns, self.servo(servo).name, value)
            if self.on_write is not None:
                self.on_write(write)
            place += size

    def _answer(
        self, answers: Iterable[tuple[Servo | None, bytes]], ids: list[int] | None = None
    ) -> list[Reply]:
        """Returns the replies, one after the other; None in place of a servo leaves a gap of that length."""
        heard: list[Reply] = []
        end_ns = self._wire.sent_ns
        known_as = repeat(None) if ids is None else ids
        turns = [_turn(servo, data, name) for (servo, data), name in zip(answers, known_as, strict=False)]
        for turn in met(turns, self.faults.overlap, NS_PER_BYTE):
            end_ns += turn.delay_ns + len(turn.answer) * NS_PER_BYTE
            if turn.servo is None or turn.servo in self.faults.mute:
                continue
            reply = self._spoil(turn.answer)
            if reply is not None:
                self._wire.answered_ns = end_ns
                heard.append((reply, self.adapter.hands_on_ns(end_ns + self.faults.delay_ns)))
        return heard

    def _spoil(self, reply: bytes) -> bytes | None:
        """Returns what is left of a reply on a bad line."""
        faults = self.faults
        if faults.lose_replies > 0:
            faults.lose_replies -= 1
            return None
        if faults.garble_replies > 0:
            faults.garble_replies -= 1
            return reply[:-2] + bytes((reply[-2] ^ 0x10, reply[-1]))
        if faults.halve_replies > 0:
            faults.halve_replies -= 1
            return reply[: len(reply) // 2] + _NOISE
        return reply


def _turn(servo: Servo | None, data: bytes, answers_as: int | None) -> Turn:
    """Returns a servo's turn to answer; one that is not there leaves a gap as long as its answer."""
    if servo is None:
        return Turn(None, bytes(packets.STATUS_OVERHEAD + len(data)), 0)
    known_as = servo.id if answers_as is None else answers_as
    delay_ns = servo.memory[sts3215.RETURN_DELAY.address] * RETURN_DELAY_UNIT_NS
    return Turn(known_as, packets.packet(known_as, servo.status, data), delay_ns)
