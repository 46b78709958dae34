"""What the servos say of themselves: danger is raised at once, the rest is told to a person.

A status bit stands in each reply and in a register: where both have it once is
enough, since a servo that lets go and takes hold again is worse than one that is
looked after. A bit in one of them alone may be noise that the checksum of eight
bits let through, and counts if it is there in the next tick, too. A voltage out of range is told and
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

# A voltage that flickers is told once; after so many good ticks in a row a new dip is news again.
_WELL_TICKS = 500

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
        self._sagging: dict[int, int] = {}  # ticks until a servo counts as well again
        self._notes: list[str] = []
        self._told: dict[int, Status] = {}

    def __repr__(self) -> str:
        return f"<Health hottest={self.hottest_c} lowest={self.lowest_dv} sagging={sorted(self._sagging)}>"

    def heed(self, answers: Mapping[int, StatusPacket]) -> None:
        """Takes the answers of one tick, by servo.

        Raises:
            SafetyLatch: a servo says that it is in danger; the joint is named.
        """
        dangers = []
        for servo, answer in answers.items():
            status = self._confirmed(servo, Status(answer.error), Status(in_block(answer, STATUS)))
            celsius, tenths = in_block(answer, PRESENT_TEMPERATURE), in_block(answer, PRESENT_VOLTAGE)
            self.hottest_c = max(self.hottest_c, celsius)
            self.lowest_dv = tenths if self.lowest_dv is None else min(self.lowest_dv, tenths)
            self._note_voltage(servo, Status.VOLTAGE in status, tenths)
            if status & DANGERS:
                dangers.append(f"{self.name(servo)} is {(status & DANGERS).words()} ({celsius} °C)")
        if dangers:
            raise SafetyLatch("; ".join(dangers))

    def _confirmed(self, servo: int, header: Status, register: Status) -> Status:
        """Returns the bits that reply and register agree on, or that were told in the last tick, too."""
        before, self._told[servo] = self._told.get(servo, Status(0)), header | register
        return (header & register) | ((header | register) & before)

    def name(self, servo: int) -> str:
        """Returns a servo for a person: its joint and its id."""
        return f"{self._names[servo]} (servo {servo})"

    def take_notes(self) -> list[str]:
        """Returns what there was to say since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def _note_voltage(self, servo: int, wrong: bool, tenths: int) -> None:
        if wrong:
            if servo not in self._sagging:
                self._notes.append(f"{self.name(servo)}: voltage out of range, {tenths / 10:.1f} V")
            self._sagging[servo] = _WELL_TICKS
        elif servo in self._sagging:
            self._sagging[servo] -= 1
            if not self._sagging[servo]:
                del self._sagging[servo]
