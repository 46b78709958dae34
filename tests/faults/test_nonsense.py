"""A neighbour process that writes nonsense (row 29), on real processes, in both directions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segue.client.messages import Ask, Closed, encode_message
from tests.faults.measures import MS, TICK_MS
from tests.faults.report import Row
from tests.faults.test_robot_side import at_rest, logged, told, too_fast
from tests.processes import Arm, Server

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(240)]

S = 1_000_000_000
QUICK = {"play_out_ns": S // 2, "hold_grace_ns": S // 2, "park_ns": S}
AS_IF_GONE = "as if it were gone: play out, hold, park"
NONSENSE = {
    "random bytes": b"\x93\x00\xff nonsense",
    "a cut message": encode_message(Closed("the link is closed"))[:-3],
    "a text for a number": encode_message(Closed("x")).replace(b'"x"', b"123"),
    "a message of the other direction": encode_message(Ask(1, 2, b"body")),
}


@pytest.mark.fault(29, "the link process writes nonsense", AS_IF_GONE)
@pytest.mark.parametrize("what", NONSENSE)
def test_a_mad_link_process(
    what: str, row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], tmp_path: Path
) -> None:
    """The control process plays out, holds, parks and ends; the run says why, and ends as a bug."""
    server = serve()
    made = arm(server.address, safety=QUICK, **logged(tmp_path)).moving()
    made.tell(f"write {NONSENSE[what].hex()}")
    assert made.wait() == 70, made.words()
    assert made.levels()[-2:] == ["HOLD", "PARK"]
    (gone,) = made.events("link_process_gone")
    assert gone["detail"] in made.words()
    assert made.summary()["parked"] is True
    commands = told(tmp_path)
    assert at_rest(commands[-1, 1:])
    assert too_fast(commands) <= 1.001
    row.note(f"{what}: parked, said: {gone['detail'][:40]}")


@pytest.mark.fault("29b", "the link process floods", "no tick is held up, and the run goes on")
def test_a_flood_of_valid_messages(
    row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], tmp_path: Path
) -> None:
    """Two seconds of messages as fast as they are taken hold no command up."""
    server = serve()
    made = arm(server.address, **logged(tmp_path)).moving()
    before = len(told(tmp_path))
    made.tell("flood 2.0")
    made.moving(made.chunks() + 6)
    gaps = np.diff(told(tmp_path)[before:, 0]) / MS
    assert len(gaps) > 250
    row.within("longest gap between commands", float(gaps.max()), 5 * TICK_MS)
    assert made.events("link_process_gone") == []


@pytest.mark.fault("29c", "the control process writes nonsense", "not listened to; the arm parks alone; said")
@pytest.mark.parametrize("which", [1, 2], ids=["to the link", "to the recorder"])
@pytest.mark.parametrize(
    "data", [b"\xff\xff nonsense", encode_message(Closed("x"))], ids=["bytes", "direction"]
)
def test_a_mad_control_process(
    data: bytes, which: int, row: Row, serve: Callable[..., Server], arm: Callable[..., Arm], tmp_path: Path
) -> None:
    """Link and recorder live through it, and the end of the run says that the control process was mad."""
    server = serve()
    settings = {"log": str(tmp_path / "commands"), "which": which, "data": data.hex(), "after": 300}
    made = arm(server.address, safety=QUICK, factory="tests.odd_arm:MadRobot", settings=settings)
    assert made.wait() == 70, made.words()
    assert "the control process wrote what is no message" in made.words()
    commands = told(tmp_path)
    assert len(commands) > 350
    assert at_rest(commands[-1, 1:])
    assert too_fast(commands) <= 1.001
    assert json.loads((made.folder / "run" / "summary.json").read_text())["exit_reason"] == "nonsense"
    row.note(f"{len(commands)} commands, parked")
