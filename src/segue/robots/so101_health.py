"""What the servos say of themselves: danger is raised at once, the rest is told to a person.

A status bit that is seen once is enough: it came in a packet whose checksum was
right, so it is no noise of the line, and a servo that lets go and takes hold
again is worse than one that is looked after. A voltage out of range is told and
not latched, since a battery or a thin cable dips whenever the arm accelerates.
"""

from __future__ import annotations

from collections.abc import Mapping

from segue.errors import SafetyLatch
from segue.robots.packets import StatusPacket
from segue.robots.sts3215 import (
    PRESENT_POSITION,
    PRESENT_TEMPERATURE,
    PRESENT_VOLTAGE,
    STATUS,
    Register,
    Status,
)

DANGERS = Status.OVERLOADED | Status.OVERHEATED | Status.OVERCURRENT | Status.ANGLE_SENSOR

# One question brings position, speed, load, voltage, temperature and status.
BLOCK = PRESENT_POSITION.address
BLOCK_BYTES = STATUS.address + STATUS.size - BLOCK


def in_block(answer: StatusPacket, register: Register) -> int:
    """Returns a register's value from the answer to a question for the block."""
    return register.decode(answer.data[register.address - BLOCK :])


class Health:
    """Heeds what each servo says, and remembers the worst."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        """Takes the servos by joint."""
        self.hottest_c = 0
        self.lowest_dv: int | None = None  # tenths of a volt
        self._names = {servo: name for name, servo in ids.items()}
        self._sagging: set[int] = set()
        self._notes: list[str] = []

    def __repr__(self) -> str:
        return f"<Health hottest={self.hottest_c} lowest={self.lowest_dv} sagging={sorted(self._sagging)}>"

    def heed(self, answers: Mapping[int, StatusPacket]) -> None:
        """Takes the answers of one tick, by servo.

        Raises:
            SafetyLatch: a servo says that it is in danger; the joint is named.
        """
        dangers = []
        for servo, answer in answers.items():
            status = Status(answer.error | in_block(answer, STATUS))
            celsius, tenths = in_block(answer, PRESENT_TEMPERATURE), in_block(answer, PRESENT_VOLTAGE)
            self.hottest_c = max(self.hottest_c, celsius)
            self.lowest_dv = tenths if self.lowest_dv is None else min(self.lowest_dv, tenths)
            self._note_voltage(servo, Status.VOLTAGE in status, tenths)
            if status & DANGERS:
                dangers.append(f"{self.name(servo)} is {(status & DANGERS).words()} ({celsius} °C)")
        if dangers:
            raise SafetyLatch("; ".join(dangers))

    def name(self, servo: int) -> str:
        """Returns a servo for a person: its joint and its id."""
        return f"{self._names[servo]} (servo {servo})"

    def take_notes(self) -> list[str]:
        """Returns what there was to say since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def _note_voltage(self, servo: int, wrong: bool, tenths: int) -> None:
        if wrong and servo not in self._sagging:
            self._sagging.add(servo)
            self._notes.append(f"{self.name(servo)}: voltage out of range, {tenths / 10:.1f} V")
        elif not wrong:
            self._sagging.discard(servo)
