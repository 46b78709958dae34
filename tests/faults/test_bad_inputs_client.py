"""Bad inputs to the client: chunks of a server that is wrong, late or hostile.

Each is dropped or limited, counted by its reason, and never executed; on every
tick the command is finite, within the limits and not faster than allowed, which
`tests.fuzz.targets.reply` checks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segue.core.facts import ChunkDropped, ChunkTaken, ExitReason, Tick
from segue.core.schedule import DropReason
from segue.core.types import ActionChunk, Strategy
from segue.core.watchdog import SafetyLevel
from segue.errors import RemoteProtocolError
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_chunk, encode_chunk
from segue.wire.version import MAX_TENSOR_SIDE
from tests.fuzz.targets import reply, world

pytestmark = pytest.mark.faults

GOOD = world.chunk(reply.POLICY)
WIDTH = len(world.DIMENSIONS)
RTC = (Strategy.RTC, Strategy.ASYNC, Strategy.SYNC)


def travelled(chunk: ActionChunk) -> ActionChunk:
    """Returns `chunk` as the client reads it from the wire."""
    return decode_chunk(pb.InferReply.FromString(encode_chunk(chunk).SerializeToString()))[0]


def bad(**changes: object) -> ActionChunk:
    return travelled(replace(GOOD, **changes))  # type: ignore[arg-type]


def with_value(value: float, row: int = 0, column: int = 0) -> np.ndarray:
    actions = GOOD.robot_actions.copy()
    actions[row, column] = value
    return actions


def dropped(ticks: list[Tick]) -> list[DropReason]:
    return [e.reason for t in ticks for e in t.events if isinstance(e, ChunkDropped)]


def taken(ticks: list[Tick]) -> int:
    return sum(isinstance(e, ChunkTaken) for t in ticks for e in t.events)


BAD = {
    "a NaN": (bad(robot_actions=with_value(np.nan)), DropReason.NOT_FINITE),
    "an infinity in its last step": (bad(robot_actions=with_value(np.inf, -1, -1)), DropReason.NOT_FINITE),
    "a NaN in the model's units": (
        bad(model_actions=np.full((world.HORIZON, 3), np.nan)),
        DropReason.NOT_FINITE,
    ),
    "1e30": (bad(robot_actions=with_value(1e30)), DropReason.OUT_OF_RANGE),
    "-1e30 at its end": (bad(robot_actions=with_value(-1e30, -1)), DropReason.OUT_OF_RANGE),
    "the largest number": (bad(robot_actions=with_value(1.7e308, 3, 2)), DropReason.OUT_OF_RANGE),
    "more steps than the policy has": (bad(robot_actions=np.zeros((5000, WIDTH))), DropReason.BAD_SHAPE),
    "another width": (bad(robot_actions=np.zeros((world.HORIZON, 4))), DropReason.BAD_SHAPE),
    "one joint less": (bad(robot_actions=np.zeros((world.HORIZON, 2))), DropReason.BAD_SHAPE),
    "fewer model actions": (bad(model_actions=np.zeros((2, 3))), DropReason.BAD_SHAPE),
    "another request": (bad(request_number=2), DropReason.NOT_ASKED),
    "a negative number": (bad(request_number=-1), DropReason.NOT_ASKED),
    "an older epoch": (bad(epoch=0), DropReason.OLD_EPOCH),
    "an epoch to come": (bad(epoch=2), DropReason.NOT_ASKED),
    "another start": (bad(start_step=3), DropReason.NOT_ASKED),
    "a start before time": (bad(start_step=-(2**63)), DropReason.NOT_ASKED),
    "another stamp": (bad(captured_ns=1), DropReason.NOT_ASKED),
    "more model actions than the policy has": (bad(model_actions=np.zeros((900, 3))), DropReason.BAD_SHAPE),
    "another policy": (bad(policy_hash="other"), DropReason.OTHER_POLICY),
}


@pytest.mark.parametrize("strategy", RTC)
@pytest.mark.parametrize("what", BAD)
def test_a_bad_chunk_is_dropped_counted_and_not_executed(what: str, strategy: Strategy) -> None:
    """A chunk with something wrong begins no step, its reason is named once, and the arm stays."""
    chunk, reason = BAD[what]
    ticks = reply.execute([chunk], strategy)
    assert dropped(ticks) == [reason]
    assert not taken(ticks)
    assert all(t.began is None for t in ticks)
    assert all(np.array_equal(t.action, reply.POSE) for t in ticks)


UNREADABLE = {
    "no steps": {"robot_actions": np.zeros((0, WIDTH))},
    "a million steps": {"robot_actions": np.zeros((1_000_000, WIDTH), dtype=np.float32)},
    "one dimension": {"robot_actions": np.zeros(WIDTH)},
    "no policy": {"policy_hash": ""},
    "a policy of two lines": {"policy_hash": "a\nb"},
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_chunk_without_sense_is_not_even_decoded(what: str) -> None:
    """0 or 1e6 steps and fields without sense end in one short sentence before the executor sees them."""
    with pytest.raises(RemoteProtocolError) as refused:
        bad(**UNREADABLE[what])
    assert len(str(refused.value)) < 200


def test_names_do_not_travel_with_a_chunk() -> None:
    """A chunk has no names of its own to disagree: other joints have another policy hash or width."""
    fields = {field.name for field in pb.InferReply.DESCRIPTOR.fields}
    assert not any("name" in field or "joint" in field for field in fields)
    assert MAX_TENSOR_SIDE < 1_000_000


@pytest.mark.parametrize("strategy", RTC)
def test_a_chunk_that_comes_twice_counts_once(strategy: Strategy) -> None:
    """The second copy is dropped, and what is executed is what one copy gives."""
    once, twice = (reply.execute([travelled(GOOD)] * times, strategy) for times in (1, 2))
    assert taken(once) == taken(twice) == 1
    assert dropped(twice)[0] is DropReason.NOT_ASKED
    assert all(np.array_equal(a.action, b.action) for a, b in zip(once, twice, strict=True))


@pytest.mark.parametrize("strategy", RTC)
def test_chunks_out_of_order_do_not_hide_the_right_one(strategy: Strategy) -> None:
    """Between chunks of later and earlier requests the awaited one is found, and it alone is executed."""
    later, earlier = bad(request_number=2, start_step=4), bad(request_number=0)
    ticks = reply.execute([later, travelled(GOOD), earlier], strategy)
    alone = reply.execute([travelled(GOOD)], strategy)
    assert (taken(ticks), dropped(ticks)) == (1, [DropReason.NOT_ASKED] * 2)
    assert all(np.array_equal(a.action, b.action) for a, b in zip(ticks, alone, strict=True))


def test_a_chunk_far_from_the_present_pose_is_limited() -> None:
    """A plan at the other end of the range is approached no faster than the joint may move."""
    far = np.tile([-90.0, -1.0, 0.0], (world.HORIZON, 1))
    ticks = reply.execute([bad(robot_actions=far)])
    assert taken(ticks) == 1
    ways = np.abs(np.diff([t.action[0] for t in ticks]))
    assert ways.max() == pytest.approx(world.DIMENSIONS[0].max_speed / reply.CONTROL_HZ)


def test_a_chunk_a_little_out_of_range_is_clipped() -> None:
    """What overshoots a limit by less than the joint's range is executed at the limit."""
    ticks = reply.execute([bad(robot_actions=GOOD.robot_actions + np.array([120.0, 0.0, 50.0]))])
    assert taken(ticks) == 1
    assert max(t.action[2] for t in ticks) == world.DIMENSIONS[2].high


def test_three_bad_chunks_in_a_row_latch_a_fault() -> None:
    """After the third chunk that is not finite the run ends for a person to look, and the arm never moved."""
    executor, last, levels, exits = reply.started(), reply.POSE, [], []
    for number in range(1, 90):
        waiting = executor.scheduler.outstanding
        if waiting is not None:
            nan = GOOD.robot_actions * np.nan
            changes = {"request_number": waiting.number, "epoch": waiting.epoch}
            executor.receive(bad(robot_actions=nan, start_step=waiting.start_step, **changes))
        tick = reply.tick(executor, number, last)
        last = tick.action
        levels.append(tick.level)
        exits.append(tick.exit)
    assert levels[-1] is SafetyLevel.FAULT
    assert ExitReason.BAD_CHUNKS in exits
    assert np.array_equal(last, reply.POSE)
