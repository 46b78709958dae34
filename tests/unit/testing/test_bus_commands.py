"""An emulated bus is told what to do in lines, and answers each in one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from segue.testing import FeetechBus
from segue.testing.bus_commands import COMMANDS, obey


@pytest.fixture
def bus() -> Iterator[FeetechBus]:
    """An open bus."""
    with FeetechBus.so101() as made:
        yield made


def test_each_example_is_a_command_that_works(bus: FeetechBus) -> None:
    """What `help` proposes can be typed as it is."""
    for word, command in COMMANDS.items():
        answer = obey(bus, command.example)
        assert command.example.split()[0] == word
        assert not answer.startswith("error"), answer
        assert "\n" not in answer


def test_faults_are_set(bus: FeetechBus) -> None:
    """Numbers and joints arrive where they are meant."""
    for line in ("mute elbow_flex", "mute gripper", "unmute gripper", "lose 5", "garble 3", "delay 0.05"):
        assert obey(bus, line) == "ok"
    faults = bus.line.faults
    assert faults.mute == {3}
    assert (faults.lose_replies, faults.garble_replies, faults.delay_ns) == (5, 3, 50_000_000)
    for line in ("lose_goals 2", "halve 3", "grid 0.016", "jitter 0.008", "silence 0.15", "stall 0.15"):
        assert obey(bus, line) == "ok"
    assert (faults.lose_goals, faults.halve_replies) == (2, 3)
    waits = bus.line.adapter.waits
    assert (waits.grid_ns, waits.jitter_ns) == (16_000_000, 8_000_000)
    soon_ns = time.monotonic_ns() + 150_000_000
    assert soon_ns - 10**9 < faults.silent_until_ns <= waits.held_until_ns <= soon_ns
    obey(bus, "overload shoulder_pan")
    state = json.loads(obey(bus, "state"))
    assert [row["status"] for row in state.values()] == [32, 0, 0, 0, 0, 0]


def test_a_servo_is_given_the_id_of_another(bus: FeetechBus) -> None:
    """Two servos then have it; an id that no servo can have is refused in one line."""
    assert obey(bus, "renumber wrist_flex 3") == "ok"
    assert [each.id for each in bus.line.servos] == [1, 2, 3, 3, 5, 6]
    assert obey(bus, "renumber wrist_flex 253") == "error: servo id 253: expected 0 to 252"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "expected a command"),
        ("explode", "no such command"),
        ("mute", "expected JOINT, such as `mute elbow_flex`; joints are shoulder_pan"),
        ("mute elbow", "joints are shoulder_pan"),
        ("lose many", "expected N, such as `lose 5`"),
        ("lose 1e3", "expected N"),
        ("delay nan", "expected X"),
        ("push gripper 99999999999", "expected JOINT and N"),
        ("plug it", "expected nothing behind it"),
        ("\x1b[2J", "no such command"),
    ],
)
def test_a_slip_is_answered_with_what_is_allowed(bus: FeetechBus, line: str, says: str) -> None:
    """A wrong line changes nothing and is answered in one line that can be shown."""
    answer = obey(bus, line)
    assert answer.startswith("error: ")
    assert says in answer
    assert answer.isprintable()
    assert bus.line.faults.mute == frozenset()
