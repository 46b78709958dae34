"""The servo bus as questions and answers, each with a deadline.

One line is shared by all: whoever speaks out of turn garbles the others, so a
question is asked only when the answers to the last one are in or overdue, and
what lies about from before is thrown away first. How long an answer may take
follows from its bytes (10 bits each at 1 Mbaud) and a margin for the adapter,
which in a tick is learnt from the answers (`answer_times`).
Only those that stayed mute are asked again. Answers from a wrong servo, of a
wrong length or with a wrong checksum are passed over, not believed.

A sync write has no answer, so a lost one is noticed by nobody here: read back.
Which register means what is `sts3215`'s, what to do about it the caller's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue.clock import NS_PER_MS, NS_PER_S, Clock
from segue.errors import RobotFault
from segue.robots import packets
from segue.robots.answer_times import ADAPTER_MARGIN_NS, AnswerTimes
from segue.robots.bus_doubles import doubled
from segue.robots.bus_scan import answering_servos
from segue.robots.packets import STATUS_OVERHEAD, StatusPacket
from segue.robots.sts3215 import BAUD, BITS_PER_BYTE, Register

if TYPE_CHECKING:
    # pyserial comes with it, and an emulated port needs none.
    from segue.robots.serialport import Port

BYTE_NS = BITS_PER_BYTE * NS_PER_S // BAUD
# Outside the ticks there is time; a servo that writes its EEPROM answers some milliseconds late.
PATIENT_MARGIN_NS = 25 * NS_PER_MS
ATTEMPTS = 3
# An answer has at most 6 + 250 bytes; what is older than two of them belongs to none.
_KEPT_BYTES = 512
_PING_BYTES = 0
# What came too late is looked through in so many pieces at most: a line may chatter for ever.
_MOST_PIECES = 8
_NEVER_NS = 1 << 62


@dataclass(slots=True)
class BusCounts:
    """What the bus counted.

    Attributes:
        questions: that were asked, first attempts only.
        retries: that were asked again because somebody stayed mute.
        unanswered: that somebody left without an answer at last.
    """

    questions: int = 0
    retries: int = 0
    unanswered: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """A register's value, and the status bits of the servo that told it (`sts3215.Status`)."""

    value: int
    status: int


