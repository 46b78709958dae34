"""What the link tells the control loop: facts, without a rule in them.

They travel through the mailbox between the two processes, and are what
`segue.core.turn` hands to the executor.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.core.facts import ExitReason


@dataclass(frozen=True, slots=True)
class Opened:
    """A session is open.

    Attributes:
        round_trip_ns: shortest one of the handshake.
        warm_inference_ns: what the server declared.
        policy_hash: of the policy that it serves.
    """

    round_trip_ns: int
    warm_inference_ns: int
    policy_hash: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The channel is gone; `ends_as` as in `Failed`."""

    cause: str
    ends_as: ExitReason | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Request `number` failed, or a dial did (0).

    Attributes:
        cause: why, in words; of several failures the last that says more than "no answer" counts.
        ends_as: the end of a run in which it goes on like this; None when nothing was said.
    """

    number: int
    cause: str
    ends_as: ExitReason | None = None


@dataclass(frozen=True, slots=True)
class CameraFailed:
    """No picture can be had."""

    what: str


@dataclass(frozen=True, slots=True)
class CameraWorks:
    """All cameras deliver again."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The run is to end in an orderly way, because of `reason`."""

    reason: ExitReason


LinkReport = Opened | Closed | Failed | CameraFailed | CameraWorks | Stop
