"""The STS3215 servo as a table: its registers, how they count, and what its status bits mean.

One turn is 4096 counts. A register is one byte or two, low byte first; where it
carries a sign the sign is a bit of its own (sign and magnitude, not two's
complement), and which bit differs from register to register. The first 40
bytes live in EEPROM: what is written there while `LOCK` is 0 survives power,
and wears it out; what is written while it is 1 is forgotten with the power.
Nothing here opens a port.
Source: the vendor's memory table for the STS series; LeRobot's `feetech` tables agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from types import MappingProxyType

MODEL_NUMBER = 777
COUNTS_PER_TURN = 4096
BAUD = 1_000_000
BITS_PER_BYTE = 10  # on the wire: start, eight, stop


@dataclass(frozen=True, slots=True)
class Register:
    """One register.

    Attributes:
        name: as the vendor and LeRobot write it.
        address: of its first byte.
        size: bytes, 1 or 2.
        sign_bit: number of the bit that holds the sign; None for a register without sign.
        eeprom: survives power, if it was written while unlocked.
    """

    name: str
    address: int
    size: int
    sign_bit: int | None = None
    eeprom: bool = False

    def decode(self, data: bytes) -> int:
        """Returns the value in `size` bytes, low byte first."""
        raw = int.from_bytes(data[: self.size], "little")
        if self.sign_bit is None:
            return raw
        sign = 1 << self.sign_bit
        return -(raw & (sign - 1)) if raw & sign else raw & (sign - 1)

    def encode(self, value: int) -> bytes:
        """Returns `value` as `size` bytes, low byte first.

        Raises:
            ValueError: it does not fit.
        """
        most = (1 << self.sign_bit) - 1 if self.sign_bit is not None else (1 << 8 * self.size) - 1
        least = -most if self.sign_bit is not None else 0
        if not least <= value <= most:
            raise ValueError(f"{self.name}: {value} is not between {least} and {most}")
        raw = -value | 1 << self.sign_bit if self.sign_bit is not None and value < 0 else value
        return raw.to_bytes(self.size, "little")


FIRMWARE_MAJOR = Register("Firmware_Major_Version", 0, 1)
FIRMWARE_MINOR = Register("Firmware_Minor_Version", 1, 1)
MODEL = Register("Model_Number", 3, 2)
ID = Register("ID", 5, 1, eeprom=True)
BAUD_RATE = Register("Baud_Rate", 6, 1, eeprom=True)
RETURN_DELAY = Register("Return_Delay_Time", 7, 1, eeprom=True)
RESPONSE_LEVEL = Register("Response_Status_Level", 8, 1, eeprom=True)
MIN_POSITION = Register("Min_Position_Limit", 9, 2, eeprom=True)
MAX_POSITION = Register("Max_Position_Limit", 11, 2, eeprom=True)
MAX_TEMPERATURE = Register("Max_Temperature_Limit", 13, 1, eeprom=True)
MAX_VOLTAGE = Register("Max_Voltage_Limit", 14, 1, eeprom=True)
MIN_VOLTAGE = Register("Min_Voltage_Limit", 15, 1, eeprom=True)
MAX_TORQUE = Register("Max_Torque_Limit", 16, 2, eeprom=True)
PHASE = Register("Phase", 18, 1, eeprom=True)
P_GAIN = Register("P_Coefficient", 21, 1, eeprom=True)
D_GAIN = Register("D_Coefficient", 22, 1, eeprom=True)
I_GAIN = Register("I_Coefficient", 23, 1, eeprom=True)
PROTECTION_CURRENT = Register("Protection_Current", 28, 2, eeprom=True)
HOMING_OFFSET = Register("Homing_Offset", 31, 2, sign_bit=11, eeprom=True)
OPERATING_MODE = Register("Operating_Mode", 33, 1, eeprom=True)
OVERLOAD_TORQUE = Register("Overload_Torque", 36, 1, eeprom=True)
TORQUE_ENABLE = Register("Torque_Enable", 40, 1)
ACCELERATION = Register("Acceleration", 41, 1)
GOAL_POSITION = Register("Goal_Position", 42, 2, sign_bit=15)
GOAL_TIME = Register("Goal_Time", 44, 2)
GOAL_VELOCITY = Register("Goal_Velocity", 46, 2, sign_bit=15)
TORQUE_LIMIT = Register("Torque_Limit", 48, 2)
LOCK = Register("Lock", 55, 1)
PRESENT_POSITION = Register("Present_Position", 56, 2, sign_bit=15)
PRESENT_VELOCITY = Register("Present_Velocity", 58, 2, sign_bit=15)
PRESENT_LOAD = Register("Present_Load", 60, 2, sign_bit=10)
PRESENT_VOLTAGE = Register("Present_Voltage", 62, 1)  # tenths of a volt
PRESENT_TEMPERATURE = Register("Present_Temperature", 63, 1)  # degrees Celsius
STATUS = Register("Status", 65, 1)
MOVING = Register("Moving", 66, 1)
PRESENT_CURRENT = Register("Present_Current", 69, 2, sign_bit=15)
MAX_ACCELERATION = Register("Maximum_Acceleration", 85, 1)

REGISTERS: Mapping[str, Register] = MappingProxyType(
    {value.name: value for value in dict(globals()).values() if isinstance(value, Register)}
)
MEMORY_BYTES = 128
# Of Phase: positions count on beyond a turn, with a sign; from the factory it is clear in most servos
# of an arm and set in some.
MULTI_TURN = 0x10


class Status(IntFlag):
    """What a servo reports of itself, in its `STATUS` register and in each reply."""

    VOLTAGE = 1
    ANGLE_SENSOR = 2
    OVERHEATED = 4
    OVERCURRENT = 8
    OVERLOADED = 32

    def words(self) -> str:
        """Returns what is wrong, in words; empty when nothing is."""
        return ", ".join(_WORDS[bit] for bit in Status if bit in self)


_WORDS: Mapping[Status, str] = MappingProxyType(
    {
        Status.VOLTAGE: "voltage out of range",
        Status.ANGLE_SENSOR: "angle sensor failed",
        Status.OVERHEATED: "too hot",
        Status.OVERCURRENT: "current too high",
        Status.OVERLOADED: "overloaded",
    }
)
