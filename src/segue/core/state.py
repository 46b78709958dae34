"""What an executor remembers from one tick to the next, apart from plan and motion.

Plain records without a rule in them: the session that the link has opened, and
the mail that waits for a tick that may take it. Whoever reads or changes them
is the executor.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.core.facts import Event, ExitReason
from segue.core.history import ObservationHistory
from segue.core.schedule import Outstanding
from segue.core.types import ActionChunk, FloatArray


@dataclass(slots=True)
class Session:
    """What changes with handshakes, resets and merges.

    Attributes:
        epoch: the present one.
        ready: a session is open: requests may be sent.
        policy_hash: of the policy that the run began with.
        fresh_chunk: a chunk of the present epoch has been merged.
        answered_step: the `start_step` of the last request that was answered.
        ending: why the run is to end, once the arm is at rest.
        tick: number of the present tick.
        applied: the target that the driver really applied last, shape (A,).
    """

    epoch: int = 1
    ready: bool = False
    policy_hash: str | None = None
    fresh_chunk: bool = False
    answered_step: int = 0
    ending: ExitReason | None = None
    tick: int = -1
    applied: FloatArray | None = None


@dataclass(slots=True)
class Mail:
    """What came in and waits for a tick that may take it, and what goes out with the next tick."""

    history: ObservationHistory
    inbox: list[ActionChunk] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def answers(self, waiting: Outstanding) -> bool:
        """Returns whether the answer to `waiting` has come and only waits for its tick."""
        return any((c.request_number, c.epoch) == (waiting.number, waiting.epoch) for c in self.inbox)
