"""One emulated STS3215: 128 bytes of memory, a shaft, and the habits of the real one.

Values are the factory's, the vendor's table for the STS series says which.
Habits that matter to whoever drives one:

- A register in EEPROM takes a write at any time; `Lock` decides whether it
  survives the next loss of power.
- Writing a goal switches torque on, without being asked to.
- Switching torque on goes to whatever goal is in the register, however old.
- With bit 4 of `Phase` it counts on beyond a turn, with a sign; how many turns
  it has made is forgotten with the power. Some firmware goes on counting after
  the bit was cleared, until its power was off (`keeps_count`).
- An overloaded servo keeps `Protective_Torque` percent of its torque and says
  so until torque is switched anew; one that is too hot lets go altogether.

Where the vendor's papers leave it open (the second and third, the state of
`Lock` after power on) the emulated servo does what is worse for a careless
driver. Time is an argument. It knows nothing of packets.
"""

from __future__ import annotations

import math

from segue.robots import sts3215
from segue.robots.sts3215 import COUNTS_PER_TURN, Register, Status
from segue.testing.servo_shaft import CARRYING_SHARE, FULL_EFFORT, TOP_SPEED_COUNTS_S, FreeShaft, Order, Shaft

CALIBRATE_MIDDLE = 128  # written to Torque_Enable: here is the middle
MIDDLE = COUNTS_PER_TURN // 2

UNLOADING_CONDITION = Register("Unloading_Condition", 19, 1, eeprom=True)
PROTECTIVE_TORQUE = Register("Protective_Torque", 34, 1, eeprom=True)
PROTECTION_TIME = Register("Protection_Time", 35, 1, eeprom=True)  # hundredths of a second

FACTORY: tuple[tuple[Register, int], ...] = (
    (sts3215.FIRMWARE_MAJOR, 3),
    (sts3215.FIRMWARE_MINOR, 10),
    (sts3215.MODEL, sts3215.MODEL_NUMBER),
    (sts3215.ID, 1),
    (sts3215.RESPONSE_LEVEL, 1),
    (sts3215.MAX_POSITION, COUNTS_PER_TURN - 1),
    (sts3215.MAX_TEMPERATURE, 70),
    (sts3215.MAX_VOLTAGE, 80),
    (sts3215.MIN_VOLTAGE, 40),
    (sts3215.MAX_TORQUE, 1000),
    (sts3215.PHASE, 12),
    (UNLOADING_CONDITION, Status.OVERLOADED | Status.OVERCURRENT | Status.OVERHEATED),
    (sts3215.P_GAIN, 32),
    (sts3215.D_GAIN, 32),
    (sts3215.PROTECTION_CURRENT, 500),
    (PROTECTIVE_TORQUE, 20),
    (PROTECTION_TIME, 200),
    (sts3215.OVERLOAD_TORQUE, 80),
    (sts3215.MAX_ACCELERATION, 254),
    (sts3215.PRESENT_VOLTAGE, 74),
    (sts3215.PRESENT_TEMPERATURE, 30),
)
# EEPROM from the id to the last coefficient, then the factory's own page.
_EEPROM = (*range(5, 40), *range(80, 128))
_WRITABLE = frozenset((*_EEPROM, *range(40, 56)))
_SENSORS = (sts3215.PRESENT_VOLTAGE, sts3215.PRESENT_TEMPERATURE)
_FARTHEST = 2**15 - 1  # the register has a sign and fifteen bits
_ACCELERATION_UNIT = 100  # counts/s^2
_UNLIMITED = 254 * _ACCELERATION_UNIT * 4
_STALL_CURRENT = 370  # in 6.5 mA: 2.4 A
_NS_PER_CENTISECOND = 10_000_000


