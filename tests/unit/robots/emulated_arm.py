"""An SO-101 driver on emulated servos under a virtual clock: no pty, no thread, no waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from segue.core.types import FloatArray
from segue.robots.so101 import SO101, RestConfig, SO101Config
from segue.robots.so101_units import ArmUnits
from segue.robots.sts3215 import GOAL_POSITION, PRESENT_POSITION, TORQUE_ENABLE, Register
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo_arm import default_calibration, so101_servos
from segue.testing.servo_line import ServoLine

TICK_NS = 10_000_000
FILE = "/home/me/blue.json"


@dataclass
class Bench:
    """Emulated servos, a clock, and the arm that drives them."""

    line: ServoLine
    clock: VirtualClock
    arm: SO101

    def every(self, register: Register) -> list[int]:
        """Returns a register of all servos, as they are now."""
        self.line.advance(self.clock.now_ns())
        return [servo.get(register) for servo in self.line.servos]

    @property
    def torque(self) -> list[int]:
        """Torque of all servos."""
        return self.every(TORQUE_ENABLE)

    def written(self, register: Register) -> list[int]:
        """Returns what was written to a register so far, of any servo."""
        return [write.value for write in self.line.writes if write.register == register.name]

    def tick(self, count: int = 1, act: Callable[[], Any] = lambda: None) -> None:
        """Lets time pass in ticks; in each the arm is read, and then whatever `act` does."""
        for _ in range(count):
            began_ns = self.clock.now_ns()
            self.arm.read(began_ns)
            act()
            self.clock.sleep_until(began_ns + TICK_NS)

    def go(self, target: FloatArray) -> FloatArray:
        """Tells the arm to go there, tick by tick, until it is told so or has had two seconds, then waits."""
        applied = np.full(len(target), np.nan)
        for _ in range(200):
            if np.allclose(applied, np.clip(target, *self.limits)):
                break
            self.arm.read(self.clock.now_ns())
            applied = self.arm.write(target, 0)
            self.wait(0.01)
        self.wait(1)
        return applied

    @property
    def limits(self) -> tuple[FloatArray, FloatArray]:
        """The lowest and the highest target."""
        action = self.arm.spec.action
        return action.array("low"), action.array("high")

    def wait(self, seconds: float) -> None:
        """Lets time pass without a word."""
        self.clock.sleep_until(self.clock.now_ns() + round(seconds * 1e9))
        self.line.advance(self.clock.now_ns())

    def positions(self) -> list[int]:
        """Returns where the servos are."""
        return self.every(PRESENT_POSITION)

    def goals(self) -> list[int]:
        """Returns where the servos are told to go."""
        return self.every(GOAL_POSITION)


def bench(config: SO101Config | None = None, of: Bench | None = None, **units: Any) -> Bench:
    """Returns an arm that is not connected, on the servos `of` another; `units` change how it counts."""
    clock = VirtualClock(1_000_000_000) if of is None else of.clock
    line = ServoLine(so101_servos()) if of is None else of.line
    line.advance(clock.now_ns())
    config = SO101Config("/dev/ttyACM0", ArmUnits(default_calibration()), FILE) if config is None else config
    config = replace(config, units=replace(config.units, **units))
    return Bench(line, clock, SO101(config, clock, lambda path: DirectPort(line, clock)))


def resting(**rest: Any) -> SO101Config:
    """Returns a configuration that differs in how a run ends."""
    return SO101Config("/dev/ttyACM0", ArmUnits(default_calibration()), FILE, rest=RestConfig(**rest))
