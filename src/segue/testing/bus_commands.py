"""What a person may tell an emulated bus, one line each, and the one line that it answers.

    mute elbow_flex      ->  ok
    lose many            ->  error: lose: expected N, such as `lose 5`
    state                ->  {"shoulder_pan": {"position": 2047, ...}, ...}

Faults are rehearsed with it, by hand or by another program. It reads and prints
nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from segue.errors import SegueError
from segue.testing.feetech_bus import FeetechBus

OK = "ok"
_MOST = 1_000_000


class Command(NamedTuple):
    """One command.

    Attributes:
        takes: what stands behind it: ``JOINT``, ``N`` (a whole number), ``X`` (a number).
        example: as it is written.
        act: does it, and may return an answer of its own.
    """

    takes: tuple[str, ...]
    example: str
    act: Callable[..., str | None]


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "mute": Command(("JOINT",), "mute elbow_flex", FeetechBus.mute),
        "unmute": Command(("JOINT",), "unmute elbow_flex", FeetechBus.unmute),
        "lose": Command(("N",), "lose 5", FeetechBus.lose),
        "lose_requests": Command(("N",), "lose_requests 5", FeetechBus.lose_requests),
        "garble": Command(("N",), "garble 3", FeetechBus.garble),
        "lose_goals": Command(("N",), "lose_goals 2", FeetechBus.lose_goals),
        "halve": Command(("N",), "halve 3", FeetechBus.halve),
        "silence": Command(("X",), "silence 0.15", FeetechBus.silence),
        "stall": Command(("X",), "stall 0.15", FeetechBus.stall),
        "grid": Command(("X",), "grid 0.016", FeetechBus.grid),
        "jitter": Command(("X",), "jitter 0.008", FeetechBus.jitter),
        "delay": Command(("X",), "delay 0.05", FeetechBus.delay),
        "overload": Command(("JOINT",), "overload shoulder_pan", FeetechBus.overload),
        "overheat": Command(("JOINT",), "overheat gripper", FeetechBus.overheat),
        "voltage": Command(("JOINT", "X"), "voltage gripper 3.5", FeetechBus.voltage),
        "clear": Command(("JOINT",), "clear gripper", FeetechBus.clear),
        "push": Command(("JOINT", "N"), "push gripper 200", FeetechBus.push),
        "renumber": Command(("JOINT", "N"), "renumber wrist_flex 3", FeetechBus.renumber),
        "unplug": Command((), "unplug", FeetechBus.unplug),
        "plug": Command((), "plug", FeetechBus.plug),
        "state": Command((), "state", lambda bus: json.dumps(bus.state())),
        "help": Command((), "help", lambda bus: "; ".join(each.example for each in COMMANDS.values())),
    }
)


class _WrongWord(Exception):
    """A word behind a command is not what is expected there."""


def obey(bus: FeetechBus, line: str) -> str:
    """Does what `line` says and returns the answer, which is one line."""
    words = line.split()
    if not words:
        return "error: expected a command; `help` lists them"
    command = COMMANDS.get(words[0])
    if command is None:
        return f"error: {words[0]!a}: no such command; `help` lists them"
    try:
        if len(words) - 1 != len(command.takes):
            raise _WrongWord
        arguments = [_meaning(bus, kind, word) for kind, word in zip(command.takes, words[1:], strict=True)]
    except _WrongWord:
        expected = " and ".join(command.takes) or "nothing behind it"
        return f"error: {words[0]}: expected {expected}, such as `{command.example}`{_joints(bus, command)}"
    try:
        return command.act(bus, *arguments) or OK
    except SegueError as error:
        return f"error: {error}"


def _meaning(bus: FeetechBus, kind: str, word: str) -> str | float:
    if kind == "JOINT":
        if word not in (servo.name for servo in bus.line.servos):
            raise _WrongWord
        return word
    try:
        number = int(word) if kind == "N" else float(word)
    except ValueError:
        raise _WrongWord from None
    if not -_MOST <= number <= _MOST:
        raise _WrongWord
    return number


def _joints(bus: FeetechBus, command: Command) -> str:
    if "JOINT" not in command.takes:
        return ""
    return f"; joints are {', '.join(servo.name for servo in bus.line.servos)}"
