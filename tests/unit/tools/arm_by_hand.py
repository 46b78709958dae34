"""An emulated arm under a virtual clock, and a person who moves it as a script says."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from segue.robots.calibration import JOINT_IDS, Calibration
from segue.robots.feetech import ServoBus
from segue.robots.sts3215 import TORQUE_LIMIT, Register
from segue.testing import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo_arm import so101_servos
from segue.testing.servo_line import ServoLine
from segue.tools.calibrate import Way

LOOK_NS = 30_000_000
# What is typed, or raised, by how a question begins.
Answers = dict[str, str | BaseException]
WAYS = {name: (700 + 10 * servo, 900 + 10 * servo) for name, servo in JOINT_IDS.items()}
del WAYS["wrist_roll"]


class Arm:
    """Six servos on a line, and a bus to them; no thread, no pty, no waiting."""

    def __init__(self, calibration: Calibration | None = None) -> None:
        self.clock = VirtualClock()
        self.line = ServoLine(so101_servos(calibration))
        self.bus = ServoBus(DirectPort(self.line, self.clock), self.clock)

    def push(self, joint: str, counts: float) -> None:
        servo = self.line.servo(joint)
        servo.advance(self.clock.now_ns())
        servo.shaft.push(counts)

    def memories(self) -> list[bytes]:
        """Returns what of each servo survives power, its locks and its torque."""
        return [bytes(each.memory[5:41]) + bytes(each.memory[55:56]) for each in self.line.servos]


class Script:
    """A `Person` whose hands are a generator: it moves something, and yields when ENTER is pressed."""

    def __init__(
        self, arm: Arm, hands: Iterator[bool], answers: dict[str, str | BaseException] | None = None
    ) -> None:
        self.said: list[str] = []
        self.ways: Sequence[Way] = ()
        self._arm = arm
        self._hands = hands
        self._answers = answers or {}

    def tell(self, text: str) -> None:
        self.said.append(text)

    def ask(self, text: str) -> str:
        self.said.append(text)
        answer = next((each for start, each in self._answers.items() if start in text), "")
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def show(self, ways: Sequence[Way]) -> None:
        self.ways = ways

    def pressed(self) -> bool:
        self._arm.clock.sleep_until(self._arm.clock.now_ns() + LOOK_NS)
        return next(self._hands)


def from_stop_to_stop(
    push: Callable[[str, float], None], ways: dict[str, tuple[int, int]], step: int = 100
) -> Iterator[bool]:
    """Moves each joint of `ways` down, up and back to where it was, and then presses ENTER.

    Args:
        push: moves a joint by hand.
        ways: counts below and above where the joint is.
        step: counts between two looks.
    """
    for joint, (down, up) in ways.items():
        for away in (-down, down + up, -up):
            whole, rest = divmod(abs(away), step)
            for part in (*[step] * whole, rest):
                push(joint, part if away > 0 else -part)
                yield False
    yield True


def interrupting(bus: ServoBus, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process get a signal when a tenth of the torque is left to an arm that sinks."""
    sync_write = bus.sync_write

    def sent(register: Register, values: Mapping[int, int]) -> None:
        sync_write(register, values)
        if register == TORQUE_LIMIT and set(values.values()) <= set(range(60, 110)):
            signal.raise_signal(number)

    monkeypatch.setattr(bus, "sync_write", sent)