class Servo:
    """One servo on the bus."""

    def __init__(self, name: str, servo_id: int, shaft: Shaft | None = None) -> None:
        """Makes one as it comes from the factory, but for its id.

        Args:
            name: for people; the bus knows ids only.
            servo_id: 0 to 252.
            shaft: what it turns; a free shaft in the middle by default.
        """
        self.name = name
        self.shaft: Shaft = FreeShaft(float(MIDDLE)) if shaft is None else shaft
        self.memory = bytearray(sts3215.MEMORY_BYTES)
        self.injected = Status(0)
        self.overloaded = False
        self._saved = b""
        self._strained_since_ns: int | None = None
        self.keeps_count = False
        self._counts_on = False  # beyond a turn
        self._turns = 0  # of the shaft that it does not know of, counts
        for register, value in FACTORY:
            self.set(register, value)
        self.set(sts3215.ID, servo_id)
        self.power_cycle()

    def __repr__(self) -> str:
        at, torque = self.present(), "on" if self.holds else "off"
        return f"<Servo {self.id} {self.name} at={at} torque={torque} {self.status!r}>"

    @property
    def id(self) -> int:
        """Its number on the bus."""
        return self.memory[sts3215.ID.address]

    @property
    def status(self) -> Status:
        """What it reports of itself; also the error byte of each reply."""
        return Status(self.memory[sts3215.STATUS.address])

    @property
    def torque(self) -> bool:
        """Whether torque is switched on."""
        return self.memory[sts3215.TORQUE_ENABLE.address] == 1

    @property
    def holds(self) -> bool:
        """Whether it really has the torque to carry something."""
        return self._share() >= CARRYING_SHARE

    def get(self, register: Register) -> int:
        """Returns the value of `register`."""
        return register.decode(bytes(self.memory[register.address : register.address + register.size]))

    def set(self, register: Register, value: int) -> None:
        """Gives `register` a value that survives power, whatever the lock says; for setting the scene."""
        self._put(register, value)
        self._heed_phase()
        self._saved = bytes(self.memory)

    def present(self) -> int:
        """Returns the position that it reports: within a turn, or counted on beyond it."""
        return max(-_FARTHEST, min(_FARTHEST, round(self._counted(round(self.shaft.position)))))

    def read(self, address: int, size: int) -> bytes | None:
        """Returns `size` bytes from `address` on; None beyond the end of its memory."""
        end = address + size
        return bytes(self.memory[address:end]) if size and end <= len(self.memory) else None

    def write(self, address: int, data: bytes) -> None:
        """Writes what of `data` may be written; the rest is passed over, as the real one does."""
        for place, value in enumerate(data, address):
            if place in _WRITABLE:
                self.memory[place] = value
        touched = range(address, address + len(data))
        if sts3215.TORQUE_ENABLE.address in touched:
            self._switched()
        if sts3215.GOAL_POSITION.address in touched:
            self.memory[sts3215.TORQUE_ENABLE.address] = 1
        if not self.memory[sts3215.LOCK.address]:
            self._save()
        self._heed_phase()
        self.shaft.obey(self.order())

    def advance(self, now_ns: int) -> None:
        """Runs until `now_ns`: moves the shaft, measures, and looks after itself."""
        self.shaft.turn(now_ns)
        self._protect(now_ns)
        self._measure()
        self.shaft.obey(self.order())

    def order(self) -> Order:
        """Returns what it wants of its shaft at present."""
        memory, get = self.memory, self.get
        low, high = get(sts3215.MIN_POSITION), get(sts3215.MAX_POSITION)
        goal = max(low, min(high, get(sts3215.GOAL_POSITION)))
        # The shaft does not wrap, so the goal is put beside where it is.
        position = self.shaft.position
        away = goal - self._counted(position)
        acceleration = memory[sts3215.ACCELERATION.address] * _ACCELERATION_UNIT or _UNLIMITED
        speed = abs(get(sts3215.GOAL_VELOCITY)) or TOP_SPEED_COUNTS_S
        gain = memory[sts3215.P_GAIN.address]
        return Order(position + away, self._share(), min(speed, TOP_SPEED_COUNTS_S), acceleration, gain)

    def sense(self, register: Register, value: int) -> None:
        """Lets a sensor say `value` until the servo is healed: its voltage or its temperature."""
        self._put(register, value)

    def heal(self) -> None:
        """Takes away what is wrong with it: heat, voltage, overload and what was injected."""
        for register in _SENSORS:
            self.memory[register.address] = self._saved[register.address]
        self.injected, self.overloaded, self._strained_since_ns = Status(0), False, None

    def power_cycle(self) -> None:
        """Takes its power and gives it back: EEPROM as it was saved, the rest as after power on."""
        kept = {address: self._saved[address] for address in (*range(5), *_EEPROM)}
        kept |= {register.address: self.memory[register.address] for register in _SENSORS}
        self.memory[:] = bytes(len(self.memory))
        for address, value in kept.items():
            self.memory[address] = value
        self.memory[sts3215.LOCK.address] = 1
        self.overloaded, self._strained_since_ns = False, None
        self._turns = math.floor(self.shaft.position / COUNTS_PER_TURN) * COUNTS_PER_TURN
        self._counts_on = False
        self._heed_phase()
        self._put(sts3215.TORQUE_LIMIT, self.get(sts3215.MAX_TORQUE))
        self._put(sts3215.GOAL_POSITION, self.present())
        self._measure()
        self.shaft.obey(self.order())

    def _put(self, register: Register, value: int) -> None:
        self.memory[register.address : register.address + register.size] = register.encode(value)

    def _heed_phase(self) -> None:
        """Begins or ends counting beyond a turn, as the register says."""
        wanted = bool(self.memory[sts3215.PHASE.address] & sts3215.MULTI_TURN)
        self._counts_on = wanted or (self._counts_on and self.keeps_count)

    def _counted(self, position: float) -> float:
        """Returns where a shaft at `position` is to it, counts."""
        at = position - self.get(sts3215.HOMING_OFFSET)
        return at - self._turns if self._counts_on else at % COUNTS_PER_TURN

    def _save(self) -> None:
        saved = bytearray(self._saved)
        for address in _EEPROM:
            saved[address] = self.memory[address]
        self._saved = bytes(saved)

    def _switched(self) -> None:
        """Does what a write to Torque_Enable asks for."""
        asked = self.memory[sts3215.TORQUE_ENABLE.address]
        if asked == CALIBRATE_MIDDLE:
            # The offset has eleven bits and a sign: half a turn to either side.
            offset = round(self.shaft.position) % COUNTS_PER_TURN - MIDDLE
            self._put(sts3215.HOMING_OFFSET, max(offset, 1 - MIDDLE))
        self.memory[sts3215.TORQUE_ENABLE.address] = int(asked == 1)
        self.overloaded, self._strained_since_ns = False, None

    def _share(self) -> float:
        """Returns the share of its torque that it may use now."""
        if not self.torque:
            return 0.0
        unloading = Status(self.memory[UNLOADING_CONDITION.address]) & self.status
        if unloading & ~Status.OVERLOADED:
            return 0.0
        limit = min(self.get(sts3215.TORQUE_LIMIT) / FULL_EFFORT, 1.0)
        if unloading:
            return min(limit, self.memory[PROTECTIVE_TORQUE.address] / 100)
        return limit

    def _protect(self, now_ns: int) -> None:
        """Notices what is wrong with it."""
        percent = abs(self.shaft.effort) * 100 / FULL_EFFORT
        if percent < self.memory[sts3215.OVERLOAD_TORQUE.address] or not percent:
            self._strained_since_ns = None
        elif self._strained_since_ns is None:
            self._strained_since_ns = now_ns
        since_ns, patience = self._strained_since_ns, self.memory[PROTECTION_TIME.address]
        if since_ns is not None and now_ns - since_ns >= patience * _NS_PER_CENTISECOND:
            self.overloaded = True
        found = Status.OVERLOADED if self.overloaded else Status(0)
        if self.memory[sts3215.PRESENT_TEMPERATURE.address] > self.memory[sts3215.MAX_TEMPERATURE.address]:
            found |= Status.OVERHEATED
        volts = self.memory[sts3215.PRESENT_VOLTAGE.address]
        low, high = self.memory[sts3215.MIN_VOLTAGE.address], self.memory[sts3215.MAX_VOLTAGE.address]
        if not low <= volts <= high:
            found |= Status.VOLTAGE
        self.memory[sts3215.STATUS.address] = found | self.injected

    def _measure(self) -> None:
        """Writes down what its sensors say."""
        shaft = self.shaft
        self._put(sts3215.PRESENT_POSITION, self.present())
        self._put(sts3215.PRESENT_VELOCITY, round(shaft.speed))
        self._put(sts3215.PRESENT_LOAD, round(shaft.effort))
        self._put(sts3215.PRESENT_CURRENT, round(abs(shaft.effort) / FULL_EFFORT * _STALL_CURRENT))
        self.memory[sts3215.MOVING.address] = int(abs(shaft.speed) >= 1.0)
