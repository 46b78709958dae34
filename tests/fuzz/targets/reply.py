"""An `InferReply` on its way to the arm: decoded, received, and executed tick by tick.

Whatever a server sends, no tick raises, and every command is finite, within
the position limits and not faster than the joints may be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segue.core.executor import ChunkExecutor
from segue.core.facts import ExecutorConfig, SessionOpened, Tick
from segue.core.limits import Limits
from segue.core.schedule import RequestRule
from segue.core.types import ActionChunk, FloatArray, Observation, Strategy
from segue.errors import RemoteProtocolError
from segue.wire import policy_pb2 as pb
from segue.wire.codec import decode_chunk
from segue.wire.parse import parse

from . import world

KIND = pb.InferReply
POLICY = "hash-of-weights"
ACTION_HZ, CONTROL_HZ = 10.0, 30.0
TICKS = 24
POSE = np.array([10.0, 0.0, 20.0])
_LIMITS = Limits(world.ROBOT.action)


def check(data: bytes) -> None:
    """Lets an arm execute `data` as the answer to its first request, by each strategy."""
    try:
        chunk, timings = decode_chunk(parse(pb.InferReply, data))
    except RemoteProtocolError as error:
        world.check_sentence(str(error))
        return
    assert timings.total_ns >= 0
    for strategy in Strategy:
        execute([chunk, chunk], strategy)


def execute(chunks: Sequence[ActionChunk], strategy: Strategy = Strategy.RTC) -> list[Tick]:
    """Returns the ticks in which an executor received `chunks` and kept its promises."""
    executor = started(strategy)
    for chunk in chunks:
        executor.receive(chunk)
    ticks: list[Tick] = []
    for number in range(1, TICKS):
        ticks.append(tick(executor, number, ticks[-1].action if ticks else POSE))
    return ticks


def started(strategy: Strategy = Strategy.RTC) -> ChunkExecutor:
    """Returns an executor whose first request has been asked."""
    executor = ChunkExecutor(
        ExecutorConfig(
            action=world.ROBOT.action,
            action_hz=ACTION_HZ,
            control_hz=CONTROL_HZ,
            policy_horizon=world.HORIZON,
            rule=RequestRule(strategy=strategy, horizon=world.HORIZON, min_execution_steps=2),
            aggregate="weighted_average",
        ),
        POSE,
    )
    executor.link_opened(SessionOpened(1_000_000, 1_000_000, POLICY))
    tick(executor, 0, POSE)
    return executor


def tick(executor: ChunkExecutor, number: int, last: FloatArray, control_hz: float = CONTROL_HZ) -> Tick:
    """Runs tick `number`, and checks its command against the limits and against `last`, shape (A,)."""
    now_ns = number * round(1e9 / control_hz)
    made = executor.tick(now_ns, Observation(-1, now_ns, last))
    command = made.action
    executor.applied(command)
    assert np.isfinite(command).all(), command
    assert (command >= _LIMITS.low).all(), command
    assert (command <= _LIMITS.high).all(), command
    assert (np.abs(command - last) <= _LIMITS.max_speed / control_hz + 1e-9).all(), (last, command)
    return made
