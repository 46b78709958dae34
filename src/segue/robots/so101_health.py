"""What the servos say of themselves: danger is raised at once, the rest is told to a person.

A status bit stands in each reply and in a register: where both have it once is
enough, since a servo that lets go and takes hold again is worse than one that is
looked after. A bit in one of them alone may be noise that the checksum of eight
bits let through, and counts if it is there in the next tick, too. A voltage that is too low is told and
not latched, since a battery or a thin cable dips whenever the arm accelerates. One above what the servo
allows itself burns it: seen in two ticks in a row it is a danger like the others, whether or not the
servo says so; in one alone it may be what a joint gives back that is braked.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from segue.errors import SafetyLatch
from segue.robots.packets import StatusPacket
from segue.robots.sts3215 import (
    GOAL_POSITION,
    MAX_VOLTAGE,
    PRESENT_POSITION,
    PRESENT_TEMPERATURE,
    PRESENT_VOLTAGE,
    STATUS,
    TORQUE_ENABLE,
    Register,
    Status,
)

# Least and highest voltage that a servo allows itself, tenths of a volt, by id.
Limits = Mapping[int, tuple[int, int]]

# Servos for 5 to 7.4 V come with a limit of 8 V, those for 12 V with one of 14 V.
_LEAST_LIMIT = 60
DANGERS = Status.OVERLOADED | Status.OVERHEATED | Status.OVERCURRENT | Status.ANGLE_SENSOR

# A voltage that flickers is told once; after so many good ticks in a row a new dip is news again.
_WELL_TICKS = 500

# One question brings position, speed, load, voltage, temperature and status.
BLOCK = PRESENT_POSITION.address
BLOCK_BYTES = STATUS.address + STATUS.size - BLOCK
# Another what it was told: torque, acceleration and goal. One for both goes from there to the status.
ORDERS = TORQUE_ENABLE.address
ORDERS_BYTES = GOAL_POSITION.address + GOAL_POSITION.size - ORDERS
WHOLE_BYTES = BLOCK + BLOCK_BYTES - ORDERS


def in_block(answer: StatusPacket, register: Register) -> int:
    """Returns a register's value from the answer to a question for the block."""
    return register.decode(answer.data[register.address - BLOCK :])


def too_many_volts(above: Mapping[str, tuple[int, int]]) -> str:
    """Returns for a person which servos get more volts than they may, and what to do.

    Args:
        above: by the servo's name what it gets and what it may have, tenths of a volt.
    """
    alike: dict[tuple[int, int], list[str]] = {}
    for name, pair in above.items():
        alike.setdefault(pair, []).append(name)
    said = "; ".join(
        f"{', '.join(names)} {'gets' if len(names) == 1 else 'get'} {gets / 10:.1f} V "
        f"and may have {may / 10:.1f} V at most"
        for (gets, may), names in alike.items()
    )
    if min(may for _, may in alike) < _LEAST_LIMIT:
        remedy = f"no servo has so low a limit from the factory: set its register {MAX_VOLTAGE.name} to "
        return f"{said}; {remedy}80, or to 140 where it is built for 12 V"
    return (
        f"{said}: this is the wrong power supply; support the arm, switch the supply off, and use one that "
        "these servos are built for"
    )


_WELL = Status(0)


class Health:
    """Heeds what each servo says, and remembers the worst."""

    def __init__(self, ids: Mapping[str, int], limits: Limits = MappingProxyType({})) -> None:
        """Takes the servos by joint, and the voltages that they may have; one without any may have all."""
        self.hottest_c = 0
        self.lowest_dv: int | None = None  # tenths of a volt
        self._names = {servo: name for name, servo in ids.items()}
        self._sagging: dict[int, int] = {}  # ticks until a servo counts as well again
        self._notes: list[str] = []
        self._told: dict[int, Status] = {}
        self._limits = limits
        self._above: set[int] = set()  # got too many volts in the last tick

    def __repr__(self) -> str:
        return f"<Health hottest={self.hottest_c} lowest={self.lowest_dv} sagging={sorted(self._sagging)}>"

    def heed(self, answers: Mapping[int, StatusPacket]) -> None:
        """Takes the answers of one tick, by servo.

        Raises:
            SafetyLatch: a servo says that it is in danger; the joint is named.
        """
        dangers, above = [], {}
        for servo, answer in answers.items():
            told = in_block(answer, STATUS)
            # Nearly always nothing is wrong, and flags cost six servos 20 us.
            well = not (answer.error or told or servo in self._told)
            status = _WELL if well else self._confirmed(servo, Status(answer.error), Status(told))
            celsius, tenths = in_block(answer, PRESENT_TEMPERATURE), in_block(answer, PRESENT_VOLTAGE)
            self.hottest_c = max(self.hottest_c, celsius)
            self.lowest_dv = tenths if self.lowest_dv is None else min(self.lowest_dv, tenths)
            self._note_voltage(servo, not well and Status.VOLTAGE in status, tenths)
            if not well and status & DANGERS:
                dangers.append(f"{self.name(servo)} is {(status & DANGERS).words()} ({celsius} °C)")
            if self._stays_above(servo, tenths):
                above[self.name(servo)] = (tenths, self._limits[servo][1])
        if above:
            dangers.append(too_many_volts(above))
        if dangers:
            raise SafetyLatch("; ".join(dangers))

    def _confirmed(self, servo: int, header: Status, register: Status) -> Status:
        """Returns the bits that reply and register agree on, or that were told in the last tick, too."""
        now, before = header | register, self._told.pop(servo, _WELL)
        if now:
            self._told[servo] = now
        return (header & register) | (now & before)

    def _stays_above(self, servo: int, tenths: int) -> bool:
        """Notes what a servo gets, and returns whether it is too much for the second tick in a row."""
        was_above = servo in self._above
        if servo in self._limits and tenths > self._limits[servo][1]:
            self._above.add(servo)
            return was_above
        self._above.discard(servo)
        return False

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