class ServoBus:
    """Asks servos over a port; owned by one thread."""

    def __init__(self, port: Port, clock: Clock) -> None:
        """Takes the port; `clock` is the one that its deadlines are told in."""
        self.port = port
        self.counts = BusCounts()
        self.times = AnswerTimes()
        self._clock = clock
        self._late_answers = False  # somebody was asked twice, so an answer too many may be on its way
        # By the bytes of its answer: when a question was asked last, and its time on the wire.
        self._asked: dict[int, tuple[int, int]] = {}

    def __repr__(self) -> str:
        return f"<ServoBus {self.port!r} {self.counts!r}>"

    def close(self) -> None:
        """Closes the port; may be called more than once."""
        self.port.close()

    def ping(self, servo: int) -> int | None:
        """Returns the status bits of `servo`, or None when it does not answer.

        Raises:
            RobotFault: the port is gone.
        """
        answer = self._ask_one(servo, packets.ping(servo), _PING_BYTES, PATIENT_MARGIN_NS)
        return None if answer is None else answer.error

    def scan(self) -> list[int]:
        """Returns the ids of all servos that answer, in order; takes half a second.

        Raises:
            RobotFault: the port is gone.
        """
        self._late_answers = True
        return answering_servos(self.port, self._clock)

    def doubles(self, servos: Collection[int]) -> dict[int, bool]:
        """Returns the ids to which two servos answer, each with whether that is certain; see `doubled`.

        Raises:
            RobotFault: the port is gone.
        """
        self._let_it_fall_silent()
        return doubled(self.port, self._clock, servos)

    def read(self, servo: int, register: Register) -> Reading:
        """Returns one register of one servo.

        Raises:
            RobotFault: it does not answer, or the port is gone.
        """
        question = packets.read(servo, register.address, register.size)
        answer = self._ask_one(servo, question, register.size, PATIENT_MARGIN_NS)
        if answer is None:
            raise RobotFault(f"servo {servo} does not answer a question for its {register.name}")
        return Reading(register.decode(answer.data), answer.error)

    def write(self, servo: int, register: Register, value: int) -> int:
        """Writes one register of one servo and returns its status bits; what it took is to be read back.

        Raises:
            RobotFault: it does not confirm, or the port is gone.
        """
        order = packets.write(servo, register.address, register.encode(value))
        answer = self._ask_one(servo, order, _PING_BYTES, PATIENT_MARGIN_NS)
        if answer is None:
            raise RobotFault(f"servo {servo} does not confirm that its {register.name} is {value}")
        return answer.error

    def read_all(self, servos: Sequence[int], register: Register) -> dict[int, int]:
        """Returns one register of several servos, by servo.

        Raises:
            RobotFault: one of them does not answer, or the port is gone.
        """
        self._let_it_fall_silent()
        deadline_ns = self._clock.now_ns() + ATTEMPTS * PATIENT_MARGIN_NS
        answers = self.sync_read(servos, register.address, register.size, deadline_ns, PATIENT_MARGIN_NS)
        mute = [servo for servo in servos if servo not in answers]
        if mute:
            listed = ", ".join(map(str, mute))
            raise RobotFault(f"servo {listed} does not answer a question for its {register.name}")
        return {servo: register.decode(answers[servo].data) for servo in servos}

    def sync_read(
        self,
        servos: Sequence[int],
        address: int,
        size: int,
        deadline_ns: int,
        margin_ns: int | None = None,
    ) -> dict[int, StatusPacket]:
        """Asks several servos for one block of their memory.

        Args:
            servos: whom.
            address: first byte of the block.
            size: bytes of the block.
            deadline_ns: when to give up, whatever is still missing.
            margin_ns: how much longer than its bytes an answer may take; None as the last ones took.

        Returns:
            the answers by servo; a servo that answered none of at most three questions is missing.

        Raises:
            RobotFault: the port is gone.
        """
        answers: dict[int, StatusPacket] = {}
        missing = list(servos)
        self.counts.questions += 1
        for attempt in range(ATTEMPTS):
            question = packets.sync_read(missing, address, size)
            shortest_ns = (len(question) + STATUS_OVERHEAD + size) * BYTE_NS
            began_ns = self._clock.now_ns()
            # Whoever wakes late must not talk into its own next order.
            if began_ns + shortest_ns >= deadline_ns:
                break
            wire_ns = (len(question) + len(missing) * (STATUS_OVERHEAD + size)) * BYTE_NS
            self._asked[size] = (began_ns, wire_ns)
            self.counts.retries += attempt > 0
            patience_ns = self.times.patience_ns if margin_ns is None else margin_ns
            answers |= self._ask(question, missing, size, patience_ns, deadline_ns)
            missing = [servo for servo in missing if servo not in answers]
            if not missing:
                self._asked.pop(size, None)
                # Of a second answer nobody knows which of the questions it is for.
                if not attempt:
                    self.times.note(self._clock.now_ns() - began_ns - wire_ns)
                return answers
        self.counts.unanswered += 1
        self.times.note_answered(bool(answers))
        return answers

    def sync_write(self, register: Register, values: Mapping[int, int]) -> None:
        """Writes one register of several servos at once; none of them confirms.

        Raises:
            RobotFault: the port is gone.
        """
        data = {servo: register.encode(value) for servo, value in values.items()}
        self.port.write(packets.sync_write(register.address, data))

    def _ask_one(self, servo: int, question: bytes, size: int, margin_ns: int) -> StatusPacket | None:
        self._let_it_fall_silent()
        self.counts.questions += 1
        for attempt in range(ATTEMPTS):
            self.counts.retries += attempt > 0
            answer = self._ask(question, (servo,), size, margin_ns).get(servo)
            if answer is not None:
                return answer
        self.counts.unanswered += 1
        return None

    def _let_it_fall_silent(self) -> None:
        """Waits out late answers: the next question may be for another register of the same size."""
        if not self._late_answers:
            return
        self._late_answers = False
        end_ns = self._clock.now_ns() + ATTEMPTS * PATIENT_MARGIN_NS
        while (now_ns := self._clock.now_ns()) < end_ns:
            if not self.port.read(min(end_ns, now_ns + 2 * PATIENT_MARGIN_NS)):
                return

    def _ask(
        self,
        question: bytes,
        servos: Collection[int],
        size: int,
        margin_ns: int | None,
        deadline_ns: int = _NEVER_NS,
    ) -> dict[int, StatusPacket]:
        """Asks once; the time for the next answer begins anew with each that came.

        Where the first came late the others are there, too; an adapter that brings them in two
        parts brings the second while they are asked for again.
        """
        answers: dict[int, StatusPacket] = {}
        bytes_ns = (STATUS_OVERHEAD + size) * BYTE_NS
        answer_ns = bytes_ns + (deadline_ns if margin_ns is None else margin_ns)
        next_ns = bytes_ns + (margin_ns if margin_ns == PATIENT_MARGIN_NS else ADAPTER_MARGIN_NS)
        self._clear()
        self.port.write(question)
        due_ns = min(self._clock.now_ns() + len(question) * BYTE_NS + answer_ns, deadline_ns)
        pending, overtime = b"", False
        while len(answers) < len(servos):
            data = self.port.read(due_ns)
            now_ns = self._clock.now_ns()
            found, pending = _packets_in((pending + data)[-_KEPT_BYTES:])
            for packet in found:
                if packet.id in servos and len(packet.data) == size:
                    answers[packet.id] = packet
                    due_ns = min(now_ns + next_ns, deadline_ns)
                elif len(packet.data) != size:
                    self._note_late(packet, now_ns)
            # Once more after the end of the time: it may be this process that woke late. But only
            # once, or a line that chatters for ever would be heard for ever.
            if not data or overtime:
                self._late_answers = True
                break
            overtime = now_ns >= due_ns
        return answers

    def _clear(self) -> None:
        """Throws away what has come so far, once it was seen how late it came."""
        for _ in range(_MOST_PIECES if self._late_answers else 0):
            now_ns = self._clock.now_ns()
            data = self.port.read(now_ns)
            if not data:
                return
            for packet in _packets_in(data)[0]:
                self._note_late(packet, now_ns)
        self.port.discard()

    def _note_late(self, packet: StatusPacket, now_ns: int) -> None:
        """Notes how late an answer is that nobody waits for any more; the first of its question counts."""
        asked = self._asked.pop(len(packet.data), None)
        if asked is not None:
            self.times.note_overdue(now_ns - asked[0] - asked[1])


def _packets_in(data: bytes) -> tuple[list[StatusPacket], bytes]:
    """Returns the whole packets in `data`, and what may become another."""
    found = []
    packet, data = packets.find_status(data)
    while packet is not None:
        found.append(packet)
        packet, data = packets.find_status(data)
    return found, data
